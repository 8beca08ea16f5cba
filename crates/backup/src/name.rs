//! The name of an archive: whose it is, when it was begun, and what is in it. So a bucket may be shared, and a list sorts by time.

use std::fmt;

use certctl_domain::time::Timestamp;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// `certctl-<installation>-<20261125T021500123Z>.<sqlite|pgdump>[.age]`
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchiveName {
    text: String,
    installation: String,
    began: Timestamp,
}

/// What is in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// An SQLite file.
    Sqlite,
    /// A dump of PostgreSQL in its custom format.
    Postgres,
}

impl Engine {
    /// In a word, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "pgdump",
        }
    }
}

impl ArchiveName {
    /// The name of a backup that begins now.
    #[must_use]
    pub fn new(installation: &str, engine: Engine, began: Timestamp, encryption: Option<&str>) -> Self {
        let stamp = began.to_offset().format(STAMP).unwrap_or_default();
        let tail = encryption.map(|kind| format!(".{kind}")).unwrap_or_default();
        let text = format!("{PREFIX}{installation}-{stamp}.{}{tail}", engine.extension());
        Self { text, installation: installation.to_owned(), began }
    }

    /// Reads a name; `None` when it is not one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (head, tail) = text.split_once('.')?;
        let engine = [Engine::Sqlite, Engine::Postgres].into_iter().map(Engine::extension);
        if !engine.flat_map(|kind| [kind.to_owned(), format!("{kind}.age")]).any(|known| known == tail) {
            return None;
        }
        let (installation, stamp) = head.strip_prefix(PREFIX)?.rsplit_once('-')?;
        let known = !installation.is_empty() && installation.bytes().all(|b| b.is_ascii_alphanumeric());
        let began = time::PrimitiveDateTime::parse(stamp, STAMP).ok()?.assume_utc();
        known.then(|| Self { text: text.to_owned(), installation: installation.to_owned(), began: Timestamp::new(began) })
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whose it is.
    #[must_use]
    pub fn installation(&self) -> &str {
        &self.installation
    }

    /// When it was begun, by the clock of who made it; milliseconds count.
    #[must_use]
    pub const fn began(&self) -> Timestamp {
        self.began
    }

    /// The name of its manifest.
    #[must_use]
    pub fn manifest(&self) -> String {
        format!("{}{MANIFEST}", self.text)
    }
}

impl fmt::Display for ArchiveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The beginning of every name of an installation's archives.
#[must_use]
pub fn prefix_of(installation: &str) -> String {
    format!("{PREFIX}{installation}-")
}

/// What the name of a manifest ends with.
pub const MANIFEST: &str = ".manifest.json";

const PREFIX: &str = "certctl-";
const STAMP: &[BorrowedFormatItem<'static>] = format_description!("[year][month][day]T[hour][minute][second][subsecond digits:3]Z");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back() {
        let began: Timestamp = "2026-11-25T02:15:00.123Z".parse().unwrap();
        let name = ArchiveName::new("a1b2c3d4", Engine::Sqlite, began, Some("age"));
        assert_eq!(name.as_str(), "certctl-a1b2c3d4-20261125T021500123Z.sqlite.age");
        assert_eq!(ArchiveName::parse(name.as_str()), Some(name.clone()));
        assert_eq!((name.installation(), name.began()), ("a1b2c3d4", began));
        assert!(name.as_str().starts_with(&prefix_of("a1b2c3d4")));
    }

    #[test]
    fn other_names_are_not_ours() {
        for text in [
            "certctl-a1b2c3d4-20261125T021500123Z.sqlite.partial",
            "certctl-a1b2c3d4-20261125T021500123Z.sqlite.manifest.json",
            "certctl-a1b2c3d4-yesterday.sqlite",
            "certctl--20261125T021500123Z.sqlite",
            "other-a1b2c3d4-20261125T021500123Z.sqlite",
            "../certctl-a1b2c3d4-20261125T021500123Z.sqlite",
            "certctl-../x-20261125T021500123Z.sqlite",
            "",
        ] {
            assert_eq!(ArchiveName::parse(text), None, "{text}");
        }
    }
}
