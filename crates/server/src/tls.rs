//! The server's own certificate: loaded from two files, and replaced while the server runs.
//!
//! [`ReloadingTls`] holds the pair that new connections are given. [`ReloadingTls::reload`] reads the files again; a pair that is not
//! good leaves the old one in use, and the reason stays in [`ReloadingTls::status`] until the files are good again. Connections
//! that are open keep what they began with.

mod pair;
mod watch;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use certctl_domain::time::Timestamp;
use certctl_domain::x509::Fingerprint;
use rustls::crypto::aws_lc_rs;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ServerConfig, SupportedProtocolVersion};

pub use pair::PairError;
pub use watch::{TlsWatcher, WatchError};

use crate::config::TlsVersion;
use pair::Pair;

/// Where the pair lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// Certificate and intermediates in PEM, leaf first.
    pub cert: PathBuf,
    /// Private key in PEM.
    pub key: PathBuf,
}

/// How connections are accepted, apart from the pair.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// The oldest version that is accepted.
    pub min_version: TlsVersion,
    /// Asks clients for a certificate and decides about it; without it none is asked for.
    pub client_certificates: Option<Arc<dyn ClientCertVerifier>>,
}

/// The pair in use, and how to replace it.
pub struct ReloadingTls {
    files: PairFiles,
    options: TlsOptions,
    current: ArcSwap<Loaded>,
    // Also keeps two reloads from overtaking one another.
    record: Mutex<Record>,
}

struct Loaded {
    pair: Pair,
    config: Arc<ServerConfig>,
    at: Timestamp,
}

#[derive(Debug, Default)]
struct Record {
    replaced: u64,
    failed: u64,
    problem: Option<Problem>,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// The files hold the pair that is in use.
    Unchanged,
    /// New connections get this certificate from now on.
    Replaced {
        /// Of the leaf.
        fingerprint: Fingerprint,
        /// When it expires.
        not_after: Timestamp,
    },
}

/// The pair in use and how the last attempts to replace it went, for readiness and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsStatus {
    /// Of the leaf in use.
    pub fingerprint: Fingerprint,
    /// Its first second.
    pub not_before: Timestamp,
    /// Its last second.
    pub not_after: Timestamp,
    /// When it was loaded.
    pub loaded_at: Timestamp,
    /// How often a pair was replaced since the start.
    pub replaced: u64,
    /// How often a reload was refused since the start, for a new reason each time.
    pub failed: u64,
    /// Why the files are not in use, if they are not.
    pub problem: Option<Problem>,
}

/// Why the last reload left the old pair in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// When it was first seen.
    pub since: Timestamp,
    /// What is wrong with the files.
    pub why: String,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

/// Why the pair cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The files do not hold a pair.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// The pair cannot be used now, while the one in use can.
    #[error("the certificate in {} is not valid now, only from {not_before} to {not_after}; the one in use is", path.display())]
    NotValidNow {
        /// The certificate's file.
        path: PathBuf,
        /// Its first second.
        not_before: Timestamp,
        /// Its last second.
        not_after: Timestamp,
    },
    /// The TLS library refuses it.
    #[error("the TLS library refuses the key and certificate")]
    Refused(#[source] rustls::Error),
}

impl TlsError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Pair(error) => error.hint(),
            Self::NotValidNow { .. } => Some("put a current certificate there, or check the clock of this host"),
            Self::Refused(_) => None,
        }
    }
}

impl ReloadingTls {
    /// Loads the pair for the first time. One that is expired or not valid yet is taken, with a warning: it is all there is.
    ///
    /// # Errors
    /// When the files do not hold a usable pair.
    pub fn load(files: PairFiles, options: TlsOptions, now: Timestamp) -> Result<Self, TlsError> {
        let loaded = Loaded::new(Pair::read(&files)?, &options, now)?;
        if !loaded.pair.is_valid_at(now) {
            tracing::warn!(
                tls.not_before = %loaded.pair.not_before(), tls.not_after = %loaded.pair.not_after(), path = %files.cert.display(),
                "the server's own certificate is not valid now; clients will refuse it"
            );
        }
        Ok(Self { files, options, current: ArcSwap::from_pointee(loaded), record: Mutex::default() })
    }

    /// Reads the files again and takes up what they hold, if it is good. Blocks on the disk.
    ///
    /// # Errors
    /// When it is not good; the old pair stays in use.
    pub fn reload(&self, now: Timestamp) -> Result<ReloadOutcome, TlsError> {
        let mut record = self.record();
        let outcome = self.replace(now);
        match &outcome {
            Ok(ReloadOutcome::Unchanged) => record.problem = None,
            Ok(ReloadOutcome::Replaced { .. }) => {
                record.problem = None;
                record.replaced += 1;
            }
            Err(error) => record.note(error, now),
        }
        outcome
    }

    /// What the next connection is accepted with.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// The pair in use, and how the last reloads went.
    #[must_use]
    pub fn status(&self) -> TlsStatus {
        let record = self.record();
        let current = self.current.load();
        TlsStatus {
            fingerprint: current.pair.fingerprint().clone(),
            not_before: current.pair.not_before(),
            not_after: current.pair.not_after(),
            loaded_at: current.at,
            replaced: record.replaced,
            failed: record.failed,
            problem: record.problem.clone(),
        }
    }

    /// Where the pair lies.
    #[must_use]
    pub const fn files(&self) -> &PairFiles {
        &self.files
    }

    fn replace(&self, now: Timestamp) -> Result<ReloadOutcome, TlsError> {
        let pair = Pair::read(&self.files)?;
        let current = self.current.load();
        // The key belongs to the certificate, so an equal certificate means an equal pair.
        if pair.is_same_chain(&current.pair) {
            return Ok(ReloadOutcome::Unchanged);
        }
        if !pair.is_valid_at(now) && current.pair.is_valid_at(now) {
            let (not_before, not_after) = (pair.not_before(), pair.not_after());
            return Err(TlsError::NotValidNow { path: self.files.cert.clone(), not_before, not_after });
        }
        let (fingerprint, not_after) = (pair.fingerprint().clone(), pair.not_after());
        self.current.store(Arc::new(Loaded::new(pair, &self.options, now)?));
        Ok(ReloadOutcome::Replaced { fingerprint, not_after })
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ReloadingTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReloadingTls").field("files", &self.files).field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Loaded {
    fn new(pair: Pair, options: &TlsOptions, at: Timestamp) -> Result<Self, TlsError> {
        let config = server_config(&pair, options).map_err(TlsError::Refused)?;
        Ok(Self { pair, config: Arc::new(config), at })
    }
}

impl Record {
    fn note(&mut self, error: &TlsError, now: Timestamp) {
        let why = with_sources(error);
        // The files are looked at again and again; the same fault is one fault.
        if self.problem.as_ref().is_none_or(|known| known.why != why) {
            self.failed += 1;
            self.problem = Some(Problem { since: now, why, hint: error.hint() });
        }
    }
}

fn server_config(pair: &Pair, options: &TlsOptions) -> Result<ServerConfig, rustls::Error> {
    let versions: &[&SupportedProtocolVersion] = match options.min_version {
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
        TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_protocol_versions(versions)?;
    let builder = match &options.client_certificates {
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(pair.chain(), pair.key())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Tickets, so that agents which come back need no signature; their keys live in memory and change by themselves.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
