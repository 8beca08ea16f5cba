//! The verbs of certctl: what happens when somebody or the clock asks for something.

pub mod agents;
pub mod approve;
pub mod auth;
pub mod authorities;
pub mod bulk;
pub mod certificates;
pub mod challenges;
pub mod clock;
pub mod connectors;
pub mod crl;
pub mod crud;
pub mod ctx;
pub mod deploy;
pub mod error;
pub mod explain;
pub mod holders;
pub mod issue;
pub mod issuers;
pub mod jobs;
pub mod json;
pub mod metrics;
pub mod ocsp;
mod owners;
pub mod platform;
mod profiles;
pub mod publication;
pub mod renewal;
pub mod renewal_info;
mod renewal_policies;
pub mod revoke;
pub mod scheduler;
pub mod seal;
pub mod seed;
pub mod shared;
pub mod stats;
pub mod targets;
mod teams;
pub mod vault;
pub mod verify;

use std::sync::Arc;

use certctl_domain::time::Timestamp;
use certctl_store::Store;
use certctl_store::heartbeats::Heartbeats;
use certctl_store::retention::RetentionPolicy;
use tokio_util::sync::CancellationToken;

pub use ctx::{Caller, Ctx};
pub use error::{Error, ErrorKind, Result};

/// What the verbs work with; one per process.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    clock: Arc<dyn clock::Clock>,
    options: Options,
    authenticator: auth::Authenticator,
    issuers: connectors::IssuerCache,
    heartbeats: Arc<Heartbeats>,
    metrics: metrics::Metrics,
    shelf: publication::Shelf,
    fleet: shared::Shared<stats::Fleet, Error>,
    stop: CancellationToken,
}

/// What is set up for the verbs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of this process among its replicas; holds leases.
    pub holder: String,
    /// An agent that was not heard of for so long is offline.
    pub offline_after: time::Duration,
    /// How often agents are asked to say that they live.
    pub heartbeat_every: time::Duration,
    /// How long a poll for work is held open at the most.
    pub poll_wait: std::time::Duration,
    /// How long an enrolment token is good for when its maker does not say.
    pub token_life: time::Duration,
    /// What this installation publishes about the certificates of its own CAs, and where.
    pub publication: publication::Settings,
    /// How long what grows is kept.
    pub retention: RetentionPolicy,
    /// The server's own worker.
    pub worker: Worker,
    /// How often certificates that are due are looked up.
    pub renewal_every: std::time::Duration,
    /// How long a job waits for its agent's CSR before people are told.
    pub csr_patience: time::Duration,
    /// The file that decides which programs issuers may run on the server; an absent one allows none.
    pub commands: std::path::PathBuf,
}

/// How the server's own worker works.
#[derive(Debug, Clone, Copy)]
pub struct Worker {
    /// Jobs at one time.
    pub concurrency: usize,
    /// How long a job may be held without a sign of life.
    pub lease: time::Duration,
    /// How often the queue is read when nothing woke the worker.
    pub poll_every: std::time::Duration,
}

impl Options {
    /// For a process of this name, everything as it is by default.
    #[must_use]
    pub fn named(holder: impl Into<String>) -> Self {
        Self {
            holder: holder.into(),
            offline_after: time::Duration::minutes(3),
            heartbeat_every: time::Duration::seconds(30),
            poll_wait: std::time::Duration::from_secs(45),
            token_life: time::Duration::hours(24),
            publication: publication::Settings::default(),
            retention: RetentionPolicy::default(),
            worker: Worker { concurrency: 16, lease: time::Duration::minutes(1), poll_every: std::time::Duration::from_secs(15) },
            renewal_every: std::time::Duration::from_secs(60),
            csr_patience: time::Duration::hours(24),
            commands: std::path::PathBuf::from("/etc/certctl/server-commands.toml"),
        }
    }
}

impl Engine {
    /// Puts the engine together. Nothing runs yet.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn clock::Clock>, options: Options) -> Arc<Self> {
        let heartbeats = Arc::new(Heartbeats::default());
        Arc::new(Self {
            store,
            clock,
            options,
            authenticator: auth::Authenticator::new(Arc::clone(&heartbeats)),
            issuers: connectors::IssuerCache::default(),
            heartbeats,
            metrics: metrics::Metrics::default(),
            shelf: publication::Shelf::default(),
            fleet: shared::Shared::default(),
            stop: CancellationToken::new(),
        })
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The instant now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The clock, for what lives longer than a call.
    #[must_use]
    pub const fn clock(&self) -> &Arc<dyn clock::Clock> {
        &self.clock
    }

    /// What is set up.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The name of this process among its replicas.
    #[must_use]
    pub fn holder(&self) -> &str {
        &self.options.holder
    }

    /// What this process publishes from memory.
    #[must_use]
    pub const fn shelf(&self) -> &publication::Shelf {
        &self.shelf
    }

    /// Knows callers by their tokens.
    #[must_use]
    pub const fn authenticator(&self) -> &auth::Authenticator {
        &self.authenticator
    }

    /// Issuers that are ready to be asked.
    #[must_use]
    pub const fn issuers(&self) -> &connectors::IssuerCache {
        &self.issuers
    }

    /// Signs of life, gathered.
    #[must_use]
    pub fn heartbeats(&self) -> &Heartbeats {
        &self.heartbeats
    }

    /// What this process counted.
    #[must_use]
    pub const fn metrics(&self) -> &metrics::Metrics {
        &self.metrics
    }

    /// How many there are of everything, as those see it who ask at the same time.
    pub(crate) const fn fleet(&self) -> &shared::Shared<stats::Fleet, Error> {
        &self.fleet
    }

    /// Ends everything that waits, so that the process can stop.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until [`Engine::stop`].
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }
}
