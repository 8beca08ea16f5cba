//! A backup is read from one end to the other, and if asked for put into a database of its own, where its content is looked at.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use certctl_backup::dump::{Address, Programs};
use certctl_backup::name::Engine;
use certctl_backup::seal::Identities;
use certctl_backup::{BackupError, Manifest, Place};
use certctl_domain::secret::Secret;
use certctl_store::audit;
use certctl_store::backup::{self as rows, Verb};
use certctl_store::secrets::Keyring;
use certctl_store::{OpenOptions, Store, migrate};

use super::restore::pour;
use super::staging::Staged;
use super::{Began, Which, blocking, choose, compare, identities, note, open_copy, open_store, place, programs_for};
use crate::boot::BootError;
use crate::config::{BackupOnly, DatabaseUrl};

/// What to verify, and how far.
#[derive(Debug, Clone)]
pub struct Verify {
    /// Which archive.
    pub which: Which,
    /// Whether to put it into a scratch database.
    pub scratch: Scratch,
}

/// Whether to put the archive into a scratch database.
#[derive(Debug, Clone)]
pub enum Scratch {
    /// No.
    No,
    /// Into one that is made for this and dropped again: a file, or a database beside the server's own.
    Own,
    /// Into this empty PostgreSQL database, which is left as it is then.
    Given(Secret<String>),
}

impl Scratch {
    /// The database whose URL stands in a file, where it is not seen by everybody who lists processes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn from_file(path: &std::path::Path) -> Result<Self, BootError> {
        let text = crate::private_file::read(path)?;
        let text = text.ok_or_else(|| BackupError::new(format!("there is no file {}", path.display())))?;
        Ok(Self::Given(Secret::new(text.expose().trim().to_owned())))
    }
}

/// What was found; everything held.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The archive.
    pub manifest: Manifest,
    /// What the scratch database showed.
    pub restored: Option<Restored>,
}

/// What a scratch database showed.
#[derive(Debug, Clone)]
pub struct Restored {
    /// Events of the audit chain that were checked; it holds.
    pub audit_events: i64,
    /// The schema after migrations of this program ran on it.
    pub schema: i64,
}

/// Verifies a backup. The result is noted in the database, where there is one that can be used.
///
/// # Errors
/// When it is not what its manifest says, or cannot be put into a database.
pub async fn verify(settings: &BackupOnly, what: &Verify) -> Result<Verified, BootError> {
    let began = Began::now(None).with("into_scratch", !matches!(what.scratch, Scratch::No));
    let place = place(&settings.backup).await?;
    let verified = look(settings, what, &place).await;
    match open_store(settings).await {
        Ok(store) => {
            note(&store, Verb::Verify, began.with("place", place.describe()), verified.as_ref().map(|verified| &verified.manifest)).await;
            store.db().close().await;
        }
        Err(error) => tracing::warn!(error = crate::boot::chain(&error), "the result is not noted: the database cannot be used"),
    }
    verified
}

async fn look(settings: &BackupOnly, what: &Verify, place: &Arc<Place>) -> Result<Verified, BootError> {
    let identities = identities(&settings.backup)?;
    let manifest = {
        let (place, which) = (Arc::clone(place), what.which.clone());
        blocking(move || choose(&place, &which)).await?
    };
    let restored = match manifest.engine {
        Engine::Sqlite => {
            let name = format!("certctl-verify-{}.sqlite", std::process::id());
            let staged = Arc::new(Staged::in_directory(settings, &name, manifest.content_bytes)?);
            fetch(place, &manifest, identities, Arc::clone(&staged)).await?;
            let copy = open_copy(staged.path()).await?;
            let restored = inspect_file(&copy, &manifest, &what.scratch).await;
            copy.db().close().await;
            restored?
        }
        Engine::Postgres => {
            read_dump(settings, place, &manifest, identities.clone()).await?;
            match &what.scratch {
                Scratch::No => None,
                Scratch::Given(url) => Some(into_database(settings, place, &manifest, (identities, url)).await?),
                Scratch::Own => Some(into_own_database(settings, place, &manifest, identities).await?),
            }
        }
    };
    Ok(Verified { manifest, restored })
}

/// Decrypts an archive into a file, and compares it with the manifest.
pub(super) async fn fetch(place: &Arc<Place>, manifest: &Manifest, identities: Identities, staged: Arc<Staged>) -> Result<(), BackupError> {
    let (place, manifest) = (Arc::clone(place), manifest.clone());
    blocking(move || {
        let mut file = staged.create()?;
        let failed = |e| BackupError::from_io(&format!("{} cannot be written", staged.path().display()), e);
        place.read(&manifest, &identities, |bytes| file.write_all(bytes).map_err(failed))?;
        file.sync_all().map_err(failed)
    })
    .await
}

/// Has `pg_restore` read every row of a dump, and compares their number with the manifest.
pub(super) async fn read_dump(
    settings: &BackupOnly,
    place: &Arc<Place>,
    manifest: &Manifest,
    identities: Identities,
) -> Result<(), BackupError> {
    let (place, manifest, folder) = (Arc::clone(place), manifest.clone(), settings.backup.postgres_bin.clone());
    blocking(move || {
        let mut reading = Programs::newest(folder.as_deref())?.read()?;
        place.read(&manifest, &identities, |bytes| reading.take(bytes))?;
        compare(&manifest, &reading.end()?)
    })
    .await
}

async fn inspect_file(copy: &Store, manifest: &Manifest, scratch: &Scratch) -> Result<Option<Restored>, BootError> {
    whole_file(copy, manifest).await?;
    match scratch {
        Scratch::No => Ok(None),
        Scratch::Own => Ok(Some(inspect(copy).await?)),
        Scratch::Given(_) => Err(BackupError::new("the backup is of SQLite, which needs no scratch database to be given")
            .hint("leave --scratch-database out")
            .into()),
    }
}

/// Whether an SQLite file is undamaged and has the rows of the manifest.
pub(super) async fn whole_file(copy: &Store, manifest: &Manifest) -> Result<(), BootError> {
    if let Some(damage) = rows::damage(copy.db()).await? {
        return Err(BackupError::new(format!("{} holds a damaged database: {damage}", manifest.archive)).into());
    }
    Ok(compare(manifest, &rows::count_rows(copy.db()).await?)?)
}

async fn into_own_database(
    settings: &BackupOnly,
    place: &Arc<Place>,
    manifest: &Manifest,
    identities: Identities,
) -> Result<Restored, BootError> {
    let DatabaseUrl::Postgres { url } = &settings.database.url else {
        return Err(BackupError::new("the backup is of PostgreSQL, and this installation has none to make a scratch database in")
            .hint("give an empty one with --scratch-database")
            .into());
    };
    let name = format!("certctl_scratch_{}_{}", std::process::id(), super::now().unix_seconds());
    let scratch = Address::of_database(url, &name)?;
    let server = connect(url).await?;
    rows::create_scratch(server.db(), &name).await.map_err(|e| {
        BackupError::new("no scratch database can be made beside the server's own")
            .hint("give the role CREATEDB, or give an empty database with --scratch-database")
            .because(e)
    })?;
    let restored = into_database(settings, place, manifest, (identities, &scratch)).await;
    let dropped = rows::drop_scratch(server.db(), &name).await;
    server.db().close().await;
    let restored = restored?;
    dropped?;
    Ok(restored)
}

async fn into_database(
    settings: &BackupOnly,
    place: &Arc<Place>,
    manifest: &Manifest,
    (identities, url): (Identities, &Secret<String>),
) -> Result<Restored, BootError> {
    let scratch = connect(url).await?;
    let restored = async {
        if !rows::is_empty(scratch.db()).await? {
            return Err(BackupError::new("the scratch database is not empty").hint("give one in which nothing was ever made").into());
        }
        let programs = programs_for(&settings.backup, &rows::server_version(scratch.db()).await?)?;
        pour(place, manifest, identities, (programs, Address::new(url)?)).await?;
        compare(manifest, &rows::count_rows(scratch.db()).await?)?;
        inspect(&scratch).await
    }
    .await;
    scratch.db().close().await;
    restored
}

/// What shows that a restored database can be worked with: its audit chain holds, and this program's migrations run on it.
async fn inspect(scratch: &Store) -> Result<Restored, BootError> {
    let report = audit::verify(scratch.db(), &audit::Verify::default(), |_| {}).await?;
    if let Some(broken) = &report.first_break {
        return Err(BackupError::new(format!("the audit chain in the backup does not hold: {broken}")).into());
    }
    let schema = migrate::migrate(scratch.db(), migrate::Patience::default()).await?;
    Ok(Restored { audit_events: report.checked, schema: schema.found })
}

pub(super) async fn connect(url: &Secret<String>) -> Result<Store, BootError> {
    let (keyring, _) = Keyring::generate()?;
    let options = OpenOptions { url: url.clone(), max_connections: 2, acquire_timeout: Duration::from_secs(10), durable: true };
    Ok(Store::open(&options, keyring).await?)
}
