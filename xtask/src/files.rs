//! Reading and writing of files that hold no secret, with errors that name the file.

use std::fs;
use std::path::Path;

use crate::failure::Failure;

/// Writes `text` to `path`, making the folders above it.
#[expect(clippy::disallowed_methods, reason = "generated pages and throw-away configuration; nothing here needs an atomic swap")]
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(parent) = path.parent() {
        make_dir(parent)?;
    }
    fs::write(path, text).map_err(|error| Failure::new(format!("cannot write {}", path.display())).because(error))
}

/// Makes a folder and those above it; one that exists is fine.
pub(crate) fn make_dir(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| Failure::new(format!("cannot make the folder {}", path.display())).because(error))
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::new(format!("cannot read {}", path.display())).because(error))
}

/// Copies a file, or a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("cannot copy {}", from.display())).because(error);
    if from.is_file() {
        if let Some(parent) = to.parent() {
            make_dir(parent)?;
        }
        fs::copy(from, to).map_err(failed)?;
        return Ok(());
    }
    make_dir(to)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Makes `link` a symbolic link to `target`, in place of whatever was there.
pub(crate) fn link(target: &Path, link: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::new(format!("cannot link {}", link.display())).because(error);
    make_dir(link.parent().unwrap_or(link))?;
    if link.symlink_metadata().is_ok() {
        fs::remove_file(link).map_err(failed)?;
    }
    std::os::unix::fs::symlink(target, link).map_err(failed)
}
