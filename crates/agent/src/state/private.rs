//! Directories and files that nobody else may read.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use certctl_connector_core::ConnectorError;
use certctl_connector_core::files::{Attributes, FileMode, MAX_FILE, explain, write_atomic};
use zeroize::Zeroizing;

/// Makes a directory of mode 0700, durably; closes one that is wider.
///
/// # Errors
/// When it is something else than a directory, belongs to another user, or cannot be made or closed.
pub fn private_directory(path: &Path) -> Result<(), ConnectorError> {
    match path.symlink_metadata() {
        Ok(metadata) if !metadata.is_dir() => {
            Err(ConnectorError::permanent(format!("{} is in the way: a directory is needed there", path.display()))
                .hint(format!("move it elsewhere, or give another --state-dir; ls -ld {}", path.display())))
        }
        Ok(metadata) => {
            let us = nix::unistd::geteuid().as_raw();
            if metadata.uid() != us {
                return Err(ConnectorError::permanent(format!(
                    "the directory {} belongs to user id {}, and this runs as user id {us}",
                    path.display(),
                    metadata.uid()
                ))
                .hint(format!(
                    "run as its owner (sudo -u {}), or, if its content is to be this user's: chown -R {us} {}",
                    user(metadata.uid()),
                    path.display()
                )));
            }
            if metadata.mode() & 0o077 != 0 {
                fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(|e| explain("close to others", path, e))?;
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            DirBuilder::new().mode(0o700).create(path).map_err(|e| explain("make", path, e))?;
            path.parent().map_or(Ok(()), sync)
        }
        Err(error) => Err(explain("examine", path, error)),
    }
}

/// Writes a file of mode 0600, whole and durable.
///
/// # Errors
/// When the disk refuses; the old file is then still there.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), ConnectorError> {
    let wished = Attributes { mode: Some(FileMode::PRIVATE), ..Attributes::keep_or(FileMode::PRIVATE) };
    write_atomic(path, bytes, &wished).map(drop)
}

/// Reads a small file; `None` when there is none. The bytes are wiped when dropped.
///
/// # Errors
/// When it cannot be read, is a link, or is larger than any file of ours.
pub fn read_private(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, ConnectorError> {
    let mut options = fs::OpenOptions::new();
    let file = match options.read(true).custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(explain("read", path, error)),
    };
    let size = file.metadata().map_err(|e| explain("read", path, e))?.len();
    // Allocated once: a growing buffer would leave copies of a key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size.min(MAX_FILE)).unwrap_or_default() + 1));
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| explain("read", path, e))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ConnectorError::permanent(format!("{} is larger than 1 MiB: that is no file of the agent", path.display())));
    }
    Ok(Some(bytes))
}

/// Removes a file, durably; that it is not there is fine.
///
/// # Errors
/// When the disk refuses.
pub fn remove_private(path: &Path) -> Result<(), ConnectorError> {
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(explain("remove", path, error)),
    }
}

/// What is in a directory, by name; nothing when it is not there.
///
/// # Errors
/// When it cannot be read.
pub fn entries(path: &Path) -> Result<Vec<PathBuf>, ConnectorError> {
    let listing = match fs::read_dir(path) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(explain("list", path, error)),
    };
    let found: Result<Vec<_>, _> = listing.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut found = found.map_err(|e| explain("list", path, e))?;
    found.sort();
    Ok(found)
}

/// The name of a user, or the number where there is no name.
fn user(id: u32) -> String {
    let found = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(id)).ok().flatten();
    found.map_or_else(|| format!("'#{id}'"), |user| user.name)
}

fn sync(directory: &Path) -> Result<(), ConnectorError> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|e| explain("make changes durable in", directory, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn directories_are_made_private_and_wider_ones_are_closed() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("keys");
        private_directory(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        private_directory(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn what_cannot_be_a_private_directory_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("file");
        fs::File::create(&file).unwrap();
        assert!(private_directory(&file).unwrap_err().to_string().contains("in the way"));
        let link = temporary.path().join("link");
        std::os::unix::fs::symlink(temporary.path(), &link).unwrap();
        assert!(private_directory(&link).unwrap_err().to_string().contains("in the way"), "whoever can turn a link decides where keys go");
        // The kernel lets nobody, not even root, change this one.
        let error = private_directory(Path::new("/proc/self/fdinfo")).unwrap_err();
        assert!(error.to_string().contains("/proc/self/fdinfo"), "{error}");
    }

    #[test]
    fn files_are_private_from_the_first_byte_and_links_are_not_followed() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        let path = root.join("identity.json");
        write_private(&path, b"one").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!((mode(&path), read_private(&path).unwrap().unwrap().as_slice()), (0o600, b"two".as_slice()));
        assert_eq!(entries(&root).unwrap(), [path.as_path()], "no temporary file is left");
        std::os::unix::fs::symlink(&path, root.join("link")).unwrap();
        assert!(read_private(&root.join("link")).is_err());
        remove_private(&path).unwrap();
        remove_private(&path).unwrap();
        assert!(read_private(&path).unwrap().is_none());
    }
}
