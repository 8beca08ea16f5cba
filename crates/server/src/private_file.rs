//! Files and directories that only the server's own user may read.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use certctl_domain::secret::Secret;

/// A file or directory that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be {doing}: {source}", .path.display())]
pub struct FileError {
    path: PathBuf,
    doing: &'static str,
    #[source]
    source: io::Error,
}

impl FileError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self.source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some(format!("give the server's user the directory {}, or choose another with --data-dir", self.path.display()))
            }
            io::ErrorKind::StorageFull => Some("free space on that file system".to_owned()),
            _ => None,
        }
    }
}

/// Makes a directory with mode 0700, or closes one that is there to others.
///
/// # Errors
/// When it cannot be made, or is no directory.
pub fn directory(path: &Path) -> Result<(), FileError> {
    let fail = |doing| move |source| FileError { path: path.to_owned(), doing, source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail("made"))?;
    let metadata = fs::metadata(path).map_err(fail("looked at"))?;
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(fail("closed to others"))?;
    }
    Ok(())
}

/// Reads a text file of at most 1 MiB; `None` when there is none.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<Option<Secret<String>>, FileError> {
    let fail = |source| FileError { path: path.to_owned(), doing: "read", source };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let mut text = String::new();
    file.take(1 << 20).read_to_string(&mut text).map_err(fail)?;
    Ok(Some(Secret::new(text)))
}

/// Writes a file with mode 0600, whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let fail = |source| FileError { path: path.to_owned(), doing: "written", source };
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).map_err(fail)?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(fail)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail)?;
    fs::rename(&beside, path).map_err(fail)?;
    sync_parent(path)
}

/// Writes a file that must not be there yet.
///
/// # Errors
/// When it is there, or cannot be written.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let fail = |source| FileError { path: path.to_owned(), doing: "written", source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail)?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> Result<(), FileError> {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(|source| FileError {
        path: parent.to_owned(),
        doing: "synced",
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_closed_to_others_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("data");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o755)).unwrap();
        directory(&inner).unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().mode() & 0o777, 0o700);
        let file = inner.join("key");
        assert!(read(&file).unwrap().is_none());
        write(&file, b"one").unwrap();
        write(&file, b"two").unwrap();
        assert_eq!(read(&file).unwrap().unwrap().expose(), "two");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert!(write_new(&file, b"three").is_err());
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_made_is_told_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        write(&file, b"x").unwrap();
        let error = directory(&file.join("below")).unwrap_err();
        assert!(error.to_string().contains("below"), "{error}");
    }
}
