//! What handlers work with: the engine, and what the process says of itself. Made once at boot.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use certctl_engine::Engine;
use certctl_protocols::revocation::Revocation;
use futures_util::future::BoxFuture;

use crate::api::RequestSeen;
use crate::metrics::Sources;
use crate::rate_limit::RateLimiter;

/// The state of the router. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState {
    app: Arc<App>,
    revocation: Revocation,
}

/// What the state holds.
#[derive(Debug)]
pub struct App {
    /// The verbs.
    pub engine: Arc<Engine>,
    /// Whether this process can do its work.
    pub readiness: Arc<dyn Readiness>,
    /// Is told of every request.
    pub requests: Arc<dyn Requests>,
    /// What a scrape looks at beside the engine.
    pub metrics: Sources,
    /// Which program this is.
    pub version: Version,
    /// The settings in force with secrets redacted, by their names.
    pub settings: BTreeMap<String, String>,
    /// What a request may cost.
    pub limits: Limits,
    /// How much one caller may ask for.
    pub rates: RateLimiter,
    /// How agents find this server.
    pub invitation: Invitation,
}

/// How agents find this server and know that it is the right one.
#[derive(Debug, Clone, Default)]
pub struct Invitation {
    /// `https://host:port`
    pub server: String,
    /// SHA-256 of the platform CA, where the server shows a certificate of its own; `None` where agents trust another CA.
    pub ca_sha256: Option<String>,
}

/// What a request may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// Time until the answer begins. Operations that wait on purpose have their own.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 1024 * 1024, time: Duration::from_secs(60) }
    }
}

/// Which program this is.
#[derive(Debug, Clone, Default)]
pub struct Version {
    /// Of the release.
    pub version: String,
    /// Of the source.
    pub commit: String,
    /// Whether the source was changed since that commit.
    pub modified: bool,
    /// When it was built.
    pub build_time: String,
    /// With which compiler.
    pub toolchain: String,
}

/// Knows whether the process can do its work.
pub trait Readiness: std::fmt::Debug + Send + Sync {
    /// Looks now. What it says is public: no host names, no texts of drivers.
    fn check(&self) -> BoxFuture<'_, Vec<ReadinessCheck>>;
}

/// One thing that must be so for the process to be ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadinessCheck {
    /// `database`, `schema`, `encryption`, `scheduler`
    pub name: &'static str,
    /// What is wrong, if it is.
    pub problem: Option<String>,
}

/// Is told of every request, for metrics.
pub trait Requests: std::fmt::Debug + Send + Sync {
    /// A request was answered.
    fn seen(&self, request: &RequestSeen<'_>);
}

impl AppState {
    /// Shares what the handlers work with.
    #[must_use]
    pub fn new(app: App) -> Self {
        let revocation = Revocation::new(&app.engine);
        Self { app: Arc::new(app), revocation }
    }

    /// Answers what relying parties ask.
    #[must_use]
    pub const fn revocation(&self) -> &Revocation {
        &self.revocation
    }
}

impl Deref for AppState {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}
