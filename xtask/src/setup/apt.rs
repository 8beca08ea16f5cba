//! Debian packages: installed without questions, and without starting the services that they bring.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use crate::failure::Failure;
use crate::process::{command, find_program, run};
use crate::say;

/// Installs packages; fails at once, without asking for a password, where this user cannot.
pub(super) fn install(packages: &[&str]) -> Result<(), Failure> {
    if find_program("apt-get").is_none() {
        return Err(Failure::new("this system has no apt-get"));
    }
    if !Uid::effective().is_root() {
        return Err(Failure::new("only root can install packages"));
    }
    let services = SERVICES.iter().filter(|(package, _)| packages.contains(package)).map(|(_, unit)| *unit).collect::<Vec<_>>();
    let quiet = NoServices::begin(Path::new(POLICY))?;
    run(apt().arg("update"))?;
    run(apt().args(["install", "--yes", "--no-install-recommends"]).args(packages))?;
    drop(quiet);
    if Path::new("/run/systemd/system").is_dir() {
        for unit in services {
            // The tests and the demo start their own; a web server or database that comes up at the next boot would be a surprise.
            run(command("systemctl").args(["disable", "--quiet", unit]))?;
            say::detail(format_args!("{unit} is not started at boot; `systemctl enable --now {unit}` if you want it"));
        }
    }
    Ok(())
}

fn apt() -> std::process::Command {
    let mut apt = command("apt-get");
    apt.arg("--quiet").env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

/// Keeps package scripts from starting services, by the way that Debian has for it (invoke-rc.d(8), `policy-rc.d`), until dropped.
/// A policy that the machine already has is left alone.
struct NoServices {
    ours: Option<PathBuf>,
}

impl NoServices {
    fn begin(policy: &Path) -> Result<Self, Failure> {
        match OpenOptions::new().write(true).create_new(true).mode(0o755).open(policy) {
            Ok(mut file) => {
                let ours = Self { ours: Some(policy.to_path_buf()) };
                let written = file.write_all(b"#!/bin/sh\nexit 101\n").and_then(|()| file.set_permissions(Permissions::from_mode(0o755)));
                written.map_err(|error| Failure::new(format!("cannot write {}", policy.display())).because(error))?;
                Ok(ours)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Self { ours: None }),
            Err(error) => Err(Failure::new(format!("cannot write {}", policy.display())).because(error)),
        }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(policy) = &self.ours
            && let Err(error) = fs::remove_file(policy)
        {
            say::detail(format_args!(
                "cannot remove {}: {error}; remove it by hand, or no package will start its service",
                policy.display()
            ));
        }
    }
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Packages that bring a service, and the unit to leave off.
const SERVICES: [(&str, &str); 5] = [
    ("bind9", "named.service"),
    ("nginx-light", "nginx.service"),
    ("haproxy", "haproxy.service"),
    ("postgresql", "postgresql.service"),
    ("prometheus", "prometheus.service"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    #[test]
    fn services_stay_off_only_while_we_install() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy-rc.d");
        let quiet = NoServices::begin(&policy).unwrap();
        assert_eq!(fs::metadata(&policy).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(command(&policy).status().unwrap().code(), Some(101));
        drop(quiet);
        assert!(!policy.exists());
    }

    #[test]
    fn a_policy_of_the_machine_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy-rc.d");
        files::write(&policy, "theirs").unwrap();
        drop(NoServices::begin(&policy).unwrap());
        assert_eq!(files::read(&policy).unwrap(), "theirs");
    }
}
