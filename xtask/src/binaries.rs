//! Builds the product's own programs and says where they are.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use cargo_metadata::Message;

use crate::failure::Failure;
use crate::process::{command, shown};

/// The programs, freshly built.
pub(crate) struct Binaries {
    built: BTreeMap<String, PathBuf>,
}

impl Binaries {
    /// `certctl-server`.
    pub(crate) fn server(&self) -> Result<&Path, Failure> {
        self.named("certctl-server")
    }

    /// `certctl-agent`.
    pub(crate) fn agent(&self) -> Result<&Path, Failure> {
        self.named("certctl-agent")
    }

    /// `certctl`, the command line client.
    pub(crate) fn cli(&self) -> Result<&Path, Failure> {
        self.named("certctl")
    }

    /// `certctl-bench`.
    pub(crate) fn bench(&self) -> Result<&Path, Failure> {
        self.named("certctl-bench")
    }

    fn named(&self, name: &str) -> Result<&Path, Failure> {
        let found = self.built.get(name).map(PathBuf::as_path);
        found.ok_or_else(|| Failure::new(format!("cargo built no program named {name}")))
    }
}

/// Builds every program of the workspace. Always the whole workspace, because a build of a single package chooses other features and
/// would compile the dependencies a second time.
pub(crate) fn build() -> Result<Binaries, Failure> {
    build_some(&["--workspace"])
}

/// Builds what these words choose: packages, and perhaps another profile.
pub(crate) fn build_some(chosen: &[&str]) -> Result<Binaries, Failure> {
    let mut cargo = command("cargo");
    cargo.arg("build").args(chosen).args(["--bins", "--message-format", "json-render-diagnostics"]);
    let mut child = cargo.stdout(Stdio::piped()).spawn().map_err(|error| Failure::new("cannot start cargo").because(error))?;
    let mut built = BTreeMap::new();
    if let Some(output) = child.stdout.take() {
        for message in Message::parse_stream(BufReader::new(output)) {
            let message = message.map_err(|error| Failure::new("cannot read what cargo reports").because(error))?;
            if let Message::CompilerArtifact(artifact) = message
                && let Some(path) = artifact.executable
            {
                built.insert(artifact.target.name.clone(), path.into_std_path_buf());
            }
        }
    }
    let status = child.wait().map_err(|error| Failure::new("cannot wait for cargo").because(error))?;
    if status.success() { Ok(Binaries { built }) } else { Err(Failure::new(format!("`{}` ended with {status}", shown(&cargo)))) }
}
