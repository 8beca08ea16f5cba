//! A file beside the database for as long as a run needs it: SQLite copies and checks files, not streams.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use certctl_backup::BackupError;

use crate::config::BackupOnly;

/// The file; it goes with this value, and so does what SQLite puts beside it.
#[derive(Debug)]
pub(super) struct Staged {
    path: PathBuf,
}

impl Staged {
    /// A file of this name, which is not there yet. What a killed run left is removed.
    pub(super) fn at(path: PathBuf) -> Result<Self, BackupError> {
        let staged = Self { path };
        staged.remove().map_err(|e| BackupError::from_io(&format!("{} cannot be removed", staged.path.display()), e))?;
        Ok(staged)
    }

    /// In the staging directory; there must be room for `bytes`.
    pub(super) fn in_directory(settings: &BackupOnly, name: &str, bytes: u64) -> Result<Self, BackupError> {
        let directory = settings.backup.staging_dir.as_deref().unwrap_or(&settings.data_dir);
        room_for(directory, bytes)?;
        Self::at(directory.join(format!(".{name}")))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, empty.
    pub(super) fn create(&self) -> Result<File, BackupError> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
        made.map_err(|e| BackupError::from_io(&format!("{} cannot be made", self.path.display()), e))
    }

    /// Gives it its final name, durably. It is then no longer ours.
    pub(super) fn rename(self, to: &Path) -> Result<(), BackupError> {
        let failed = |e| BackupError::from_io(&format!("{} cannot be put in place", to.display()), e);
        File::open(&self.path).and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(&self.path, to).map_err(failed)?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)
    }

    fn remove(&self) -> std::io::Result<()> {
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut path = self.path.clone().into_os_string();
            path.push(end);
            match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(path = %self.path.display(), %error, "a file of a backup could not be removed");
        }
    }
}

/// Refuses when a file of this size would not fit.
pub(super) fn room_for(directory: &Path, bytes: u64) -> Result<(), BackupError> {
    let failed = |e: nix::Error| {
        BackupError::new(format!("{} cannot be used", directory.display())).hint("name another directory as backup.staging_dir").because(e)
    };
    let system = nix::sys::statvfs::statvfs(directory).map_err(failed)?;
    let free = system.blocks_available().saturating_mul(system.fragment_size());
    if free < bytes {
        let small = format!("{} has {free} bytes free, and a copy of the database takes {bytes}", directory.display());
        return Err(BackupError::new(small).hint("free space there, or name another directory as backup.staging_dir"));
    }
    Ok(())
}
