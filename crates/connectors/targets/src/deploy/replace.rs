//! Puts new files in the place of old ones, and back. Each can be called again after it was cut short.

use std::io::Read as _;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::files::{Destination, Directory, MAX_FILE, explain, sha256_hex};

use zeroize::Zeroizing;

use super::journal::{FileRecord, OldFile};
use super::prepare::same_owner_and_mode;
use super::stage::changed;
use super::state::TargetState;

/// The file's place, which must not have become a link to another since it was examined.
pub(super) fn same_place(file: &FileRecord) -> Result<Destination, ConnectorError> {
    let destination = Destination::resolve(&file.real)?;
    if destination.path() == file.real { Ok(destination) } else { Err(changed(file)) }
}

/// Renames the staged file over the old one, which must still be the one that was backed up.
pub(super) fn swap_in(file: &FileRecord) -> Result<(), ConnectorError> {
    let destination = same_place(file)?;
    let now = destination.existing();
    if now.is_some_and(|now| now.sha256 == file.new_sha256 && same_owner_and_mode(&now.attributes, &file.new_attributes)) {
        return destination.directory().remove(&file.temporary);
    }
    if now.map(|now| &now.sha256) != file.old.as_ref().map(|old| &old.sha256) {
        return Err(changed(file));
    }
    if destination.staged_sha256(&file.temporary)?.as_ref() != Some(&file.new_sha256) {
        return Err(ConnectorError::transient(format!("the staged form of {} is gone or damaged", file.real.display())));
    }
    destination.swap_in(&file.temporary)
}

/// Makes a swapped or restored file durable.
pub(super) fn settle(file: &FileRecord) -> Result<(), ConnectorError> {
    same_place(file)?.directory().sync()
}

/// Writes the old content beside the file that is to go, where there is such a file. Nothing has changed after an error.
pub(super) fn lay_ready(state: &TargetState, backup: &str, file: &FileRecord) -> Result<(), ConnectorError> {
    let destination = same_place(file)?;
    match (back(file, &destination), &file.old) {
        (Back::Rename, Some(old)) => {
            let bytes = kept(state, backup, file, old)?;
            destination.stage(&file.temporary, &bytes, &old.attributes)
        }
        _ => Ok(()),
    }
}

/// Puts the old file back, or removes the new one where there was none. What a third party wrote since is left alone.
pub(super) fn restore(file: &FileRecord) -> Result<(), ConnectorError> {
    let destination = same_place(file)?;
    match back(file, &destination) {
        Back::Done => destination.directory().remove(&file.temporary),
        Back::Remove => destination.remove(),
        Back::Rename => destination.swap_in(&file.temporary),
        Back::Foreign => {
            destination.directory().remove(&file.temporary)?;
            Err(ConnectorError::permanent(format!(
                "{} was changed by another program after the new file had been put there; it was left as it is",
                file.real.display()
            )))
        }
    }
}

/// How a file gets back to what it was.
enum Back {
    Done,
    Remove,
    Rename,
    Foreign,
}

fn back(file: &FileRecord, destination: &Destination) -> Back {
    if file.unchanged {
        return Back::Done;
    }
    let ours = destination.existing().is_some_and(|now| now.sha256 == file.new_sha256);
    match (&file.old, destination.existing()) {
        (Some(old), Some(now)) if now.sha256 == old.sha256 && same_owner_and_mode(&now.attributes, &old.attributes) => Back::Done,
        (None, None) => Back::Done,
        (None, Some(_)) if ours => Back::Remove,
        (Some(_), now) if ours || now.is_none() => Back::Rename,
        (Some(_) | None, _) => Back::Foreign,
    }
}

/// The old content, out of the backup.
fn kept(state: &TargetState, backup: &str, file: &FileRecord, old: &OldFile) -> Result<Zeroizing<Vec<u8>>, ConnectorError> {
    let path = state.backup(backup);
    let name = file.backup.clone().unwrap_or_default();
    let unreadable = || ConnectorError::permanent(format!("the backup {} is gone or damaged", path.join(&name).display()));
    let kept = Directory::open(&path).and_then(|directory| directory.open_file(name.as_ref())).map_err(|e| unreadable().caused_by(e))?;
    // Allocated once: a growing buffer would leave copies of a key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
    kept.ok_or_else(unreadable)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| unreadable().caused_by(explain("read", &path.join(&name), e)))?;
    if sha256_hex(&bytes) == old.sha256 { Ok(bytes) } else { Err(unreadable()) }
}
