//! The agent's directory on this machine: private, in the hands of one process, every file of it written whole or not at all.
//!
//! ```text
//! <state>/identity.json  ca.pem  allow.toml  status.json  agent.lock
//! <state>/keys/<certificate>/<job>.key    private keys, and which of them are in use
//! <state>/jobs/<job>.json                 what is being worked on
//! <state>/challenges/<token>.json         answers to CAs that are shown by a web server
//! <state>/outbox/                         results that the server has not taken yet
//! <state>/journal/                        deployments: journals, locks, backups
//! ```

mod private;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::files::explain;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

pub use self::private::{entries, private_directory, read_private, remove_private, write_private};

/// The state directory, known to be ours and closed to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir(PathBuf);

/// Only one process works on a state directory; released when dropped, also by the kernel.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl StateDir {
    /// Makes the directory when it is not there; closes it to others when it is.
    ///
    /// # Errors
    /// When it is not a directory, belongs to somebody else, or cannot be made or closed.
    pub fn create(path: &Path) -> Result<Self, ConnectorError> {
        let absolute = std::path::absolute(path).map_err(|e| explain("find", path, e))?;
        if let Some(parent) = absolute.parent().filter(|parent| !parent.exists()) {
            std::fs::create_dir_all(parent).map_err(|e| explain("make", parent, e))?;
        }
        // A link to the directory is its owner's choice; below it, none is followed.
        let real = absolute.canonicalize().unwrap_or(absolute);
        private_directory(&real)?;
        Ok(Self(real.canonicalize().map_err(|e| explain("find", &real, e))?))
    }

    /// The directory, if there is one; nothing is made or changed.
    ///
    /// # Errors
    /// When it may not be entered.
    pub fn existing(path: &Path) -> Result<Option<Self>, ConnectorError> {
        match path.canonicalize() {
            Ok(real) => {
                std::fs::read_dir(&real).map_err(|e| explain("look into", &real, e))?;
                Ok(Some(Self(real)))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(explain("look into", path, error)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of something in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A private directory in it, made when it is not there.
    ///
    /// # Errors
    /// As [`StateDir::create`].
    pub fn directory(&self, name: &str) -> Result<PathBuf, ConnectorError> {
        let path = self.join(name);
        private_directory(&path)?;
        Ok(path)
    }

    /// Reads a JSON file; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read or is not what it should be.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ConnectorError> {
        read_json(&self.join(name))
    }

    /// Writes a JSON file, mode 0600.
    ///
    /// # Errors
    /// When the disk refuses; the old file is then still there.
    pub fn write(&self, name: &str, value: &impl Serialize) -> Result<(), ConnectorError> {
        write_json(&self.join(name), value)
    }

    /// Removes a file; that it is not there is fine.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self, name: &str) -> Result<(), ConnectorError> {
        remove_private(&self.join(name))
    }

    /// Takes the directory for this process.
    ///
    /// # Errors
    /// When another process has it.
    pub async fn lock(&self) -> Result<Lock, ConnectorError> {
        // Whoever only asks whether somebody has the lock has it for an instant: one refusal is not an answer yet.
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(lock) = self.try_lock()? {
                return Ok(lock);
            }
            if Instant::now() >= until {
                let who = self.holder()?.map_or_else(String::new, |pid| format!(" (process {pid})"));
                return Err(ConnectorError::permanent(format!("another certctl-agent{who} works with {}", self.0.display()))
                    .hint("one agent per state directory: stop the other one (systemctl stop certctl-agent), or give --state-dir"));
            }
            sleep(NAP).await;
        }
    }

    /// The process that has the directory; `Some(0)` when it did not say which it is.
    ///
    /// # Errors
    /// When the lock file cannot be read.
    pub fn holder(&self) -> Result<Option<u32>, ConnectorError> {
        let path = self.join(LOCK);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(explain("open", &path, error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.read_to_string(&mut text).map_err(|e| explain("read", &path, e))?;
                Ok(Some(text.trim().parse().unwrap_or(0)))
            }
            Err(TryLockError::Error(error)) => Err(explain("lock", &path, error)),
        }
    }

    fn try_lock(&self) -> Result<Option<Lock>, ConnectorError> {
        let path = self.join(LOCK);
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = options.map_err(|e| explain("open", &path, e))?;
        match file.try_lock() {
            Ok(()) => {
                let told = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                told.map_err(|e| explain("write", &path, e))?;
                Ok(Some(Lock { _file: file }))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(explain("lock", &path, error)),
        }
    }
}

/// Reads a JSON file of ours; `None` when there is none.
///
/// # Errors
/// When it cannot be read or is not what it should be.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ConnectorError> {
    let Some(bytes) = read_private(path)? else {
        return Ok(None);
    };
    // The parser's error repeats no text of the file, only what it is of and where.
    serde_json::from_slice(&bytes).map(Some).map_err(|e| {
        ConnectorError::permanent(format!("{} is damaged: line {}, column {}", path.display(), e.line(), e.column()))
            .hint("it was changed by hand or by a failing disk; restore it, or move it away")
    })
}

/// Writes a JSON file of ours, mode 0600.
///
/// # Errors
/// When the disk refuses; the old file is then still there.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ConnectorError> {
    let bytes = serde_json::to_vec_pretty(value)
        .map_err(|e| ConnectorError::permanent(format!("{} cannot be written as JSON", path.display())).caused_by(e))?;
    let mut bytes = Zeroizing::new(bytes);
    bytes.push(b'\n');
    write_private(path, &bytes)
}

const LOCK: &str = "agent.lock";
const PATIENCE: Duration = Duration::from_millis(500);
const NAP: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_process_at_a_time_and_the_other_is_named() {
        let temporary = tempfile::tempdir().unwrap();
        let state = StateDir::create(&temporary.path().join("a/b/state")).unwrap();
        assert_eq!(state.holder().unwrap(), None);
        let lock = state.lock().await.unwrap();
        assert_eq!(state.holder().unwrap(), Some(std::process::id()));
        let error = state.lock().await.unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(lock);
        assert_eq!(state.holder().unwrap(), None);
        state.lock().await.unwrap();
    }

    #[test]
    fn what_is_not_there_is_not_made_by_looking() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("state");
        assert!(StateDir::existing(&path).unwrap().is_none() && !path.exists());
        StateDir::create(&path).unwrap();
        assert!(StateDir::existing(&path).unwrap().is_some());
    }

    #[test]
    fn a_damaged_file_is_named_and_not_repeated() {
        let temporary = tempfile::tempdir().unwrap();
        let state = StateDir::create(temporary.path()).unwrap();
        write_private(&state.join("identity.json"), b"{\"credential\": hunter2}").unwrap();
        let error = state.read::<serde_json::Value>("identity.json").unwrap_err();
        assert!(error.to_string().contains("line 1") && !error.explain().contains("hunter2"), "{error:?}");
        assert_eq!(state.read::<serde_json::Value>("status.json").unwrap(), None);
    }
}
