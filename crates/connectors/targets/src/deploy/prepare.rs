//! Looks at every destination before anything is written: what is there, what will be there, whether that may be.

use std::collections::BTreeSet;
use std::path::Path;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::files::{Destination, FinalAttributes, sha256_hex, temporary_name};
use certctl_connector_core::material::leaf_in;

use super::PlannedFile;
use super::journal::{FileRecord, OldFile};

/// The record of each planned file.
pub(super) fn examine(files: &[PlannedFile]) -> Result<Vec<FileRecord>, ConnectorError> {
    if files.is_empty() {
        return Err(ConnectorError::permanent("the target writes no file"));
    }
    let records = files.iter().enumerate().map(|(at, file)| examine_one(at, file)).collect::<Result<Vec<_>, _>>()?;
    let mut seen = BTreeSet::new();
    for record in &records {
        if !seen.insert(&record.real) {
            return Err(ConnectorError::permanent(format!("two files of the target lead to {}", record.real.display()))
                .hint("give each its own path, or use one combined file"));
        }
    }
    Ok(records)
}

/// Whether owner, group and mode are the same. Labels are not compared: the system may add some by itself.
pub(super) fn same_owner_and_mode(a: &FinalAttributes, b: &FinalAttributes) -> bool {
    (a.mode, a.owner, a.group) == (b.mode, b.owner, b.group)
}

fn examine_one(at: usize, file: &PlannedFile) -> Result<FileRecord, ConnectorError> {
    let contents = file.contents.expose();
    if contents.is_empty() {
        return Err(ConnectorError::permanent(format!("nothing would be written to {}", file.path.display())));
    }
    let destination = Destination::resolve(&file.path)?;
    let loaded = destination.load()?;
    if let Some((bytes, _)) = &loaded {
        refuse_foreign(destination.path(), bytes)?;
    }
    let new_sha256 = sha256_hex(contents);
    let new_attributes = file.attributes.settle(loaded.as_ref().map(|(_, existing)| &existing.attributes))?;
    let unchanged =
        loaded.as_ref().is_some_and(|(_, old)| old.sha256 == new_sha256 && same_owner_and_mode(&old.attributes, &new_attributes));
    let name = destination.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(FileRecord {
        path: file.path.clone(),
        real: destination.path().to_owned(),
        temporary: temporary_name()?,
        backup: loaded.as_ref().map(|_| format!("{at}-{name}")),
        old: loaded.as_ref().map(|(bytes, old)| OldFile::new(old, leaf_in(bytes).map(|(leaf, _)| leaf))),
        new_sha256,
        new_attributes,
        unchanged,
    })
}

/// What is told about a key's file that others could use until now.
pub(super) fn closed(planned: &PlannedFile, record: &FileRecord) -> Option<String> {
    let old = record.old.as_ref().filter(|_| planned.attributes.mode.is_none())?.attributes.mode;
    let new = record.new_attributes.mode;
    (old & !new & 0o007 != 0).then(|| {
        let path = record.path.display();
        format!("{path} holds a key and was open to everybody on this machine (mode {old:04o}); it has mode {new:04o} now")
    })
}

/// A wrong path must not cost a file that was never a certificate or a key.
fn refuse_foreign(path: &Path, bytes: &[u8]) -> Result<(), ConnectorError> {
    let blank = bytes.iter().all(u8::is_ascii_whitespace);
    if blank || bytes.windows(MARK.len()).any(|window| window == MARK) {
        return Ok(());
    }
    Err(ConnectorError::permanent(format!("{} exists and is not a PEM file, so it is not overwritten", path.display()))
        .hint("correct the path in the target's configuration, or move the file away"))
}

const MARK: &[u8] = b"-----BEGIN ";
