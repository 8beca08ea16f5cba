//! The migrations that this program knows, and what the head of each says about programs that are older.

use serde::Serialize;

/// What a migration does to programs that do not know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// It adds: older programs go on.
    Expand,
    /// It brings data into a new form beside the old one: older programs go on.
    Data,
    /// It takes away what older programs use: those below its oldest program cannot go on.
    Contract,
}

/// One migration, for both databases.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Its number.
    pub version: i64,
    /// The name of its files.
    pub name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

/// What the head of a migration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its class.
    pub class: Class,
    /// The oldest program that can work on the schema after it, by the newest migration that it knows; 1 when it adds.
    pub oldest: i64,
}

impl Class {
    /// As it is written in the head.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Data => "data",
            Self::Contract => "contract",
        }
    }
}

impl Step {
    /// What its head says. A test sees to it that every one can be read and is the same for both databases; until then, one that says
    /// nothing lets no older program go on.
    #[must_use]
    pub fn head(&self) -> Head {
        split(self.postgres).map_or(Head { class: Class::Contract, oldest: self.version }, |(head, _)| head)
    }

    /// What is run on SQLite. The head is not part of it, so that what it says can be corrected after a release.
    pub(super) fn sqlite(&self) -> &'static str {
        split(self.sqlite).map_or(self.sqlite, |(_, body)| body)
    }

    /// What is run on PostgreSQL.
    pub(super) fn postgres(&self) -> &'static str {
        split(self.postgres).map_or(self.postgres, |(_, body)| body)
    }
}

/// Every migration that this program knows, in order.
#[must_use]
pub const fn steps() -> &'static [Step] {
    STEPS
}

/// The oldest program that can work on the schema as it is after this migration, by the newest migration that it knows.
#[must_use]
pub fn oldest_after(version: i64) -> i64 {
    STEPS.iter().filter(|step| step.version <= version).map(|step| step.head().oldest).max().unwrap_or(1)
}

/// Tells one schema from another, for those who keep a migrated database to copy it: the first 16 hex digits of a SHA-256.
#[must_use]
pub fn fingerprint() -> String {
    let mut texts = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for step in STEPS {
        for text in [step.name, step.sqlite, step.postgres] {
            texts.update(text.as_bytes());
        }
    }
    let mut fingerprint = hex::encode(texts.finish());
    fingerprint.truncate(16);
    fingerprint
}

/// `-- class: expand`, and below `-- class: contract` the line `-- oldest program: 7`; then what is run.
fn split(text: &str) -> Option<(Head, &str)> {
    let (class, rest) = text.strip_prefix("-- class: ")?.split_once('\n')?;
    match class {
        "expand" => Some((Head { class: Class::Expand, oldest: 1 }, rest)),
        "data" => Some((Head { class: Class::Data, oldest: 1 }, rest)),
        "contract" => {
            let (oldest, rest) = rest.strip_prefix("-- oldest program: ")?.split_once('\n')?;
            Some((Head { class: Class::Contract, oldest: oldest.parse().ok()? }, rest))
        }
        _ => None,
    }
}

macro_rules! migrations {
    ($($version:literal $name:literal;)*) => {
        const STEPS: &[Step] = &[$(Step {
            version: $version,
            name: $name,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../migrations/postgres/", $name, ".sql")),
        },)*];
    };
}

migrations! {
    1 "0001_initial";
    2 "0002_revocation";
    3 "0003_acme";
    4 "0004_patience";
    5 "0005_sorts";
    6 "0006_agent_challenges";
    7 "0007_backup";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_has_a_head_and_the_same_for_both_databases() {
        for (number, step) in (1..).zip(STEPS) {
            assert_eq!(step.version, number, "{}", step.name);
            let (sqlite, postgres) = (split(step.sqlite).expect(step.name).0, split(step.postgres).expect(step.name).0);
            assert_eq!(sqlite, postgres, "{}", step.name);
            assert!(postgres.oldest <= step.version, "{}: no program knows a migration before it is there", step.name);
        }
    }

    #[test]
    fn no_migration_was_changed() {
        let kept = include_str!("../../migrations/checksums");
        let line = |engine: &str, step: &Step, body: &str| {
            let sum = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes()));
            format!("{sum}  {engine}/{}\n", step.name)
        };
        let sqlite = STEPS.iter().map(|step| line("sqlite", step, step.sqlite()));
        let found: String = sqlite.chain(STEPS.iter().map(|step| line("postgres", step, step.postgres()))).collect();
        assert_eq!(
            kept, found,
            "what was applied somewhere never changes: put the text back, and write a migration of the next number. For a new one, and for \
             one that has left nobody's machine yet, put the line that is found into crates/store/migrations/checksums"
        );
    }

    #[test]
    fn a_head_is_read_or_is_none() {
        let head = |class, oldest| Some((Head { class, oldest }, "DROP TABLE x;"));
        assert_eq!(split("-- class: expand\nDROP TABLE x;"), head(Class::Expand, 1));
        assert_eq!(split("-- class: data\nDROP TABLE x;"), head(Class::Data, 1));
        assert_eq!(split("-- class: contract\n-- oldest program: 7\nDROP TABLE x;"), head(Class::Contract, 7));
        for text in
            ["", "DROP TABLE x;", "-- class: other\nx", "-- class: contract\nDROP TABLE x;", "-- class: contract\n-- oldest program: x\ny"]
        {
            assert_eq!(split(text), None, "{text}");
        }
    }
}
