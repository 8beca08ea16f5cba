//! Small files of the bench: throw-away configuration, and the report.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::failure::{Context as _, Result};

/// Writes a file that everybody may read.
#[expect(clippy::disallowed_methods, reason = "reports and throw-away files; nothing here needs an atomic swap")]
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, content).context(format_args!("cannot write {}", path.display()))
}

/// Reads a text file.
pub(crate) fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).context(format_args!("cannot read {}", path.display()))
}

/// Sets who may do what with it.
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).context(format_args!("cannot set the mode of {}", path.display()))
}

/// How many bytes it has.
pub(crate) fn size(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).context(format_args!("cannot look at {}", path.display()))?.len())
}
