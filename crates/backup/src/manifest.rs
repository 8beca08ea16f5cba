//! What is said of an archive beside it.

use std::collections::BTreeMap;

use certctl_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::BackupError;
use crate::name::Engine;

/// Everything that is known of an archive. It lies beside the archive as JSON, and is written when the archive is whole. It is not
/// signed: whoever can write where backups are kept can change both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this form.
    pub format: u32,
    /// The archive's name.
    pub archive: String,
    /// Whose it is.
    pub installation: String,
    /// Which database it is of.
    pub engine: Engine,
    /// When it was begun.
    pub created_at: Timestamp,
    /// The version of the program that made it.
    pub program: String,
    /// What wrote the content, such as `pg_dump (PostgreSQL) 15.18`.
    pub tool: String,
    /// The newest migration in it.
    pub schema: i64,
    /// Bytes of the archive as it is kept.
    pub size_bytes: u64,
    /// SHA-256 of the archive as it is kept, in lower hex.
    pub sha256: String,
    /// Bytes of the content, decrypted.
    pub content_bytes: u64,
    /// The public keys that it is encrypted to; empty when it is not.
    pub recipients: Vec<String>,
    /// How many secrets in it are sealed under which encryption key. Keys by their fingerprint, the first eight hex digits of their
    /// SHA-256.
    pub encryption_keys: BTreeMap<String, i64>,
    /// Rows of each table.
    pub tables: BTreeMap<String, i64>,
}

impl Manifest {
    /// The form that this program writes.
    pub const FORMAT: u32 = 1;

    /// As it is written.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, BackupError> {
        let mut text = serde_json::to_vec_pretty(self).map_err(|e| BackupError::new("the manifest cannot be written").because(e))?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads the manifest of an archive.
    ///
    /// # Errors
    /// When it is no manifest, is of a later form, or is of another archive.
    pub fn parse(archive: &str, bytes: &[u8]) -> Result<Self, BackupError> {
        let unreadable = || BackupError::new(format!("the manifest of {archive} cannot be read"));
        let form: Form = serde_json::from_slice(bytes).map_err(|e| unreadable().because(e))?;
        if form.format > Self::FORMAT {
            let newer =
                format!("the manifest of {archive} has the form {}, newer than the {} that this program reads", form.format, Self::FORMAT);
            return Err(BackupError::new(newer).hint("use the release that made it, or a newer one"));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|e| unreadable().because(e))?;
        if manifest.archive != archive {
            return Err(BackupError::new(format!("the manifest beside {archive} is the one of {}", manifest.archive)));
        }
        Ok(manifest)
    }

    /// Whether the archive is encrypted.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        !self.recipients.is_empty()
    }
}

#[derive(Deserialize)]
struct Form {
    format: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: 1,
            archive: "a".to_owned(),
            installation: "i".to_owned(),
            engine: Engine::Sqlite,
            created_at: Timestamp::UNIX_EPOCH,
            program: "0.1.0".to_owned(),
            tool: "SQLite 3".to_owned(),
            schema: 6,
            size_bytes: 1,
            sha256: "00".to_owned(),
            content_bytes: 1,
            recipients: Vec::new(),
            encryption_keys: BTreeMap::from([("0a1b2c3d".to_owned(), 2)]),
            tables: BTreeMap::from([("meta".to_owned(), 3)]),
        }
    }

    #[test]
    fn is_read_as_it_was_written() {
        let manifest = manifest();
        assert_eq!(Manifest::parse("a", &manifest.to_json().unwrap()).unwrap(), manifest);
    }

    #[test]
    fn another_archives_a_later_form_and_nonsense_are_refused() {
        let written = manifest().to_json().unwrap();
        assert!(Manifest::parse("b", &written).unwrap_err().to_string().contains("the one of a"));
        assert!(Manifest::parse("a", b"{\"format\": 2, \"more\": 1}").unwrap_err().to_string().contains("newer"));
        assert!(Manifest::parse("a", b"{}").is_err() && Manifest::parse("a", b"").is_err());
    }
}
