//! Private keys: made here, kept here. A key belongs to the job that asked for it and is on disk before its request leaves.
//!
//! A new key never takes the place of an old one: `keys/<certificate>/<job>.key`. Which keys are in use is written beside
//! them, and only a key that was in use once and is no more is ever removed: one that was never in use may still be asked for.

mod ledger;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use certctl_connector_core::ConnectorError;
use certctl_connector_core::files::explain;
use certctl_domain::ids::{CertificateId, Id as _, JobId};
use certctl_domain::secret::Secret;
use certctl_domain::x509::KeyAlgorithm;
use certctl_pki::certificate::Certificate;
use certctl_pki::key::PrivateKey;

pub use self::ledger::{Ledger, Use};
use crate::state::{StateDir, entries, private_directory, read_private, remove_private, write_private};

/// The keys of this machine.
#[derive(Debug)]
pub struct Keys {
    root: PathBuf,
    /// Making a key and removing old ones look first and act then: one at a time.
    turn: Mutex<()>,
}

impl Keys {
    /// The keys in a state directory; closes the directory to others.
    ///
    /// # Errors
    /// When the directory cannot be made, closed or used.
    pub fn open(state: &StateDir) -> Result<Self, ConnectorError> {
        Ok(Self { root: state.directory("keys")?, turn: Mutex::default() })
    }

    /// The key of a job: the one that is there, else a new one, which is durable when this returns.
    ///
    /// # Errors
    /// When it cannot be made or kept.
    pub fn make_or_reuse(&self, certificate: &CertificateId, job: &JobId, algorithm: KeyAlgorithm) -> Result<PrivateKey, ConnectorError> {
        let _turn = self.turn();
        let directory = self.directory(certificate);
        private_directory(&directory)?;
        let path = key_path(&directory, job);
        match read_key(&path)? {
            Some((key, _)) if key.algorithm() == algorithm => return Ok(key),
            Some((key, _)) => {
                // The profile has changed since. The key made before goes aside: a request for it may still be answered.
                let aside = unused_name(&directory, job)?;
                std::fs::rename(&path, &aside).map_err(|e| explain("move aside", &path, e))?;
                tracing::info!(job.id = %job, was = %key.algorithm(), now = %algorithm, "the job asks for another kind of key than before");
            }
            None => {}
        }
        let failed = |e| ConnectorError::transient("no key can be made").caused_by(e);
        let key = PrivateKey::generate(algorithm).map_err(failed)?;
        write_private(&path, key.to_pkcs8_pem().map_err(failed)?.expose().as_bytes())?;
        Ok(key)
    }

    /// The key that a certificate was issued for, in PEM: that of the job, else any kept for the same managed certificate.
    ///
    /// # Errors
    /// When it is not on this machine or cannot be read.
    pub fn find(&self, certificate: &CertificateId, job: &JobId, leaf: &Certificate) -> Result<Secret<String>, ConnectorError> {
        let directory = self.directory(certificate);
        let first = key_path(&directory, job);
        let others = entries(&directory)?.into_iter().filter(|path| is_key(path) && *path != first);
        let mut unreadable = None;
        for path in std::iter::once(first.clone()).chain(others) {
            match read_key(&path) {
                Ok(Some((key, pem))) if key.spki() == leaf.spki() => return Ok(pem),
                Ok(_) => {}
                Err(error) => unreadable = Some(error),
            }
        }
        let missing = ConnectorError::permanent(format!(
            "the key of the certificate {} is not on this machine (looked for {})",
            leaf.fingerprint().as_str(),
            first.display()
        ))
        .hint(format!("renew the certificate, so that a new key is made here: certctl certs renew {certificate}"));
        Err(match unreadable {
            Some(error) => missing.caused_by(error),
            None => missing,
        })
    }

    /// Notes that a key is now in use at a target, then removes keys that were in use and are neither that nor the one before it anywhere.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn deployed(&self, certificate: &CertificateId, target: &str, in_use: Use) -> Result<(), ConnectorError> {
        let _turn = self.turn();
        let directory = self.directory(certificate);
        let mut ledger = Ledger::load(&directory)?;
        ledger.note(target, in_use);
        ledger.store(&directory)?;
        for path in surplus(&directory, &ledger)? {
            tracing::info!(key = %path.display(), "a key is removed: newer ones are in use everywhere");
            remove_private(&path)?;
        }
        if !ledger.fallen().is_empty() {
            ledger.forget_fallen();
            ledger.store(&directory)?;
        }
        Ok(())
    }

    /// How many keys are kept, and for how many certificates.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn count(state: &StateDir) -> Result<KeyCount, ConnectorError> {
        let mut count = KeyCount::default();
        for directory in entries(&state.join("keys"))?.iter().filter(|path| path.is_dir()) {
            let keys = entries(directory)?.iter().filter(|path| is_key(path)).count();
            count.keys += keys;
            count.certificates += usize::from(keys > 0);
        }
        Ok(count)
    }

    /// The directory of a certificate. An identifier cannot carry a path: its type saw to that.
    fn directory(&self, certificate: &CertificateId) -> PathBuf {
        self.root.join(certificate.to_string())
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many keys are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct KeyCount {
    /// Keys.
    pub keys: usize,
    /// Certificates that they are for.
    pub certificates: usize,
}

const EXTENSION: &str = "key";

fn key_path(directory: &Path, job: &JobId) -> PathBuf {
    directory.join(format!("{job}.{EXTENSION}"))
}

/// A name for a key that was moved aside; no identifier has a `~`.
fn unused_name(directory: &Path, job: &JobId) -> Result<PathBuf, ConnectorError> {
    (1..=MOST_ASIDE).map(|n| directory.join(format!("{job}~{n}.{EXTENSION}"))).find(|path| !path.exists()).ok_or_else(|| {
        ConnectorError::permanent(format!("job {job} has asked for {MOST_ASIDE} different keys"))
            .hint("cancel the job and request the certificate anew")
    })
}

const MOST_ASIDE: u32 = 100;

fn is_key(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

fn read_key(path: &Path) -> Result<Option<(PrivateKey, Secret<String>)>, ConnectorError> {
    let Some(bytes) = read_private(path)? else {
        return Ok(None);
    };
    let broken = || ConnectorError::permanent(format!("the key {} cannot be read", path.display()));
    let text = std::str::from_utf8(&bytes).map_err(|_| broken())?;
    let key = PrivateKey::from_pem(text).map_err(|e| broken().caused_by(e))?;
    Ok(Some((key, Secret::new(text.to_owned()))))
}

/// Keys that were in use and are no more, with those moved aside for the same job, and temporary files that a crash left behind.
fn surplus(directory: &Path, ledger: &Ledger) -> Result<Vec<PathBuf>, ConnectorError> {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let job = |path: &Path| name(path).strip_suffix(".key").and_then(|stem| stem.split('~').next()).and_then(|id| JobId::parse(id).ok());
    let is_surplus = |path: &PathBuf| {
        (is_key(path) && job(path).is_some_and(|job| ledger.fallen().contains(&job))) || name(path).starts_with(".certctl-")
    };
    Ok(entries(directory)?.into_iter().filter(is_surplus).collect())
}

#[cfg(test)]
mod tests;
