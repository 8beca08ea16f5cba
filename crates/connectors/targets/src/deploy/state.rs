//! A target's own directory on this machine: its lock, its journal, its backups. Nothing of it is where a service looks.
//!
//! ```text
//! <state>/targets/<target>/lock  journal.jsonl  last-journal.jsonl  work/  backups/<time>-<deployment>-<random>/0-key.pem
//! <state>/locks/<hash of a file's path>
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::files::{Directory, explain, sha256_hex};
use tokio::time::{Instant, sleep};

/// The directory of one target.
#[derive(Debug, Clone)]
pub(super) struct TargetState {
    root: PathBuf,
    directory: PathBuf,
}

/// A lock that other processes respect; released when dropped, also by the kernel.
#[derive(Debug, Clone)]
pub(super) struct Lock {
    _held: Arc<Held>,
}

#[derive(Debug)]
struct Held(File);

impl Drop for Held {
    /// Closing alone is not enough: a child that another thread is just starting shares the open file until it becomes its program.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "a deployment lock could not be released");
        }
    }
}

/// Checks that an id can be the name of a directory and leads nowhere else.
pub(super) fn plain_id(what: &str, id: &str) -> Result<(), ConnectorError> {
    let plain =
        !id.is_empty() && id.len() <= 128 && !id.starts_with('.') && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if plain {
        return Ok(());
    }
    Err(ConnectorError::permanent(format!("the {what}'s id cannot be the name of a directory"))
        .hint("use letters, digits, `.`, `_` and `-`, at most 128, not beginning with `.`"))
}

impl TargetState {
    /// Makes the directory when it is not there, and keeps others out of it.
    pub(super) fn open(root: &Path, target: &str) -> Result<Self, ConnectorError> {
        plain_id("target", target)?;
        private_directory(root)?;
        // Ours alone, so links among its parents do not matter; what follows refuses them.
        let root = root.canonicalize().map_err(|e| explain("open", root, e))?;
        let directory = root.join("targets").join(target);
        for path in [&root.join("locks"), &root.join("targets"), &directory, &directory.join("backups")] {
            private_directory(path)?;
        }
        Ok(Self { root, directory })
    }

    /// The ids of the targets that have a directory.
    pub(super) fn known_targets(root: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(root.join("targets")) else {
            return Vec::new();
        };
        let mut ids: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        ids.sort();
        ids
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.directory.join("journal.jsonl")
    }

    pub(super) fn last_journal(&self) -> PathBuf {
        self.directory.join("last-journal.jsonl")
    }

    /// An empty directory for a check.
    pub(super) fn fresh_work(&self) -> Result<PathBuf, ConnectorError> {
        self.clear_work()?;
        let work = self.directory.join("work");
        private_directory(&work)?;
        Ok(work)
    }

    pub(super) fn clear_work(&self) -> Result<(), ConnectorError> {
        remove_tree(&self.directory.join("work"))
    }

    pub(super) fn backup(&self, name: &str) -> PathBuf {
        self.directory.join("backups").join(name)
    }

    pub(super) fn make_backup(&self, name: &str) -> Result<Directory, ConnectorError> {
        let path = self.backup(name);
        private_directory(&path)?;
        Directory::open(&path)
    }

    pub(super) fn remove_backup(&self, name: &str) -> Result<(), ConnectorError> {
        remove_tree(&self.backup(name))
    }

    /// Keeps the newest backups. Their names begin with the time, but a clock may have gone back: the one just made is the newest.
    pub(super) fn prune_backups(&self, keep: u32, newest: &str) -> Result<(), ConnectorError> {
        let directory = self.directory.join("backups");
        let entries = fs::read_dir(&directory).map_err(|e| explain("list", &directory, e))?;
        let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort_by(|a, b| (a == newest, a).cmp(&(b == newest, b)));
        let surplus = names.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
        names.iter().take(surplus).try_for_each(|name| self.remove_backup(name))
    }

    /// Puts a journal that cannot be finished out of the way of the next one.
    pub(super) fn set_journal_aside(&self) -> Result<(), ConnectorError> {
        match fs::rename(self.journal(), self.last_journal()) {
            Ok(()) => self.sync(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(explain("set aside", &self.journal(), error)),
        }
    }

    /// Makes what was added to or removed from the directory durable.
    pub(super) fn sync(&self) -> Result<(), ConnectorError> {
        Directory::open(&self.directory)?.sync()
    }

    /// Waits for the target's lock.
    pub(super) async fn lock(&self) -> Result<Lock, ConnectorError> {
        wait_for(&self.directory.join("lock"), "this target").await
    }

    /// The target's lock, unless somebody has it.
    pub(super) fn try_lock(&self) -> Result<Option<Lock>, ConnectorError> {
        try_lock(&self.directory.join("lock"))
    }

    /// Waits for the turn to talk to a service that many targets share. Nothing else is waited for while it is held.
    pub(super) async fn lock_service(&self, address: &str) -> Result<Lock, ConnectorError> {
        wait_for(&self.root.join("locks").join(sha256_hex(format!("service {address}").as_bytes())), "this service").await
    }

    /// Waits for the lock of each file. Two targets may name the same file; taken in one order, the locks cannot block one another.
    pub(super) async fn lock_files(&self, paths: impl Iterator<Item = &Path>) -> Result<Vec<Lock>, ConnectorError> {
        let mut names: Vec<_> = paths.map(|path| sha256_hex(path.as_os_str().as_encoded_bytes())).collect();
        names.sort();
        names.dedup();
        let mut locks = Vec::new();
        for name in names {
            locks.push(wait_for(&self.root.join("locks").join(name), "one of these files").await?);
        }
        Ok(locks)
    }
}

const PATIENCE: Duration = Duration::from_secs(180);
const LONGEST_NAP: Duration = Duration::from_millis(200);

async fn wait_for(path: &Path, what: &str) -> Result<Lock, ConnectorError> {
    let until = Instant::now() + PATIENCE;
    let mut nap = Duration::from_millis(2);
    loop {
        if let Some(lock) = try_lock(path)? {
            return Ok(lock);
        }
        if Instant::now() >= until {
            return Err(ConnectorError::transient(format!("another deployment of {what} has been running for {PATIENCE:?}"))
                .hint(format!("fuser -v {}", path.display())));
        }
        sleep(nap).await;
        nap = (nap * 2).min(LONGEST_NAP);
    }
}

fn try_lock(path: &Path) -> Result<Option<Lock>, ConnectorError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| explain("open the lock", path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { _held: Arc::new(Held(file)) })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(explain("lock", path, error)),
    }
}

/// Backups hold keys: nobody else may even list the directory. One that is made is on disk, as its name is, when this returns.
fn private_directory(path: &Path) -> Result<(), ConnectorError> {
    if !path.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| explain("make the directory", path, e))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(|e| explain("make changes durable in", parent, e))?;
    }
    let metadata = fs::symlink_metadata(path).map_err(|e| explain("examine", path, e))?;
    let metadata = if metadata.is_symlink() { fs::metadata(path).map_err(|e| explain("examine", path, e))? } else { metadata };
    let us = nix::unistd::geteuid().as_raw();
    if metadata.uid() != us {
        return Err(ConnectorError::permanent(format!(
            "the state directory {} belongs to user id {}, not to the user this runs as ({us})",
            path.display(),
            metadata.uid()
        ))
        .hint(format!("chown -R {us} {}", path.display())));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(|e| explain("close to others", path, e))?;
    }
    Ok(())
}

fn remove_tree(path: &Path) -> Result<(), ConnectorError> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(explain("remove", path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backup_just_made_is_kept_though_the_clock_went_back() {
        let folder = tempfile::tempdir().unwrap();
        let state = TargetState::open(folder.path(), "tgt-1").unwrap();
        for name in ["3-before", "5-before", "1-now"] {
            state.make_backup(name).unwrap();
        }
        state.prune_backups(2, "1-now").unwrap();
        assert!(state.backup("1-now").exists() && state.backup("5-before").exists() && !state.backup("3-before").exists());
    }
}
