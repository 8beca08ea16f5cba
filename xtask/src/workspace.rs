//! Where the workspace is and what cargo knows about it.

use std::path::PathBuf;

use cargo_metadata::{Metadata, MetadataCommand};

use crate::failure::Failure;
use crate::process::{capture, command};

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> Result<PathBuf, Failure> {
    let manifest = capture(command("cargo").args(["locate-project", "--workspace", "--message-format", "plain"]))?;
    let manifest = PathBuf::from(manifest.trim());
    manifest.parent().map(PathBuf::from).ok_or_else(|| Failure::new("cargo named no workspace folder"))
}

/// What `cargo metadata` says about the workspace's own crates.
pub(crate) fn members() -> Result<Metadata, Failure> {
    MetadataCommand::new().no_deps().exec().map_err(|error| Failure::new("cargo metadata failed").because(error))
}

/// The folder that cargo builds into.
pub(crate) fn target_dir() -> Result<PathBuf, Failure> {
    Ok(members()?.target_directory.into_std_path_buf())
}
