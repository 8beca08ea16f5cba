//! The only way to write files where somebody else reads them: whole or not at all, with owner, group, mode and labels kept.
//!
//! A reader sees the old content or the new, never a part (temporary file in the same directory, fsync, rename, fsync of the
//! directory). A symbolic link to the file is followed, so that the link stays; a symbolic link among the directories is
//! refused, because whoever can turn it decides what we overwrite. The directory is opened once and everything is done
//! relative to it.

mod attributes;
mod destination;
mod directory;
mod explain;

use std::path::{Path, PathBuf};

use aws_lc_rs::{digest, rand};

pub use self::attributes::{Attributes, FileMode, FinalAttributes};
pub use self::destination::{Destination, Existing, Loaded};
pub use self::directory::Directory;
pub use self::explain::explain;
use crate::ConnectorError;

/// Writes `bytes` to `path` atomically and durably; returns the real path, which differs when `path` is a symbolic link.
///
/// # Errors
/// When the directory is missing, read-only, full or behind a symbolic link, or an owner does not exist. Nothing has changed then.
pub fn write_atomic(path: &Path, bytes: &[u8], wished: &Attributes) -> Result<PathBuf, ConnectorError> {
    let destination = Destination::resolve(path)?;
    let attributes = wished.settle(destination.existing().map(|e| &e.attributes))?;
    let temporary = temporary_name()?;
    let written = destination.stage(&temporary, bytes, &attributes).and_then(|()| destination.swap_in(&temporary));
    if let Err(error) = written {
        if let Err(second) = destination.directory().remove(&temporary) {
            tracing::warn!(error = %second.explain(), "a temporary file could not be removed");
        }
        return Err(error);
    }
    destination.directory().sync()?;
    Ok(destination.path().to_owned())
}

/// A name that no reader of the directory takes for one of its files (it begins with a dot) and nobody can foresee.
///
/// # Errors
/// When the system has no randomness.
pub fn temporary_name() -> Result<String, ConnectorError> {
    let mut random = [0; 8];
    rand::fill(&mut random).map_err(|_| ConnectorError::transient("the system gives no random bytes"))?;
    Ok(format!(".certctl-{}.new", hex::encode(random)))
}

/// SHA-256 of a file's content, in hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

/// The largest file that is read or replaced: PEM files are small, and what is larger is not ours.
pub const MAX_FILE: u64 = 1024 * 1024;

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files, tasks and processes")]
mod tests;
