//! The programs as they are shipped: stripped, and looked at for what they need of the machine that runs them.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::files;
use crate::process::{capture, command};

/// The stripped programs.
#[derive(Debug)]
pub(super) struct Programs {
    /// Where they are.
    pub(super) folder: PathBuf,
    /// What they run on.
    pub(super) architecture: Architecture,
    /// The oldest glibc that has everything they call, such as `2.34`.
    pub(super) glibc: String,
}

/// A kind of processor, by the names that others give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Architecture {
    /// Debian, Go and container images.
    pub(super) debian: &'static str,
    /// `uname -m`
    pub(super) kernel: &'static str,
    /// Rust
    pub(super) triple: &'static str,
    /// `readelf --file-header`
    machine: &'static str,
}

/// Every program of a release.
pub(super) const NAMES: [&str; 3] = ["certctl-server", "certctl-agent", "certctl"];

impl Programs {
    /// Strips the programs of a folder into another one.
    pub(super) fn stripped(from: &Path, folder: &Path) -> Result<Self, Failure> {
        files::make_dir(folder)?;
        let mut glibc = (0, 0);
        let mut found = None;
        for name in NAMES {
            let (program, stripped) = (from.join(name), folder.join(name));
            capture(command("strip").arg("--strip-all").arg("-o").arg(&stripped).arg(&program))?;
            let architecture = architecture(&capture(command("readelf").arg("--file-header").arg(&stripped))?)?;
            if found.replace(architecture).is_some_and(|other| other != architecture) {
                return Err(Failure::new(format!("{} is for another machine than the others", program.display())));
            }
            needs_nothing_else(name, &capture(command("readelf").arg("--dynamic").arg(&stripped))?)?;
            glibc = glibc.max(newest_glibc(&capture(command("readelf").arg("--version-info").arg("--wide").arg(&stripped))?));
        }
        let architecture = found.ok_or_else(|| Failure::new("there are no programs"))?;
        Ok(Self { folder: folder.to_owned(), architecture, glibc: format!("{}.{}", glibc.0, glibc.1) })
    }

    /// One of them.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn architecture(header: &str) -> Result<Architecture, Failure> {
    let machine = header.lines().find_map(|line| line.trim().strip_prefix("Machine:")).map(str::trim).unwrap_or_default();
    let known = ARCHITECTURES.iter().find(|known| known.machine == machine);
    known.copied().ok_or_else(|| Failure::new(format!("`{machine}` is no machine that is released for")))
}

/// A library beyond those of glibc and of the compiler would have to be on every host.
fn needs_nothing_else(name: &str, dynamic: &str) -> Result<(), Failure> {
    let needed = dynamic.lines().filter(|line| line.contains("(NEEDED)")).filter_map(|line| line.split(['[', ']']).nth(1));
    let other: Vec<&str> = needed.filter(|library| !LIBRARIES.iter().any(|known| library.starts_with(known))).collect();
    if other.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(format!("{name} needs {}, which not every host has", other.join(", ")));
    Err(failure.hint("link it statically, or leave out the crate that brings it"))
}

/// The newest of the versions that symbols ask for (`GLIBC_2.34`).
fn newest_glibc(versions: &str) -> (u32, u32) {
    let marked = versions.split("GLIBC_").skip(1).filter_map(|rest| rest.split(|c: char| c != '.' && !c.is_ascii_digit()).next());
    let parsed = marked.filter_map(|version| {
        let mut parts = version.split('.').map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    });
    parsed.max().unwrap_or_default()
}

const ARCHITECTURES: [Architecture; 2] = [
    Architecture { debian: "amd64", kernel: "x86_64", triple: "x86_64-unknown-linux-gnu", machine: "Advanced Micro Devices X86-64" },
    Architecture { debian: "arm64", kernel: "aarch64", triple: "aarch64-unknown-linux-gnu", machine: "AArch64" },
];
const LIBRARIES: [&str; 4] = ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_told_apart() {
        assert_eq!(architecture("  Machine:      AArch64\n").unwrap().debian, "arm64");
        assert!(architecture("  Machine:      RISC-V\n").is_err());
    }

    #[test]
    fn a_library_that_hosts_lack_is_found() {
        let dynamic = " 0x1 (NEEDED)  Shared library: [libc.so.6]\n 0x1 (NEEDED)  Shared library: [libssl.so.3]\n";
        assert!(needs_nothing_else("certctl", dynamic).unwrap_err().chain().contains("libssl.so.3"));
        assert!(needs_nothing_else("certctl", &dynamic.replace("libssl.so.3", "ld-linux-x86-64.so.2")).is_ok());
    }

    #[test]
    fn the_newest_symbol_counts() {
        assert_eq!(newest_glibc("Name: GLIBC_2.9  Flags\nName: GLIBC_2.34\nName: GLIBC_2.2.5\n"), (2, 34));
    }
}
