//! Backs up the old files where nobody else looks and writes the new ones beside them, under names that readers pass over.

use certctl_connector_core::ConnectorError;
use certctl_connector_core::files::{Destination, FinalAttributes};
use certctl_domain::secret::Secret;

use super::journal::FileRecord;
use super::replace::same_place;
use super::state::TargetState;

/// Copies a file that will be replaced into the backup.
pub(super) fn back_up(state: &TargetState, backup: &str, file: &FileRecord) -> Result<(), ConnectorError> {
    let (Some(name), Some(old)) = (&file.backup, &file.old) else {
        return Ok(());
    };
    let (bytes, existing) = same_place(file)?.load()?.ok_or_else(|| changed(file))?;
    if existing.sha256 != old.sha256 {
        return Err(changed(file));
    }
    let private = FinalAttributes {
        mode: 0o600,
        owner: nix::unistd::geteuid().as_raw(),
        group: nix::unistd::getegid().as_raw(),
        extended: Vec::new(),
    };
    let directory = state.make_backup(backup)?;
    directory.create(name, &bytes, &private)?;
    directory.sync()
}

/// Writes the new content beside the old.
pub(super) fn stage(file: &FileRecord, contents: &Secret<Vec<u8>>) -> Result<(), ConnectorError> {
    same_place(file)?.stage(&file.temporary, contents.expose(), &file.new_attributes)
}

/// Removes what was staged, wherever it got to.
pub(super) fn unstage(file: &FileRecord) -> Result<(), ConnectorError> {
    Destination::resolve(&file.real)?.directory().remove(&file.temporary)
}

/// Somebody else had a hand in it between two of our steps.
pub(super) fn changed(file: &FileRecord) -> ConnectorError {
    ConnectorError::transient(format!("{} was changed by another program during the deployment", file.real.display()))
        .hint("find out what else writes it (another agent, a package, a configuration tool): one of the two must stop")
}
