//! A backup is put back: into nothing, and whole or not at all. Everything that can be refused is refused before anything is touched.

use std::path::Path;
use std::sync::Arc;

use certctl_backup::dump::{Address, Programs};
use certctl_backup::name::Engine;
use certctl_backup::seal::Identities;
use certctl_backup::{BackupError, Manifest, Place};
use certctl_connector_core::fault;
use certctl_store::backup::{self as rows, Verb};
use certctl_store::{Store, migrate};

use super::staging::{Staged, room_for};
use super::verify::{connect, fetch, read_dump, whole_file};
use super::{Began, Which, address, blocking, choose, compare, identities, note, open_copy, place, programs_for};
use crate::boot::{self, BootError};
use crate::config::{BackupOnly, DatabaseUrl};

/// Puts a backup into the database of the configuration, which must be empty.
///
/// # Errors
/// When anything speaks against it; the database is then as it was.
pub async fn restore(settings: &BackupOnly, which: &Which) -> Result<Manifest, BootError> {
    let place = place(&settings.backup).await?;
    let identities = identities(&settings.backup)?;
    let manifest = {
        let (place, which) = (Arc::clone(&place), which.clone());
        blocking(move || choose(&place, &which)).await?
    };
    let began =
        Began::now(Some(manifest.archive.clone())).with("place", place.describe()).with("created_at", manifest.created_at.to_string());
    schema_is_known(&manifest)?;
    keys_are_there(settings, &manifest)?;
    match (&settings.database.url, manifest.engine) {
        (DatabaseUrl::Sqlite { path }, Engine::Sqlite) => into_file(path, (&place, identities), &manifest, began).await?,
        (DatabaseUrl::Postgres { .. }, Engine::Postgres) => into_server(settings, (&place, identities), &manifest, began).await?,
        (_, engine) => {
            return Err(BackupError::new(format!("{} is a backup of {}, and the database is another", manifest.archive, engine.as_str()))
                .hint("set CERTCTL_DATABASE_URL to the kind of database that the backup is of")
                .into());
        }
    }
    Ok(manifest)
}

async fn into_file(
    path: &Path,
    (place, identities): (&Arc<Place>, Identities),
    manifest: &Manifest,
    began: Began,
) -> Result<(), BootError> {
    file_is_free(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.exists() {
        crate::private_file::directory(folder)?;
    }
    room_for(folder, manifest.content_bytes)?;
    let mut beside = path.to_owned().into_os_string();
    beside.push(".restoring");
    let staged = Arc::new(Staged::at(beside.into())?);
    fetch(place, manifest, identities, Arc::clone(&staged)).await?;
    fault::point("restore.fetched");
    let copy = open_copy(staged.path()).await?;
    let checked = whole_file(&copy, manifest).await;
    if checked.is_ok() {
        note(&copy, Verb::Restore, began, Ok(manifest)).await;
    }
    copy.db().close().await;
    checked?;
    // It took a while: somebody may have made one meanwhile.
    file_is_free(path)?;
    let staged = Arc::into_inner(staged).ok_or_else(|| BackupError::new("the restored file is still in use"))?;
    staged.rename(path)?;
    fault::point("restore.named");
    Ok(())
}

async fn into_server(
    settings: &BackupOnly,
    (place, identities): (&Arc<Place>, Identities),
    manifest: &Manifest,
    began: Began,
) -> Result<(), BootError> {
    let DatabaseUrl::Postgres { url } = &settings.database.url else { return Ok(()) };
    let server = connect(url).await?;
    database_is_empty(&server).await?;
    let programs = programs_for(&settings.backup, &rows::server_version(server.db()).await?)?;
    // All of it is read before any of it is written.
    read_dump(settings, place, manifest, identities.clone()).await?;
    database_is_empty(&server).await?;
    pour(place, manifest, identities, (programs, address(settings)?)).await?;
    fault::point("restore.committed");
    compare(manifest, &rows::count_rows(server.db()).await?)?;
    note(&server, Verb::Restore, began, Ok(manifest)).await;
    server.db().close().await;
    Ok(())
}

/// Puts a dump into an empty database in one transaction. The last part is kept back until the whole archive has turned out to be what
/// its manifest says: without it nothing is committed.
pub(super) async fn pour(
    place: &Arc<Place>,
    manifest: &Manifest,
    identities: Identities,
    (programs, to): (Programs, Address),
) -> Result<(), BackupError> {
    let (place, manifest) = (Arc::clone(place), manifest.clone());
    blocking(move || {
        let mut restoring = programs.restore(&to)?;
        let mut kept_back: Vec<u8> = Vec::new();
        place.read(&manifest, &identities, |bytes| {
            restoring.take(&kept_back)?;
            kept_back.clear();
            kept_back.extend_from_slice(bytes);
            fault::point("restore.pouring");
            Ok(())
        })?;
        restoring.take(&kept_back)?;
        restoring.end()
    })
    .await
}

fn schema_is_known(manifest: &Manifest) -> Result<(), BackupError> {
    let known = migrate::known();
    if manifest.schema <= known {
        return Ok(());
    }
    let newer = format!("{} has the schema {}, newer than the {known} that this program knows", manifest.archive, manifest.schema);
    Err(BackupError::new(newer).hint(format!(
        "restore with a release that knows migration {}; certctl-server {} made the backup, perhaps on the schema of a newer one",
        manifest.schema, manifest.program
    )))
}

/// Every key that seals a secret in the backup must be at hand; the secrets were lost otherwise.
fn keys_are_there(settings: &BackupOnly, manifest: &Manifest) -> Result<(), BootError> {
    let needed: Vec<&str> = manifest.encryption_keys.iter().filter(|(_, n)| **n > 0).map(|(key, _)| key.as_str()).collect();
    if needed.is_empty() {
        return Ok(());
    }
    let keyring = boot::keyring_if_any(settings)?;
    let missing: Vec<&str> = needed.into_iter().filter(|key| !keyring.as_ref().is_some_and(|keyring| keyring.has(key))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let given = keyring.map_or("none is given".to_owned(), |keyring| format!("the one that is given is {}", keyring.active_id()));
    let what = format!("the secrets in {} are sealed under the encryption key {}, and {given}", manifest.archive, missing.join(", "));
    Err(BackupError::new(what)
        .hint("give that key as CERTCTL_ENCRYPTION_KEY_FILE, further ones as CERTCTL_ENCRYPTION_PREVIOUS_KEYS; with SQLite it may be the file encryption.key in the data directory")
        .into())
}

fn file_is_free(path: &Path) -> Result<(), BackupError> {
    for end in ["", "-wal"] {
        let mut file = path.to_owned().into_os_string();
        file.push(end);
        if std::fs::metadata(&file).is_ok_and(|found| found.len() > 0) {
            return Err(not_empty(&format!("there is a database at {}", path.display())));
        }
    }
    Ok(())
}

async fn database_is_empty(server: &Store) -> Result<(), BootError> {
    if rows::is_empty(server.db()).await? { Ok(()) } else { Err(not_empty("the database is not empty").into()) }
}

fn not_empty(what: &str) -> BackupError {
    BackupError::new(format!("{what}, and a backup is put into an empty one alone"))
        .hint("stop every server, move the old database aside or make a new one, and restore into that")
}
