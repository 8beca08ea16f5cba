//! A backup is made: at one moment, streamed, checked on its way, and named when it is whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use certctl_backup::dump::{Address, Programs};
use certctl_backup::name::Engine;
use certctl_backup::place::Upload;
use certctl_backup::seal::{Recipient, Sealing};
use certctl_backup::stream::{CHUNK, Measured};
use certctl_backup::{ArchiveName, BackupError, Manifest, Place};
use certctl_connector_core::fault;
use certctl_domain::time::Timestamp;
use certctl_store::Store;
use certctl_store::backup::{self as rows, Content, Snapshot, Verb};

use super::staging::Staged;
use super::{Began, Lock, address, blocking, compare, note, now, open_copy, open_store, place, programs_for, recipients};
use crate::boot::BootError;
use crate::config::{BackupOnly, DatabaseUrl};

/// Makes a backup and gives its manifest. Waits for up to `wait` while another run works on backups.
///
/// # Errors
/// When it could not be made; then nothing that looks like one is left.
pub async fn create(settings: &BackupOnly, wait: Duration) -> Result<Manifest, BootError> {
    let store = open_store(settings).await?;
    let lock = Lock::take(&store, wait).await?;
    let began = Began::now(None);
    let made = make(settings, &store).await;
    let began = match &made {
        Ok((place, manifest)) => began.with("place", place.describe()).with("sha256", manifest.sha256.clone()),
        Err(_) => began,
    };
    let made = made.map(|(_, manifest)| manifest);
    note(&store, Verb::Create, began, made.as_ref()).await;
    lock.release().await;
    store.db().close().await;
    made
}

async fn make(settings: &BackupOnly, store: &Store) -> Result<(Arc<Place>, Manifest), BootError> {
    let place = place(&settings.backup).await?;
    let created_at = now();
    let installation = rows::installation(store, created_at).await?;
    let recipients = recipients(&settings.backup);
    let swept = {
        let (place, installation) = (Arc::clone(&place), installation.clone());
        blocking(move || place.sweep(&installation)).await?
    };
    if swept > 0 {
        tracing::info!(swept, "what a killed backup left was removed");
    }
    let engine = if settings.database.url.is_postgres() { Engine::Postgres } else { Engine::Sqlite };
    let name = ArchiveName::new(&installation, engine, created_at, (!recipients.is_empty()).then_some("age"));
    let draft = Draft { place: Arc::clone(&place), name, installation, engine, created_at, recipients };
    let manifest = match &settings.database.url {
        DatabaseUrl::Sqlite { .. } => of_sqlite(settings, store, draft).await?,
        DatabaseUrl::Postgres { .. } => of_postgres(settings, store, draft).await?,
    };
    Ok((place, manifest))
}

/// A backup that is being made.
struct Draft {
    place: Arc<Place>,
    name: ArchiveName,
    installation: String,
    engine: Engine,
    created_at: Timestamp,
    recipients: Vec<Recipient>,
}

async fn of_sqlite(settings: &BackupOnly, store: &Store, draft: Draft) -> Result<Manifest, BootError> {
    let size = rows::copy_size(store.db()).await?;
    let staged = Staged::in_directory(settings, &format!("certctl-backup-{}.sqlite", draft.installation), size)?;
    let tool = rows::server_version(store.db()).await?;
    rows::copy(store.db(), staged.path()).await?;
    fault::point("backup.staged");
    let copy = open_copy(staged.path()).await?;
    let damage = rows::damage(copy.db()).await?;
    let content = rows::look(copy.db()).await?;
    copy.db().close().await;
    if let Some(damage) = damage {
        return Err(BackupError::new(format!("the database is damaged, and is not backed up: {damage}"))
            .hint("restore the last good backup; keep the damaged file")
            .into());
    }
    Ok(blocking(move || draft.write(&Source::File(&staged), content, tool)).await?)
}

async fn of_postgres(settings: &BackupOnly, store: &Store, draft: Draft) -> Result<Manifest, BootError> {
    let programs = programs_for(&settings.backup, &rows::server_version(store.db()).await?)?;
    let address = address(settings)?;
    let mut snapshot = Snapshot::take(store.db()).await?;
    let content = snapshot.look().await?;
    let (id, tool) = (snapshot.id().to_owned(), programs.version().to_owned());
    let manifest = blocking(move || draft.write(&Source::Server { programs, address, snapshot: id }, content, tool)).await;
    snapshot.end().await?;
    Ok(manifest?)
}

/// Where the content comes from.
enum Source<'a> {
    /// A copy of an SQLite database.
    File(&'a Staged),
    /// A PostgreSQL server at the moment of a snapshot.
    Server { programs: Programs, address: Address, snapshot: String },
}

impl Draft {
    /// Writes archive and manifest, and reads the archive once more.
    fn write(self, source: &Source<'_>, content: Content, tool: String) -> Result<Manifest, BackupError> {
        let upload = self.place.create(self.name.as_str())?;
        let mut sealing = Sealing::new(&self.recipients, Measured::new(upload))?;
        let mut manifest = Manifest {
            format: Manifest::FORMAT,
            archive: self.name.as_str().to_owned(),
            installation: self.installation,
            engine: self.engine,
            created_at: self.created_at,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            tool,
            schema: content.schema,
            size_bytes: 0,
            sha256: String::new(),
            content_bytes: 0,
            recipients: self.recipients.iter().map(ToString::to_string).collect(),
            encryption_keys: content.keys,
            tables: content.tables,
        };
        manifest.content_bytes = match source {
            Source::File(staged) => pour_file(staged.path(), &mut sealing)?,
            Source::Server { programs, address, snapshot } => {
                let (bytes, tables) = pour_dump(programs, address, snapshot, &mut sealing)?;
                compare(&manifest, &tables)?;
                bytes
            }
        };
        let (upload, measure) = sealing.end()?.end();
        manifest.size_bytes = measure.bytes;
        manifest.sha256 = measure.sha256;
        upload.finish()?;
        let described = self.place.put(&self.name.manifest(), &manifest.to_json()?);
        // What lies there is what counts: a disk or a network may have changed it.
        if let Err(error) = described.and_then(|()| self.place.check(&manifest)) {
            for name in [self.name.manifest(), manifest.archive] {
                if let Err(error) = self.place.remove(&name) {
                    tracing::error!(name, error = error.chain(), "what is not a good backup could not be removed");
                }
            }
            return Err(error);
        }
        Ok(manifest)
    }
}

fn pour_file(path: &Path, into: &mut Sealing<Measured<Box<dyn Upload>>>) -> Result<u64, BackupError> {
    let failed = |e| BackupError::from_io(&format!("{} cannot be read", path.display()), e);
    let mut file = File::open(path).map_err(failed)?;
    let mut buffer = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        let length = file.read(&mut buffer).map_err(failed)?;
        let Some(read) = buffer.get(..length).filter(|read| !read.is_empty()) else { return Ok(bytes) };
        write(into, read)?;
        bytes += read.len() as u64;
        fault::point("backup.writing");
    }
}

/// What `pg_dump` writes goes into the archive, and at the same time to `pg_restore`, which reads every row of it.
fn pour_dump(
    programs: &Programs,
    address: &Address,
    snapshot: &str,
    into: &mut Sealing<Measured<Box<dyn Upload>>>,
) -> Result<(u64, BTreeMap<String, i64>), BackupError> {
    let mut dump = programs.dump(address, snapshot)?;
    let mut reading = programs.read()?;
    let mut buffer = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        let length = dump.read(&mut buffer).map_err(|e| BackupError::from_io("the dump cannot be read", e))?;
        let Some(read) = buffer.get(..length).filter(|read| !read.is_empty()) else { break };
        write(into, read)?;
        bytes += read.len() as u64;
        fault::point("backup.writing");
        reading.take(read)?;
    }
    dump.end()?;
    Ok((bytes, reading.end()?))
}

fn write(into: &mut Sealing<Measured<Box<dyn Upload>>>, bytes: &[u8]) -> Result<(), BackupError> {
    into.write_all(bytes).map_err(|e| BackupError::from_io("the backup cannot be written", e))
}
