//! A directory: a file gets its name when it is on the disk, and not before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use certctl_connector_core::fault;

use super::{Item, Upload};
use crate::BackupError;

/// A directory with archives.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

struct Partial {
    file: File,
    partial: PathBuf,
    path: PathBuf,
    named: bool,
}

impl Directory {
    /// A directory that is there.
    ///
    /// # Errors
    /// When it is not. It is not made: an absent one is more likely a volume that is not mounted than a fresh start.
    pub fn open_at(path: &Path) -> Result<Self, BackupError> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Ok(Self { path: path.to_owned() }),
            Ok(_) => Err(BackupError::new(format!("backup.directory {} is no directory", path.display()))),
            Err(error) => Err(BackupError::new(format!("backup.directory {} cannot be used", path.display()))
                .hint("make it, or mount the volume that it should be")
                .because(error)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn create(&self, name: &str) -> Result<Box<dyn Upload>, BackupError> {
        let path = self.join(name)?;
        if path.exists() {
            return Err(BackupError::new(format!("{} is there already", path.display())));
        }
        let partial = self.join(&format!("{name}{PARTIAL}"))?;
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial);
        let file = opened.map_err(|e| BackupError::from_io(&format!("{} cannot be made", partial.display()), e))?;
        Ok(Box::new(Partial { file, partial, path, named: false }))
    }

    pub(super) fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, BackupError> {
        let path = self.join(name)?;
        let file = File::open(&path).map_err(|e| BackupError::from_io(&format!("{} cannot be opened", path.display()), e))?;
        Ok(Box::new(BufReader::new(file)))
    }

    pub(super) fn list(&self) -> Result<Vec<Item>, BackupError> {
        let failed = |e| BackupError::from_io(&format!("{} cannot be read", self.path.display()), e);
        let mut items = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            match entry.metadata() {
                Ok(found) if found.is_file() && !name.ends_with(PARTIAL) => items.push(Item { name, size: found.len() }),
                // Removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(_) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(items)
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), BackupError> {
        let path = self.join(name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(BackupError::from_io(&format!("{} cannot be removed", path.display()), error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(super) fn sweep(&self, prefix: &str) -> Result<usize, BackupError> {
        let failed = |e| BackupError::from_io(&format!("{} cannot be read", self.path.display()), e);
        let mut n = 0;
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if let Some(name) = name.to_str().filter(|name| name.starts_with(prefix) && name.ends_with(PARTIAL)) {
                self.remove(name)?;
                n += 1;
            }
        }
        Ok(n)
    }

    fn join(&self, name: &str) -> Result<PathBuf, BackupError> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(BackupError::new(format!("`{name}` is no name of a file in {}", self.path.display())));
        }
        Ok(self.path.join(name))
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Upload for Partial {
    fn finish(mut self: Box<Self>) -> Result<(), BackupError> {
        let failed = |e| BackupError::from_io(&format!("{} cannot be written", self.path.display()), e);
        self.file.sync_all().map_err(failed)?;
        fault::point("backup.written");
        fs::rename(&self.partial, &self.path).map_err(failed)?;
        self.named = true;
        // The name itself is on the disk only with its directory.
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        fault::point("backup.named");
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.named
            && let Err(error) = fs::remove_file(&self.partial)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.partial.display(), %error, "an unfinished backup could not be removed");
        }
    }
}

const PARTIAL: &str = ".partial";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_seen_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open_at(folder.path()).unwrap();
        let mut upload = directory.create("a").unwrap();
        upload.write_all(b"content").unwrap();
        assert!(directory.list().unwrap().is_empty());
        drop(upload);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut upload = directory.create("a").unwrap();
        upload.write_all(b"content").unwrap();
        upload.finish().unwrap();
        assert_eq!(directory.list().unwrap(), [Item { name: "a".to_owned(), size: 7 }]);
        assert!(directory.create("a").is_err_and(|e| e.to_string().contains("already")));
        directory.remove("a").unwrap();
        directory.remove("a").unwrap();
        assert!(directory.list().unwrap().is_empty());
    }

    #[test]
    fn only_ones_own_leftovers_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open_at(folder.path()).unwrap();
        for name in ["certctl-one-x.sqlite.partial", "certctl-two-x.sqlite.partial", "certctl-one-x.sqlite"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        assert_eq!(directory.sweep("certctl-one-").unwrap(), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn names_cannot_lead_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open_at(folder.path()).unwrap();
        for name in ["../x", "/x", "a/b", "", ".x"] {
            assert!(directory.create(name).is_err() && directory.open(name).is_err() && directory.remove(name).is_err(), "{name}");
        }
        assert!(Directory::open_at(&folder.path().join("absent")).unwrap_err().advice().unwrap().contains("mount"));
    }
}
