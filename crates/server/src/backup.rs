//! `certctl-server backup`: what ties the database, the place where backups are kept and PostgreSQL's programs together.

mod create;
mod prune;
mod restore;
mod show;
mod staging;
mod verify;

use std::sync::Arc;
use std::time::{Duration, Instant};

use certctl_backup::dump::{Address, Programs};
use certctl_backup::place::directory::Directory;
use certctl_backup::place::s3::{Credentials, S3, ServerSide, Settings, Style};
use certctl_backup::seal::{Identities, Recipient};
use certctl_backup::{ArchiveName, BackupError, Manifest, Place};
use certctl_domain::time::Timestamp;
use certctl_engine::clock::{Clock as _, SystemClock};
use certctl_store::backup::{self as rows, Done, Verb};
use certctl_store::leases::{self, Candidate, Lease};
use certctl_store::secrets::Keyring;
use certctl_store::{OpenOptions, Store, migrate};
use tokio::task::JoinSet;

use crate::boot::{self, BootError};
use crate::config::{BackupOnly, BackupSettings, BucketEncryption, DatabaseUrl};

pub use self::create::create;
pub use self::prune::{Mode, Pruned, prune};
pub use self::restore::restore;
pub use self::show::{created_text, list_json, list_text, pruned_json, pruned_text, restored_text, verified_text};
pub use self::verify::{Scratch, Verified, Verify, verify};

/// Which archive is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The newest that looks whole.
    Latest,
    /// This one.
    Named(String),
}

impl Which {
    /// `latest`, or a name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text == "latest" { Self::Latest } else { Self::Named(text.to_owned()) }
    }
}

/// What lies in the place, of every installation.
///
/// # Errors
/// When no place is set, or it cannot be read.
pub async fn list(settings: &BackupOnly) -> Result<(String, Vec<certctl_backup::place::Found>), BootError> {
    let place = place(&settings.backup).await?;
    Ok(blocking(move || Ok((place.describe(), place.archives(None)?))).await?)
}

/// The place that is set.
async fn place(settings: &BackupSettings) -> Result<Arc<Place>, BackupError> {
    let (settings, runtime) = (settings.clone(), tokio::runtime::Handle::current());
    blocking(move || {
        let place = match (&settings.directory, &settings.s3_bucket) {
            (Some(path), _) => Place::Directory(Directory::open_at(path)?),
            (None, Some(_)) => Place::S3(S3::new(&s3(&settings)?, runtime)?),
            (None, None) => {
                return Err(BackupError::new("no place for backups is set")
                    .hint("set CERTCTL_BACKUP_DIRECTORY, or CERTCTL_BACKUP_S3_BUCKET; see `certctl-server config reference`, [backup]"));
            }
        };
        Ok(Arc::new(place))
    })
    .await
}

fn s3(settings: &BackupSettings) -> Result<Settings, BackupError> {
    let credentials =
        match (&settings.s3_access_key_id, &settings.s3_secret_access_key, &settings.s3_role_arn, &settings.s3_web_identity_token_file) {
            (Some(id), Some(secret), ..) => Credentials::Static {
                key_id: id.as_str().to_owned(),
                secret: secret.clone(),
                session_token: settings.s3_session_token.clone(),
            },
            (_, _, Some(role), Some(file)) => Credentials::WebIdentity {
                role_arn: role.as_str().to_owned(),
                token_file: file.display().to_string(),
                sts: settings.s3_sts_endpoint.as_ref().map(|url| url.as_url().clone()),
            },
            _ => Credentials::Instance,
        };
    let ca_pem = settings.s3_ca_file.as_ref().map(|path| {
        std::fs::read_to_string(path)
            .map_err(|e| BackupError::new(format!("backup.s3_ca_file {} cannot be read", path.display())).because(e))
    });
    let in_path = settings.s3_path_style.unwrap_or(settings.s3_endpoint.is_some());
    Ok(Settings {
        bucket: settings.s3_bucket.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default(),
        prefix: settings.s3_prefix.as_ref().map(|prefix| prefix.as_str().to_owned()).unwrap_or_default(),
        endpoint: settings.s3_endpoint.as_ref().map(|url| url.as_url().clone()),
        region: settings.s3_region.as_str().to_owned(),
        style: if in_path { Style::Path } else { Style::VirtualHost },
        ca_pem: ca_pem.transpose()?,
        credentials,
        encryption: match settings.s3_encryption {
            None => ServerSide::AsTheBucket,
            Some(BucketEncryption::Aes256) => ServerSide::Aes256,
            Some(BucketEncryption::Kms) => ServerSide::Kms(settings.s3_kms_key_id.as_ref().map(|key| key.as_str().to_owned())),
        },
    })
}

/// The keys that open archives; none when none is given.
fn identities(settings: &BackupSettings) -> Result<Identities, BackupError> {
    settings.identity.as_ref().map_or_else(|| Ok(Identities::default()), Identities::parse)
}

fn recipients(settings: &BackupSettings) -> Vec<Recipient> {
    settings.recipients.iter().map(|one| one.as_recipient().clone()).collect()
}

/// Opens the database that is there. No secret in it is read: any keyring will do.
async fn open_store(settings: &BackupOnly) -> Result<Store, BootError> {
    if let DatabaseUrl::Sqlite { path } = &settings.database.url
        && !path.is_file()
    {
        let absent = BackupError::new(format!("there is no database at {}", path.display()));
        return Err(absent.hint("name it as CERTCTL_DATABASE_URL, or its directory as CERTCTL_SERVER_DATA_DIR").into());
    }
    let (keyring, _) = Keyring::generate()?;
    let store = Store::open(&boot::open_options(&settings.database), keyring).await?;
    migrate::check(store.db()).await?;
    Ok(store)
}

/// Opens a database file that belongs to this run alone.
async fn open_copy(path: &std::path::Path) -> Result<Store, BootError> {
    let (keyring, _) = Keyring::generate()?;
    let url = DatabaseUrl::sqlite(path).to_url();
    let options = OpenOptions { url, max_connections: 2, acquire_timeout: Duration::from_secs(10), durable: true };
    Ok(Store::open(&options, keyring).await?)
}

/// The one archive that is meant, among those of one installation.
fn choose(place: &Place, which: &Which) -> Result<Manifest, BackupError> {
    match which {
        Which::Named(text) => {
            let name = ArchiveName::parse(text).ok_or_else(|| {
                BackupError::new(format!("`{text}` is no name of a backup")).hint("`certctl-server backup list` shows the names")
            })?;
            place.manifest(&name)
        }
        Which::Latest => {
            let all = place.archives(None)?;
            let whole: Vec<&Manifest> = all.iter().filter_map(certctl_backup::place::Found::manifest).collect();
            if let Some(ahead) = whole.iter().find(|one| one.created_at > now().saturating_add(time::Duration::HOUR)) {
                return Err(BackupError::new(format!("{} is dated after now, so which one is the latest is doubtful", ahead.archive))
                    .hint("name the one that is meant; look at the clock, and remove that one if its date is wrong"));
            }
            let first = whole.first().ok_or_else(|| BackupError::new(format!("there is no whole backup in {}", place.describe())))?;
            if let Some(other) = whole.iter().find(|one| one.installation != first.installation) {
                let two = format!(
                    "{} has backups of more than one installation: {} and {}",
                    place.describe(),
                    first.installation,
                    other.installation
                );
                return Err(BackupError::new(two).hint("name the one that is meant; `certctl-server backup list` shows the names"));
            }
            Ok((*first).clone())
        }
    }
}

/// Compares what was found with what the manifest says.
fn compare(manifest: &Manifest, found: &std::collections::BTreeMap<String, i64>) -> Result<(), BackupError> {
    if manifest.tables == *found {
        return Ok(());
    }
    let rows =
        |tables: &std::collections::BTreeMap<String, i64>, name: &str| tables.get(name).map_or("none".to_owned(), ToString::to_string);
    let names: std::collections::BTreeSet<&String> = manifest.tables.keys().chain(found.keys()).collect();
    let differ = names.into_iter().find(|name| manifest.tables.get(*name) != found.get(*name)).map_or("", String::as_str);
    let (wanted, is) = (rows(&manifest.tables, differ), rows(found, differ));
    Err(BackupError::new(format!("{} is not what its manifest says: table {differ} has {is} rows instead of {wanted}", manifest.archive)))
}

fn programs_for(settings: &BackupSettings, server: &str) -> Result<Programs, BackupError> {
    let major = server.parse().map_err(|_| BackupError::new(format!("the server's version `{server}` is not understood")))?;
    Programs::find(settings.postgres_bin.as_deref(), major)
}

fn address(settings: &BackupOnly) -> Result<Address, BackupError> {
    Address::new(&settings.database.url.to_url())
}

/// The right to work on backups, of one process at a time in the whole installation.
struct Lock {
    store: Store,
    lease: Lease,
    _renewing: JoinSet<()>,
}

impl Lock {
    /// Takes it, waiting for up to `wait` for another run to end.
    async fn take(store: &Store, wait: Duration) -> Result<Self, BootError> {
        let holder = boot::process_name();
        let began = Instant::now();
        loop {
            if let Some(lease) = leases::acquire_or_renew(store, LEASE, candidate(&holder)).await? {
                let mut renewing = JoinSet::new();
                renewing.spawn(renew(store.clone(), holder));
                return Ok(Self { store: store.clone(), lease, _renewing: renewing });
            }
            if began.elapsed() >= wait {
                let held = leases::get(store.db(), LEASE).await?;
                let by = held.as_ref().and_then(|row| row.holder.clone()).unwrap_or_else(|| "another process".to_owned());
                let until = held.map(|row| row.expires_at.to_string()).unwrap_or_default();
                return Err(BackupError::new(format!("another run works on backups: {by}, which gives a sign of life before {until}"))
                    .hint("wait for it with --wait 10m; of one that was killed, the right ends a few seconds later")
                    .into());
            }
            tokio::time::sleep(POLL.min(wait.saturating_sub(began.elapsed()))).await;
        }
    }

    /// Gives it back. Where that fails it ends by itself a few seconds later.
    async fn release(self) {
        let Self { store, lease, mut _renewing } = self;
        _renewing.shutdown().await;
        if let Err(error) = leases::release(&store, &lease, SystemClock.now()).await {
            tracing::warn!(error = boot::chain(&error.into()), "the lease for backups could not be given back");
        }
    }
}

async fn renew(store: Store, holder: String) {
    loop {
        tokio::time::sleep(TTL / 4).await;
        if let Err(error) = leases::acquire_or_renew(&store, LEASE, candidate(&holder)).await {
            tracing::warn!(%error, "the lease for backups could not be renewed");
        }
    }
}

fn candidate(holder: &str) -> Candidate<'_> {
    Candidate { holder, now: SystemClock.now(), ttl: time::Duration::try_from(TTL).unwrap_or(time::Duration::MINUTE) }
}

/// Notes what became of a run. That it cannot be noted is told, and changes nothing about the run.
async fn note(store: &Store, verb: Verb, began: Began, outcome: Result<&Manifest, &BootError>) {
    let said = outcome.err().map(boot::chain);
    let (archive, outcome) = match (outcome, &said) {
        (Ok(manifest), _) => (Some(manifest.archive.as_str()), Ok(manifest.size_bytes)),
        (Err(_), said) => (began.archive.as_deref(), Err(said.as_deref().unwrap_or_default())),
    };
    let done = Done { verb, archive, took: began.at.elapsed(), outcome, details: began.details };
    if let Err(error) = rows::record(store, &done, SystemClock.now()).await {
        tracing::error!(
            error = boot::chain(&error.into()),
            verb = verb.as_str(),
            "what became of the run could not be noted in the database"
        );
    }
}

/// A run that began.
struct Began {
    at: Instant,
    archive: Option<String>,
    details: serde_json::Map<String, serde_json::Value>,
}

impl Began {
    fn now(archive: Option<String>) -> Self {
        Self { at: Instant::now(), archive, details: serde_json::Map::new() }
    }

    fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

/// Runs what blocks where that harms nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, BackupError> + Send + 'static) -> Result<T, BackupError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| BackupError::new("the run broke off").because(e))?
}

fn now() -> Timestamp {
    SystemClock.now()
}

const LEASE: &str = "backup";
const TTL: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_secs(1);
