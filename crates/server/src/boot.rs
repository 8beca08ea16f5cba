//! From configuration to a running server, and from a signal to an orderly stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certctl_connector_core::challenge::{serve_http, serve_tls};
use certctl_domain::secret::Secret;
use certctl_engine::clock::{Clock, SystemClock};
use certctl_engine::publication::Base;
use certctl_engine::shared::Shared;
use certctl_engine::{Ctx, Engine, Options, Worker, auth, jobs, scheduler, seed};
use certctl_store::retention::RetentionPolicy;
use certctl_store::secrets::Keyring;
use certctl_store::{OpenOptions, Store, StoreError, leases, migrate};

use crate::challenges;
use crate::config::{BackupOnly, Config, DatabaseSettings, EncryptionSettings, RetentionSettings, Synchronous};
use crate::listener::{BindError, Drain, Listener, ListenerLimits, PlainListener, SmallListener};
use crate::metrics::{self, RequestMetrics, Sources};
use crate::platform_tls;
use crate::private_file::{self, FileError};
use crate::rate_limit::{RateLimiter, Rates};
use crate::readiness::Ready;
use crate::routes;
use crate::shutdown::{Shutdown, Signals, Stages, StopReason, TaskGroup};
use crate::state::{App, AppState, Invitation, Limits, Version};
use crate::tls::{PairFiles, ReloadingTls, TlsError, TlsOptions, TlsWatcher};

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// A file of the server's own cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database.
    #[error("the database cannot be used")]
    Store(#[from] StoreError),
    /// A backup.
    #[error(transparent)]
    Backup(#[from] certctl_backup::BackupError),
    /// The engine.
    #[error("the server cannot be set up")]
    Engine(#[from] certctl_engine::Error),
    /// The certificate that the server shows.
    #[error("the server's certificate cannot be used")]
    Tls(#[from] TlsError),
    /// The address is taken or not ours.
    #[error("the server cannot listen")]
    Bind(#[from] BindError),
    /// Secrets that this server could not open.
    #[error("secrets in the database are sealed under encryption keys that are not given: {keys}")]
    MissingKeys {
        /// The fingerprints of the keys.
        keys: String,
    },
    /// Secrets that a rotation could not reach.
    #[error("{left} secrets are sealed under other encryption keys than the current one ({current})")]
    OtherKeysInUse {
        /// How many.
        left: i64,
        /// The fingerprint of the current key.
        current: String,
    },
    /// PostgreSQL without a key.
    #[error("PostgreSQL needs an encryption key that every replica shares")]
    NoEncryptionKey,
    /// The system.
    #[error("{what}")]
    System {
        /// What could not be done.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A running server said that it is not well.
    #[error("the server is not well: {0}")]
    Unwell(String),
    /// A part of the server failed while it ran.
    #[error("{0}")]
    Failed(StopReason),
}

impl BootError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Backup(error) => error.advice().map(str::to_owned),
            Self::Tls(error) => error.hint().map(str::to_owned),
            Self::Bind(error) => error.hint().map(str::to_owned),
            Self::Engine(error) => error.hint.clone(),
            Self::OtherKeysInUse { .. } => Some(
                "a server that still has another key as its current one may have sealed them since: give every server the current key, then run `certctl-server rotate-key` again"
                    .to_owned(),
            ),
            Self::MissingKeys { .. } | Self::Store(StoreError::Secret(_)) => {
                Some("give them as CERTCTL_ENCRYPTION_KEY_FILE and CERTCTL_ENCRYPTION_PREVIOUS_KEYS_FILE; a fingerprint is `base64 -d FILE | sha256sum | cut -c 1-8`, and `certctl-server rotate-key --check` shows what is in use".to_owned())
            }
            Self::NoEncryptionKey => {
                Some("make one with `openssl rand -base64 32` and give it to every replica as CERTCTL_ENCRYPTION_KEY_FILE".to_owned())
            }
            Self::Store(StoreError::SchemaOlder { .. }) => {
                Some("run `certctl-server migrate`, or unset CERTCTL_MIGRATIONS_VIA_HOOK".to_owned())
            }
            Self::Store(StoreError::SchemaNewer { .. }) => {
                Some("start the release that made this schema, or a newer one; or restore the backup from before the upgrade".to_owned())
            }
            Self::Store(StoreError::MigrationLocked { pid, .. }) => Some(match pid {
                Some(pid) => format!("wait for it; if it hangs, end its session with `SELECT pg_terminate_backend({pid})` and try again"),
                None => "try again".to_owned(),
            }),
            Self::Store(StoreError::MigrationBlocked { pid, .. }) => Some(match pid {
                Some(pid) => {
                    format!("let it end, or end it with `SELECT pg_terminate_backend({pid})`, and try again; servers go on meanwhile")
                }
                None => "try again; servers go on meanwhile".to_owned(),
            }),
            Self::Store(StoreError::MigrationSlow { .. }) => {
                Some("give it more time with CERTCTL_DATABASE_START_TIMEOUT; a startup probe must allow twice as much".to_owned())
            }
            Self::Store(StoreError::MigrationChanged { .. }) => {
                Some("this program and the one that made the schema are not of the same line: use a release as it was published".to_owned())
            }
            Self::Store(StoreError::Busy { .. }) => {
                Some("one server at a time works on an SQLite database: stop the other one, or the tool that has the file open".to_owned())
            }
            Self::Store(StoreError::Url) => Some("see `certctl-server config reference`, database.url".to_owned()),
            Self::Store(_) => Some("look whether the database runs and CERTCTL_DATABASE_URL is right".to_owned()),
            Self::System { .. } | Self::Unwell(_) | Self::Failed(_) => None,
        }
    }
}

/// Brings the schema up to date and does nothing else.
///
/// # Errors
/// When the database cannot be reached, or a migration fails.
pub async fn migrate_only(database: &DatabaseSettings, data_dir: &Path) -> Result<migrate::SchemaState, BootError> {
    prepare_sqlite(database, data_dir)?;
    // No secret is read or written by migrations: any keyring will do.
    let (keyring, _) = Keyring::generate()?;
    let store = Store::open_within(&open_options(database), keyring, database.start_timeout).await?;
    let state = migrate::migrate(store.db(), migrate::Patience(database.start_timeout)).await?;
    store.db().close().await;
    Ok(state)
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// When it cannot start, or a part of it failed.
pub async fn serve(config: Config) -> Result<(), BootError> {
    let system = |what: &'static str| move |source: std::io::Error| BootError::System { what, source: Box::new(source) };
    let signals = Signals::listen().map_err(|e| BootError::System { what: "signals cannot be received", source: Box::new(e) })?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let shutdown = Shutdown::new();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let data_dir = config.server.data_dir.clone();
    private_file::directory(&data_dir)?;
    let store = open_store(&config).await?;
    let patience = migrate::Patience(config.database.start_timeout);
    let schema = if config.database.migrations_via_hook {
        migrate::wait(store.db(), patience).await?
    } else {
        migrate::migrate(store.db(), patience).await?
    };
    if schema.found > schema.known {
        tracing::warn!(schema = schema.found, known = schema.known, "the schema is newer than this program, and says that it can go on");
    } else {
        tracing::info!(schema = schema.found, "the schema is up to date");
    }
    let missing = certctl_store::secrets::missing_keys(&store).await?;
    if !missing.is_empty() {
        return Err(BootError::MissingKeys { keys: missing.join(", ") });
    }
    let engine = Engine::new(store.clone(), Arc::clone(&clock), options(&config));
    seed::seed(&engine).await?;
    first_admin(&engine, &config, &data_dir).await?;

    let files = match (&config.tls.cert_file, &config.tls.key_file) {
        (Some(cert), Some(key)) => PairFiles { cert: cert.clone(), key: key.clone() },
        _ => platform_tls::ensure(&Ctx::system(&engine, "platform_tls"), &config).await?,
    };
    let tls =
        Arc::new(ReloadingTls::load(files, TlsOptions { min_version: config.tls.min_version, client_certificates: None }, clock.now())?);
    let watcher = TlsWatcher::start(Arc::clone(&tls), Arc::clone(&clock), config.tls.poll_interval)
        .map_err(|e| BootError::System { what: "certificate files cannot be watched", source: Box::new(e) })?;
    let limits = ListenerLimits {
        connections: usize::try_from(config.server.max_connections.get()).unwrap_or(usize::MAX),
        handshake: config.server.handshake_timeout,
        header: config.server.header_timeout,
        idle: config.server.idle_timeout,
        write: config.server.write_timeout,
    };
    let listener = Listener::bind(&config.server.listen, Arc::clone(&tls), limits)?;
    let scraped = Listener::bind(&config.metrics.listen, Arc::clone(&tls), ListenerLimits { connections: SCRAPERS, ..limits })?;
    let published = PlainListener::bind(&config.pki.http_listen)?;
    let http_challenges = SmallListener::bind(&config.acme.http01_listen)?;
    let tls_challenges = SmallListener::bind(&config.acme.tls_alpn01_listen)?;
    let addresses: Vec<String> = listener.addresses().iter().map(ToString::to_string).collect();
    private_file::write(&data_dir.join("addresses"), addresses.join("\n").as_bytes())?;

    let requests = Arc::new(RequestMetrics::default());
    let state = AppState::new(App {
        engine: Arc::clone(&engine),
        readiness: Arc::new(Ready::new(Arc::clone(&engine), Arc::clone(&tls))),
        requests: Arc::clone(&requests) as Arc<dyn crate::state::Requests>,
        metrics: Sources {
            requests,
            tls: Arc::clone(&tls),
            listener: listener.counters(),
            started_at: clock.now(),
            installation: Shared::default(),
            age: metrics::AGE,
        },
        version: version(),
        settings: shown_settings(&config),
        invitation: invitation(&engine, &config, &listener).await?,
        rates: RateLimiter::new(Rates {
            requests_per_second: config.limits.requests_per_second.map(std::num::NonZeroU32::get),
            burst: config.limits.burst.get(),
            failed_logins_per_minute: Some(config.limits.failed_logins_per_minute.get()),
        }),
        limits: Limits { body: config.server.max_body.as_len(), time: config.server.request_timeout },
    });
    let revocation = state.revocation().clone();
    let scrapers = routes::metrics(state.clone());
    let router = routes::router(state);

    let tasks = TaskGroup::new(shutdown.clone());
    let stop = shutdown.stop_token().clone();
    {
        let (store, stop) = (store.clone(), stop.clone());
        tasks.spawn("wake", async move { store.run_wake(stop).await });
    }
    tasks.spawn_service("job_worker", jobs::work(Arc::clone(&engine), stop.clone()));
    for task in scheduler::TASKS {
        tasks.spawn_service(task.name, scheduler::run(Arc::clone(&engine), *task, stop.clone()));
    }
    if !published.addresses().is_empty() {
        tracing::info!(addresses = ?published.addresses(), "revocation lists, OCSP and CA certificates are served over plain HTTP");
        tasks.spawn_service("published", published.serve(revocation, stop.clone()));
    }
    if !scraped.addresses().is_empty() {
        tracing::info!(addresses = ?scraped.addresses(), "metrics are served on a port of their own");
        let drain = Drain { budget: SCRAPE_DRAIN, abort: shutdown.abort_token().clone() };
        let serving = scraped.serve(scrapers, stop.clone(), drain);
        tasks.spawn_service("metrics", async move {
            let drained = serving.await;
            tracing::debug!(n_aborted = drained.aborted, "the port for scrapers is closed");
        });
    }
    if !http_challenges.addresses().is_empty() {
        tracing::info!(addresses = ?http_challenges.addresses(), "HTTP challenges are answered");
        tasks.spawn_service("http01", serve_http(http_challenges, challenges::Open::of(&engine), stop.clone()));
    }
    if !tls_challenges.addresses().is_empty() {
        tracing::info!(addresses = ?tls_challenges.addresses(), "TLS challenges are answered");
        tasks.spawn_service("tls_alpn01", serve_tls(tls_challenges, challenges::Open::of(&engine), stop.clone()));
    }
    tasks.spawn_service("tls_watcher", watcher.run(stop.clone()));
    if config.tls.cert_file.is_none() {
        tasks.spawn_service("platform_tls", platform_tls::keep(Arc::clone(&engine), config.clone(), stop.clone()));
    }
    tracing::info!(addresses = %addresses.join(", "), data_dir = %data_dir.display(), database = if store.db().is_shared() { "PostgreSQL" } else { "SQLite" }, "certctl-server is up");

    let budget = config.server.shutdown_timeout;
    let drain = Drain { budget: budget / 2, abort: shutdown.abort_token().clone() };
    let run = async {
        let serving = listener.serve(router, stop.clone(), drain);
        let waking = async {
            let reason = shutdown.requested().await;
            tracing::info!(%reason, budget_s = budget.as_secs(), "stopping");
            // Parked polls are answered at once, so that they do not hold up the drain.
            engine.stop();
            reason
        };
        let mut stages = None;
        let (drained, reason) = tokio::join!(serving, async {
            let reason = waking.await;
            stages = Some(Stages::begin(&shutdown, budget));
            reason
        });
        let mut stages = stages.unwrap_or_else(|| Stages::begin(&shutdown, budget));
        let left = stages.remaining(80);
        stages.stage("finish tasks", 80, tasks.finish(left)).await;
        stages.stage("flush", 90, engine.heartbeats().flush(&store, clock.now())).await;
        stages.stage("release leases", 95, leases::release_all(&store, engine.holder(), clock.now())).await;
        stages.stage("close database", 100, store.db().close()).await;
        let report = stages.finish();
        tracing::info!(n_aborted = drained.aborted, cut_off = ?report.cut_off, took_ms = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX), "stopped");
        reason
    };
    let reason = signals.heed_during(&shutdown, run).await;
    std::fs::remove_file(data_dir.join("addresses"))
        .or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
        .map_err(system("the address file cannot be removed"))?;
    if reason.is_failure() { Err(BootError::Failed(reason)) } else { Ok(()) }
}

/// How agents find this server: its public URL, or the first address that it listens on.
async fn invitation(engine: &Arc<Engine>, config: &Config, listener: &Listener) -> Result<Invitation, BootError> {
    let server = match (&config.server.public_url, listener.addresses().first()) {
        (Some(url), _) => url.as_url().as_str().trim_end_matches('/').to_owned(),
        (None, Some(address)) if address.ip().is_unspecified() => format!("https://{}:{}", host_name(), address.port()),
        (None, Some(address)) => format!("https://{address}"),
        (None, None) => String::new(),
    };
    let mut ca_sha256 = None;
    if config.tls.cert_file.is_none() {
        let pem = certctl_engine::platform::ca_pem(&Ctx::system(engine, "platform_tls")).await?;
        ca_sha256 = certctl_pki::certificate::Certificate::parse_pem(&pem).ok().map(|ca| ca.fingerprint().to_string());
    }
    tracing::info!(server, ca_sha256, "agents enroll with these");
    Ok(Invitation { server, ca_sha256 })
}

fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".to_owned())
}

/// Which program this is.
#[must_use]
pub fn version() -> Version {
    Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("CERTCTL_COMMIT").unwrap_or_default().to_owned(),
        modified: option_env!("CERTCTL_MODIFIED") == Some("true"),
        build_time: option_env!("CERTCTL_BUILD_TIME").unwrap_or_default().to_owned(),
        toolchain: format!("rust {}", env!("CARGO_PKG_RUST_VERSION")),
    }
}

pub(crate) async fn open_store(config: &Config) -> Result<Store, BootError> {
    prepare_sqlite(&config.database, &config.server.data_dir)?;
    let keyring = keyring(config)?;
    Ok(Store::open_within(&open_options(&config.database), keyring, config.database.start_timeout).await?)
}

pub(crate) fn open_options(database: &DatabaseSettings) -> OpenOptions {
    OpenOptions {
        url: database.url.to_url(),
        max_connections: database.max_connections.get(),
        acquire_timeout: database.acquire_timeout,
        durable: database.synchronous == Synchronous::Full,
    }
}

/// The directory of an SQLite file is made, closed to others.
fn prepare_sqlite(database: &DatabaseSettings, data_dir: &Path) -> Result<(), BootError> {
    if !database.url.is_postgres() {
        private_file::directory(data_dir)?;
    }
    Ok(())
}

/// The keys for secrets at rest: as configured, or with SQLite one that is made at the first start.
fn keyring(config: &Config) -> Result<Keyring, BootError> {
    let text = |key: &crate::config::EncryptionKey| Secret::new(STANDARD.encode(key.secret().expose()));
    let older = config.encryption.previous_keys.iter().map(text).collect();
    if let Some(key) = &config.encryption.key {
        return Ok(Keyring::from_texts(text(key), older)?);
    }
    if config.database.url.is_postgres() {
        return Err(BootError::NoEncryptionKey);
    }
    let path = config.server.data_dir.join("encryption.key");
    let kept = match private_file::read(&path)? {
        Some(kept) => kept,
        None => {
            let (_, made) = Keyring::generate()?;
            private_file::write_new(&path, made.expose().as_bytes())?;
            tracing::info!(path = %path.display(), "an encryption key was made; keep a copy of it with every backup");
            made
        }
    };
    Ok(Keyring::from_texts(Secret::new(kept.expose().trim().to_owned()), older)?)
}

/// The keys for secrets at rest, as far as there are any: none is made.
pub(crate) fn keyring_if_any(settings: &BackupOnly) -> Result<Option<Keyring>, BootError> {
    let EncryptionSettings { key, previous_keys } = &settings.encryption;
    let text = |key: &crate::config::EncryptionKey| Secret::new(STANDARD.encode(key.secret().expose()));
    let older = previous_keys.iter().map(text).collect();
    let active = match key {
        Some(key) => Some(text(key)),
        None if settings.database.url.is_postgres() => None,
        None => private_file::read(&settings.data_dir.join("encryption.key"))?.map(|kept| Secret::new(kept.expose().trim().to_owned())),
    };
    Ok(active.map(|active| Keyring::from_texts(active, older)).transpose()?)
}

/// A name for this process that no other one has.
pub(crate) fn process_name() -> String {
    format!("{}.{}.{}", host_name(), std::process::id(), SystemClock.now().unix_micros())
}

/// An error with its causes, in one line; what a cause repeats of the one above it is said once.
#[must_use]
pub fn chain(error: &BootError) -> String {
    let mut text = error.to_string();
    let mut below = std::error::Error::source(error);
    while let Some(cause) = below {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(&format!(": {said}"));
        }
        below = cause.source();
    }
    text
}

/// Makes the first administrator of a fresh installation: its key is printed once and kept where only the owner reads it.
async fn first_admin(engine: &Arc<Engine>, config: &Config, data_dir: &Path) -> Result<(), BootError> {
    if let Some(token) = &config.auth.bootstrap_token {
        auth::bootstrap::offer(engine, token.secret()).await?;
        return Ok(());
    }
    let Some(key) = auth::first_admin(engine).await? else {
        return Ok(());
    };
    let path: PathBuf = data_dir.join("first-admin-token");
    private_file::write(&path, format!("{}\n", key.expose()).as_bytes())?;
    announce(&format!(
        "\nThis is a fresh installation. The key of the first administrator, shown this once:\n\n    {}\n\nIt is kept in {} until you delete that file.\n",
        key.expose(),
        path.display()
    ));
    Ok(())
}

/// For people at the terminal, beside the log: this must not end in a log collector.
#[expect(clippy::print_stderr, reason = "shown once to whoever starts the server for the first time")]
fn announce(text: &str) {
    use std::io::IsTerminal as _;
    if std::io::stderr().is_terminal() {
        eprintln!("{text}");
    } else {
        tracing::info!("a key for the first administrator was made; it is in the file first-admin-token of the data directory");
    }
}

/// Connections of scrapers at one time.
const SCRAPERS: usize = 100;

/// How long a scrape may go on after the stop.
const SCRAPE_DRAIN: Duration = Duration::from_secs(3);

fn options(config: &Config) -> Options {
    Options {
        offline_after: duration(config.agents.offline_after),
        heartbeat_every: duration(config.agents.heartbeat_interval),
        poll_wait: config.agents.poll_wait,
        token_life: duration(config.agents.token_lifetime),
        retention: retention(&config.retention),
        worker: Worker {
            concurrency: usize::try_from(config.scheduler.job_concurrency.get()).unwrap_or(16),
            lease: duration(config.scheduler.job_lease),
            poll_every: config.scheduler.job_poll_interval,
        },
        renewal_every: config.scheduler.renewal_interval,
        csr_patience: duration(config.scheduler.csr_timeout),
        publication: publication(config),
        commands: config.acme.commands_file.clone(),
        ..Options::named(process_name())
    }
}

fn publication(config: &Config) -> certctl_engine::publication::Settings {
    let pki = &config.pki;
    let base = pki.public_url.as_ref().map(|url| url.base().clone()).or_else(|| {
        // Who opens a port for relying parties wants certificates to name it.
        let (url, listen) = (config.server.public_url.as_ref()?, pki.http_listen.first()?);
        let host = url.as_url().host_str()?;
        let port = if listen.port() == 80 { String::new() } else { format!(":{}", listen.port()) };
        Base::parse(&format!("http://{host}{port}")).ok()
    });
    certctl_engine::publication::Settings {
        base,
        crl_lifetime: duration(pki.crl_lifetime),
        crl_delay: duration(pki.crl_delay),
        crl_shard_size: i64::from(pki.crl_shard_size.get()),
        ocsp_lifetime: duration(pki.ocsp_lifetime),
    }
}

fn retention(settings: &RetentionSettings) -> RetentionPolicy {
    let days = |n: u32| time::Duration::days(if n == 0 { 36_500 } else { i64::from(n) });
    RetentionPolicy {
        audit: (settings.audit_days > 0).then(|| days(settings.audit_days)),
        jobs: days(settings.jobs_days),
        outbox: days(settings.notifications_days),
        enrollment_tokens: days(settings.credentials_days),
        ..RetentionPolicy::default()
    }
}

fn duration(of: Duration) -> time::Duration {
    time::Duration::try_from(of).unwrap_or(time::Duration::DAY)
}

fn shown_settings(config: &Config) -> BTreeMap<String, String> {
    config.to_list().into_iter().map(|setting| (setting.key.to_owned(), setting.value.to_string())).collect()
}
