//! The one folder of a demo. A second demo takes it over; it never empties a folder that is not a demo's, nor one that is in use.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::failure::Failure;
use crate::files;

/// A folder that is ours alone while this value lives.
pub(crate) struct Folder {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Folder {
    /// Makes the folder, or empties the one of an earlier demo.
    pub(crate) fn claim(path: &Path) -> Result<Self, Failure> {
        let marker = path.join(MARKER);
        let entries = fs::read_dir(path).map(Iterator::count).unwrap_or_default();
        if entries > 0 && !marker.is_file() {
            let failure = Failure::new(format!("{} is not empty and not the folder of an earlier demo", path.display()));
            return Err(failure.hint("give another --dir"));
        }
        files::make_dir(path)?;
        let path = path.canonicalize().map_err(|error| Failure::new(format!("cannot find {}", path.display())).because(error))?;
        let marker = path.join(MARKER);
        let opened = File::options().create(true).append(true).open(&marker);
        let file = opened.map_err(|error| Failure::new(format!("cannot make {}", marker.display())).because(error))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
            Errno::EWOULDBLOCK => {
                Failure::new(format!("another demo is running in {}", path.display())).hint("end it with Ctrl-C, or give another --dir")
            }
            error => Failure::new(format!("cannot lock {}", marker.display())).because(error),
        })?;
        // Keys and tokens will be in it.
        let closed = fs::set_permissions(&path, Permissions::from_mode(0o700));
        closed.map_err(|error| Failure::new(format!("cannot restrict {}", path.display())).because(error))?;
        let folder = Self { path, _lock: lock };
        folder.empty()?;
        Ok(folder)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path below it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder for what the processes print.
    pub(crate) fn logs(&self) -> Result<PathBuf, Failure> {
        let logs = self.join("logs");
        files::make_dir(&logs)?;
        Ok(logs)
    }

    fn empty(&self) -> Result<(), Failure> {
        let cannot = |error| Failure::new(format!("cannot empty {}", self.path.display())).because(error);
        for entry in fs::read_dir(&self.path).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            if entry.file_name() == MARKER {
                continue;
            }
            if entry.file_type().map_err(cannot)?.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }
                .map_err(cannot)?;
        }
        Ok(())
    }
}

const MARKER: &str = ".certctl-demo";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_demo_finds_it_empty() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("deep/demo");
        let first = Folder::claim(&path).unwrap();
        files::write(&first.join("server/state"), "old").unwrap();
        files::write(&first.join("loose"), "old").unwrap();
        drop(first);
        let second = Folder::claim(&path).unwrap();
        assert_eq!(fs::read_dir(second.path()).unwrap().count(), 1, "only the marker is left");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_running_demo_is_not_disturbed() {
        let base = tempfile::tempdir().unwrap();
        let first = Folder::claim(base.path()).unwrap();
        files::write(&first.join("state"), "in use").unwrap();
        let failure = Folder::claim(base.path()).err().unwrap();
        assert!(failure.chain().starts_with("another demo is running"), "{}", failure.chain());
        assert_eq!(files::read(&first.join("state")).unwrap(), "in use");
    }

    #[test]
    fn a_folder_of_somebody_else_is_not_touched() {
        let base = tempfile::tempdir().unwrap();
        files::write(&base.path().join("thesis.txt"), "dear").unwrap();
        assert!(Folder::claim(base.path()).is_err());
        assert_eq!(files::read(&base.path().join("thesis.txt")).unwrap(), "dear");
    }
}
