//! Debian packages, laid out as a tree and packed by `dpkg-deb`. What each holds beside its program is in `deploy/debian`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::failure::Failure;
use crate::files;
use crate::process::{capture, command};

use super::{Release, documents};

/// Writes all of them.
pub(super) fn write(release: &Release) -> Result<(), Failure> {
    for package in &PACKAGES {
        package.write(release)?;
    }
    Ok(())
}

/// One package; it is named as its program.
struct Package {
    name: &'static str,
    /// From `deploy/systemd`.
    units: &'static [&'static str],
    /// From its folder in `deploy/debian`, and where they go.
    files: &'static [(&'static str, &'static str)],
}

const PACKAGES: [Package; 3] = [
    Package {
        name: "certctl-server",
        units: &["certctl-server.service", "certctl-backup.service", "certctl-backup.timer"],
        files: &[("server.toml", "etc/certctl/server.toml")],
    },
    Package {
        name: "certctl-agent",
        units: &["certctl-agent.service"],
        files: &[("agent.toml", "etc/certctl-agent/agent.toml"), ("sysusers.conf", "usr/lib/sysusers.d/certctl-agent.conf")],
    },
    Package { name: "certctl", units: &[], files: &[] },
];

impl Package {
    fn write(&self, release: &Release) -> Result<(), Failure> {
        let tree = release.staging.join("packages").join(self.name);
        let source = release.root.join("deploy/debian").join(self.name);
        let put = |from: &Path, inside: &str| files::copy(from, &tree.join(inside)).map(|()| tree.join(inside));

        put(&release.programs.path(self.name), &format!("usr/bin/{}", self.name))?;
        for unit in self.units {
            put(&release.root.join("deploy/systemd").join(unit), &format!("usr/lib/systemd/system/{unit}"))?;
        }
        for (from, inside) in self.files {
            put(&source.join(from), inside)?;
        }
        let page = documents::page_of(self.name);
        let page = put(&documents::document(release, &page), &format!("usr/share/man/man{}/{page}", documents::section(self.name)))?;
        self.completions(release, &tree)?;
        let doc = format!("usr/share/doc/{}", self.name);
        put(&release.root.join("deploy/debian/copyright"), &format!("{doc}/copyright"))?;
        let changelog = tree.join(format!("{doc}/changelog"));
        files::write(&changelog, &self.changelog(release)?)?;
        for file in [page, changelog] {
            capture(command("gzip").args(["--no-name", "-9"]).arg(file))?;
        }
        if source.join("lintian-overrides").is_file() {
            put(&source.join("lintian-overrides"), &format!("usr/share/lintian/overrides/{}", self.name))?;
        }

        files::write(&tree.join("DEBIAN/control"), &self.control(release, &source, size_of(&tree)?)?)?;
        let settings = self.files.iter().filter(|(_, inside)| inside.starts_with("etc/")).map(|(_, inside)| format!("/{inside}\n"));
        let settings = settings.collect::<String>();
        if !settings.is_empty() {
            files::write(&tree.join("DEBIAN/conffiles"), &settings)?;
        }
        let mut scripts = Vec::new();
        for script in ["postinst", "prerm", "postrm"] {
            if source.join(script).is_file() {
                scripts.push(put(&source.join(script), &format!("DEBIAN/{script}"))?);
            }
        }
        modes(&tree, &scripts)?;
        // Of everything but what is in DEBIAN, as dh_md5sums does it.
        let mut files_of = command("find");
        files_of.current_dir(&tree).args(["-type", "f", "!", "-path", "./DEBIAN/*", "-printf", "%P\\n"]);
        let mut names: Vec<String> = capture(&mut files_of)?.lines().map(str::to_owned).collect();
        names.sort();
        let sums = capture(command("md5sum").current_dir(&tree).arg("--").args(&names))?;
        files::write(&tree.join("DEBIAN/md5sums"), &sums)?;
        set_mode(&tree.join("DEBIAN/md5sums"), 0o644)?;

        let file = format!("{}_{}_{}.deb", self.name, release.version, release.programs.architecture.debian);
        let mut pack = command("dpkg-deb");
        // One thread, or the blocks of xz would depend on how many there are.
        let kind = if release.level == 1 { "-Zgzip" } else { "-Zxz" };
        pack.args(["--root-owner-group", kind, "--threads-max=1", &format!("-z{}", release.level.min(6)), "--build"]);
        capture(pack.arg(&tree).arg(release.out.join(file)).env("SOURCE_DATE_EPOCH", &release.date))?;
        Ok(())
    }

    fn completions(&self, release: &Release, tree: &Path) -> Result<(), Failure> {
        for (_, shell, file) in documents::COMPLETIONS.iter().filter(|(program, _, _)| *program == self.name) {
            let inside = match *shell {
                "bash" => format!("usr/share/bash-completion/completions/{}", self.name),
                "zsh" => format!("usr/share/zsh/vendor-completions/{file}"),
                _ => format!("usr/share/fish/vendor_completions.d/{file}"),
            };
            files::copy(&documents::document(release, file), &tree.join(inside))?;
        }
        Ok(())
    }

    /// `control` of its folder, with what only the build knows.
    fn control(&self, release: &Release, source: &Path, kilobytes: u64) -> Result<String, Failure> {
        let text = files::read(&source.join("control"))?;
        let text = text.replace("@VERSION@", &release.version).replace("@ARCHITECTURE@", release.programs.architecture.debian);
        let text = text.replace("@GLIBC@", &release.programs.glibc).replace("@SIZE@", &kilobytes.to_string());
        if text.contains('@') && text.lines().any(|line| line.contains(": @") || line.contains("(>= @")) {
            return Err(Failure::new(format!("{}: a place was not filled in", source.join("control").display())));
        }
        Ok(text)
    }

    /// The form of deb-changelog(5). What changed is in CHANGELOG.md, once.
    fn changelog(&self, release: &Release) -> Result<String, Failure> {
        let date = capture(command("date").args(["--utc", "--rfc-email", &format!("--date=@{}", release.date)]).env("LC_ALL", "C"))?;
        Ok(format!(
            "{} ({}) unstable; urgency=medium\n\n  * Release {1}; CHANGELOG.md of the sources says what changed.\n\n -- {MAINTAINER}  {}\n",
            self.name,
            release.version,
            date.trim()
        ))
    }
}

/// Folders and programs can be entered and run, everything else can be read; nothing depends on the umask of whoever packs.
fn modes(tree: &Path, scripts: &[PathBuf]) -> Result<(), Failure> {
    let mut open = vec![tree.to_owned()];
    while let Some(folder) = open.pop() {
        set_mode(&folder, 0o755)?;
        let entries = fs::read_dir(&folder).map_err(|error| failed(&folder, error))?;
        for entry in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            if entry.is_dir() {
                open.push(entry);
                continue;
            }
            let runs = scripts.contains(&entry) || entry.parent().is_some_and(|parent| parent.ends_with("usr/bin"));
            set_mode(&entry, if runs { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}

/// Everybody may run this file.
pub(super) fn make_runnable(path: &Path) -> Result<(), Failure> {
    set_mode(path, 0o755)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Failure> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: io::Error) -> Failure {
    Failure::new(format!("cannot work on {}", path.display())).because(error)
}

/// In KiB, as `Installed-Size` counts.
fn size_of(tree: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    let mut open = vec![tree.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, error))?.filter_map(Result::ok) {
            let about = entry.metadata().map_err(|error| failed(&entry.path(), error))?;
            if about.is_dir() {
                open.push(entry.path());
            } else {
                bytes += about.len();
            }
        }
    }
    Ok(bytes.div_ceil(1024))
}

/// Nobody in particular until there is an address that is read.
const MAINTAINER: &str = "The certctl maintainers <maintainers@certctl.invalid>";
