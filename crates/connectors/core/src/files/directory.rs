//! A directory opened without following a symbolic link, and what is done inside it.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

use super::attributes::FinalAttributes;
use super::explain::explain;
use crate::ConnectorError;

/// An open directory. What is done through it cannot be led elsewhere by renaming or linking its parents.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

impl Directory {
    /// Opens an absolute path step by step; a symbolic link on the way is refused.
    ///
    /// # Errors
    /// When a part is missing, not a directory, a symbolic link, or may not be entered.
    pub fn open(path: &Path) -> Result<Self, ConnectorError> {
        let mut at = PathBuf::from("/");
        let mut fd = nix::fcntl::open("/", WALK, Mode::empty()).map_err(|e| explain("open", &at, e))?;
        for part in path.components() {
            match part {
                Component::RootDir => {}
                Component::Normal(name) => {
                    at.push(name);
                    fd = openat(&fd, name, WALK, Mode::empty()).map_err(|e| refuse(path, &at, e))?;
                }
                Component::CurDir | Component::ParentDir | Component::Prefix(_) => return Err(not_plain(path)),
            }
        }
        if !path.is_absolute() {
            return Err(not_plain(path));
        }
        // The walk's descriptors only lead on; reading the directory (to fsync it) needs one of its own.
        let fd = openat(&fd, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|e| explain("open", path, e))?;
        Ok(Self { fd, path: at })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory inside, made with this mode when it is not there; a symbolic link is refused.
    ///
    /// # Errors
    /// When it is something else than a directory, or cannot be made or entered.
    pub fn enter_or_make(&self, name: &str, mode: u32) -> Result<Self, ConnectorError> {
        let path = self.path.join(name);
        let made = match mkdirat(&self.fd, name, Mode::S_IRWXU) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(error) => return Err(explain("make", &path, error)),
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&self.fd, name, flags, Mode::empty()).map_err(|e| refuse(&path, &path, e))?;
        if made {
            // Not by the call above: the process's mask would take bits away.
            fchmod(&fd, Mode::from_bits_truncate(mode)).map_err(|e| explain("open to others", &path, e))?;
        }
        Ok(Self { fd, path })
    }

    /// Creates a file that must not exist, fills it, gives it its attributes and makes it durable.
    ///
    /// # Errors
    /// When any of that fails; a part-written file is removed.
    pub fn create(&self, name: &str, bytes: &[u8], attributes: &FinalAttributes) -> Result<(), ConnectorError> {
        let path = self.path.join(name);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&self.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|e| explain("create", &path, e))?;
        let mut file = File::from(fd);
        let filled = attributes
            .apply(&file, &path)
            .and_then(|()| file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| explain("write", &path, e)));
        if filled.is_err()
            && let Err(second) = self.remove(name)
        {
            tracing::warn!(error = %second.explain(), "a part-written file could not be removed");
        }
        filled
    }

    /// Opens a file for reading; `None` when there is none. A symbolic link is not followed.
    ///
    /// # Errors
    /// When it may not be read.
    pub fn open_file(&self, name: &std::ffi::OsStr) -> Result<Option<File>, ConnectorError> {
        // O_NONBLOCK: opening a named pipe must not wait for its writer.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(explain("read", &self.path.join(name), error)),
        }
    }

    /// Whether the entry is a symbolic link; `false` when there is none.
    pub(super) fn is_link(&self, name: &std::ffi::OsStr) -> bool {
        is_link(&self.fd, name)
    }

    /// Renames inside the directory; the entry under the new name is replaced in one step.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn rename(&self, from: &str, to: &std::ffi::OsStr) -> Result<(), ConnectorError> {
        renameat(&self.fd, from, &self.fd, to).map_err(|e| explain("replace", &self.path.join(to), e))
    }

    /// Removes a file; that it is already gone is fine.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(&self, name: impl AsRef<std::ffi::OsStr>) -> Result<(), ConnectorError> {
        match unlinkat(&self.fd, name.as_ref(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            // A read-only file system refuses before it looks whether there is anything to remove.
            Err(_) if fstatat(&self.fd, name.as_ref(), AtFlags::AT_SYMLINK_NOFOLLOW) == Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(explain("remove", &self.path.join(name.as_ref()), error)),
        }
    }

    /// Makes renames and removals durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> Result<(), ConnectorError> {
        fsync(&self.fd).map_err(|e| explain("make changes durable in", &self.path, e))
    }
}

#[cfg(target_os = "linux")]
const LEAD_ON: OFlag = OFlag::O_PATH;
#[cfg(not(target_os = "linux"))]
const LEAD_ON: OFlag = OFlag::O_RDONLY;
const WALK: OFlag = LEAD_ON.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

fn is_link(directory: &OwnedFd, name: &std::ffi::OsStr) -> bool {
    fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK)
}

fn refuse(whole: &Path, at: &Path, error: Errno) -> ConnectorError {
    if at.symlink_metadata().is_ok_and(|m| m.is_symlink()) {
        let message = format!("the directory {} is a symbolic link, so files below it are not replaced", at.display());
        let real = whole.canonicalize().map_or_else(|_| "the real path".to_owned(), |real| real.display().to_string());
        return ConnectorError::permanent(message)
            .hint(format!("whoever can turn the link decides what is overwritten; use {real} instead"));
    }
    explain("open the directory", at, error)
}

fn not_plain(path: &Path) -> ConnectorError {
    ConnectorError::permanent(format!("the path {} is not absolute, or has `.` or `..` in it", path.display()))
        .hint("write the path from the root, without detours")
}
