//! Archives for machines without Debian's packages: everything in one, and the agent alone for the script that installs it.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::files;
use crate::process::{capture, command};

use super::programs::NAMES;
use super::{Release, documents};

/// Writes both.
pub(super) fn write(release: &Release) -> Result<(), Failure> {
    let all = Folder::new(release, "certctl");
    for name in NAMES {
        all.add(&release.programs.path(name), &format!("bin/{name}"))?;
        all.add(&documents::document(release, documents::page_of(name)), &format!("man/{}", documents::page_of(name)))?;
    }
    for (_, _, file) in documents::COMPLETIONS {
        all.add(&documents::document(release, file), &format!("completions/{file}"))?;
    }
    for unit in ["certctl-server.service", "certctl-backup.service", "certctl-backup.timer", "certctl-agent.service"] {
        all.add(&release.root.join("deploy/systemd").join(unit), &format!("systemd/{unit}"))?;
    }
    all.add(&release.root.join("deploy/debian/certctl-server/server.toml"), "examples/server.toml")?;
    all.add(&release.root.join("deploy/debian/certctl-agent/agent.toml"), "examples/agent.toml")?;
    all.pack(release)?;

    let agent = Folder::new(release, "certctl-agent");
    agent.add(&release.programs.path("certctl-agent"), "certctl-agent")?;
    agent.add(&release.root.join("deploy/systemd/certctl-agent.service"), "certctl-agent.service")?;
    agent.pack(release)
}

/// What becomes one archive, with a folder of its own inside.
struct Folder {
    name: String,
    path: PathBuf,
}

impl Folder {
    fn new(release: &Release, what: &str) -> Self {
        let name = format!("{what}-{}-linux-{}", release.version, release.programs.architecture.debian);
        Self { path: release.staging.join("archives").join(&name), name }
    }

    fn add(&self, from: &Path, inside: &str) -> Result<(), Failure> {
        files::copy(from, &self.path.join(inside))
    }

    fn pack(&self, release: &Release) -> Result<(), Failure> {
        self.add(&release.root.join("LICENSE"), "LICENSE")?;
        let tar = release.staging.join(format!("{}.tar", self.name));
        // Order, owner, modes and times are ours, not those of this machine.
        let mut make = command("tar");
        make.args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+rwX,go+rX,go-w", "--format=ustar"]);
        make.arg(format!("--mtime=@{}", release.date)).arg("--file").arg(&tar).arg("--directory").arg(release.staging.join("archives"));
        capture(make.arg(&self.name))?;
        // Without the name and the time of the file that was compressed.
        capture(command("gzip").args(["--no-name", &format!("-{}", release.level)]).arg(&tar))?;
        let archive = format!("{}.tar.gz", self.name);
        files::copy(&release.staging.join(&archive), &release.out.join(&archive))
    }
}
