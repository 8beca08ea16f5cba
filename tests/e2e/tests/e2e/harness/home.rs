//! The folder of one test, with everything that its programs write. At the end no log in it may hold a secret.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use certctl_testkit::secret_of;
use tempfile::TempDir;

use super::files::{names_in, write};

/// The folder.
pub(crate) struct Home {
    folder: TempDir,
    root: PathBuf,
    secrets: Mutex<Vec<String>>,
    logs: AtomicUsize,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("certctl-e2e-").tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("logs")).unwrap();
        Self { folder, root, secrets: Mutex::default(), logs: AtomicUsize::new(0) }
    }

    /// Where it is, free of links.
    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// A path in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes a file in it, for its owner alone.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        write(&self.join(name), content)
    }

    /// From now on the secret part of this key, credential or token may stand in no log; the parts before it are there to be found.
    pub(crate) fn plant_key(&self, key: &str) {
        self.plant(secret_of(key));
    }

    /// From now on this may stand in no log.
    pub(crate) fn plant(&self, secret: &str) {
        let secret = secret.trim();
        assert!(secret.len() >= 16, "a secret this short is found everywhere");
        self.secrets.lock().unwrap().push(secret.to_owned());
    }

    /// Where one more program may log.
    pub(super) fn log_of(&self, name: &str) -> PathBuf {
        let number = self.logs.fetch_add(1, Ordering::Relaxed);
        self.root.join("logs").join(format!("{number:02}-{name}.log"))
    }

    fn leaks(&self) -> Vec<String> {
        let logs = self.root.join("logs");
        let secrets = self.secrets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut leaks = Vec::new();
        for name in names_in(&logs) {
            let text = String::from_utf8_lossy(&std::fs::read(logs.join(&name)).unwrap()).into_owned();
            let leaking = text.lines().filter(|line| secrets.iter().any(|secret| line.contains(secret.as_str())));
            leaks.extend(leaking.map(|line| format!("{name}: {line}")));
        }
        leaks
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !thread::panicking() {
            let leaks = self.leaks();
            assert!(leaks.is_empty(), "secrets were logged:\n{}", leaks.join("\n"));
        }
        // The folder goes with it; named here, because nothing else reads it.
        let _folder = &self.folder;
    }
}

#[test]
#[should_panic(expected = "secrets were logged")]
fn a_secret_in_a_log_fails_the_test() {
    let home = Home::new();
    home.plant_key("ck_0123456789ab_hunter2hunter2hunter2");
    write(&home.log_of("server"), "fine: ck_0123456789ab\nnot fine: hunter2hunter2hunter2\n");
}
