//! What can go wrong with the store, told apart as far as a caller can act on it.

/// An error of the store. Its text names no value and no host: driver texts are kept as the source, for the log.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A unique name or id is taken.
    #[error("{0} is taken")]
    Duplicate(String),
    /// Something that is referred to does not exist, or something that is to be deleted is still referred to.
    #[error("a reference does not hold: {0}")]
    Reference(String),
    /// The row was changed or deleted by somebody else since it was read.
    #[error("it was changed by somebody else in the meantime")]
    Stale,
    /// A list was asked for in a way that the table does not offer.
    #[error("{message}")]
    Query {
        /// The parameter.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// The database URL is not understood.
    #[error("the database URL is not one of sqlite:///path or postgres://user@host/name")]
    Url,
    /// The schema is newer than this program knows.
    #[error("the schema is at {found}, newer than the {known} that this program knows")]
    SchemaNewer {
        /// In the database.
        found: i64,
        /// In the program.
        known: i64,
    },
    /// The schema is older than this program needs.
    #[error("the schema is at {found}, older than the {needed} that this program needs")]
    SchemaOlder {
        /// In the database.
        found: i64,
        /// In the program.
        needed: i64,
    },
    /// A migration failed. Nothing of it stays.
    #[error("migration {migration} failed, and nothing of it was kept")]
    Migration {
        /// Its name.
        migration: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A migration is not what was applied once.
    #[error("migration {migration} was applied in another form than this program has it")]
    MigrationChanged {
        /// Its name.
        migration: &'static str,
    },
    /// A statement of a migration took too long.
    #[error("a statement of migration {migration} has not ended within {seconds} s, and nothing of it was kept")]
    MigrationSlow {
        /// Its name.
        migration: &'static str,
        /// How long it was given, in seconds.
        seconds: u64,
    },
    /// Somebody holds the migration lock. Names who, for the operator's eyes: only ever made at a start.
    #[error("another program has held the migration lock for {seconds} s: {holder}")]
    MigrationLocked {
        /// How long it was waited for, in seconds.
        seconds: u64,
        /// Whoever it is.
        holder: String,
        /// Its backend.
        pid: Option<i64>,
    },
    /// Somebody holds a table that a migration changes. Names who, as above.
    #[error("migration {migration} could not have a table that it changes within {seconds} s, and changed nothing: it is held by {holder}")]
    MigrationBlocked {
        /// Its name.
        migration: &'static str,
        /// How long it was tried, in seconds.
        seconds: u64,
        /// Whoever it is.
        holder: String,
        /// Its backend.
        pid: Option<i64>,
    },
    /// Somebody else writes to the SQLite file.
    #[error("another program has been writing to the database file for {seconds} s")]
    Busy {
        /// How long it was waited for, in seconds.
        seconds: u64,
    },
    /// The database did not answer at the start.
    #[error("the database has not answered for {seconds} s")]
    Silent {
        /// How long it was tried, in seconds.
        seconds: u64,
        /// The last answer.
        #[source]
        source: sqlx::Error,
    },
    /// A row holds what it cannot hold.
    #[error("the database holds something unexpected: {0}")]
    Corrupt(String),
    /// A secret cannot be sealed or opened.
    #[error("{0}")]
    Secret(String),
    /// The database did not answer, or refused.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }

    /// Whether trying again later may help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Database(_) | Self::Silent { .. } | Self::Busy { .. })
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(database) = &error {
            if database.is_unique_violation() {
                return Self::Duplicate(constraint(database.as_ref()));
            }
            if database.is_foreign_key_violation() {
                return Self::Reference(constraint(database.as_ref()));
            }
        }
        Self::Database(error)
    }
}

/// The name of what was violated: PostgreSQL gives the constraint, SQLite the columns. Neither holds a value.
fn constraint(error: &dyn sqlx::error::DatabaseError) -> String {
    match error.constraint() {
        Some(name) => name.trim_end_matches("_key").replace('_', " "),
        None => error.message().rsplit(": ").next().unwrap_or("a value").replace(['.', '_'], " "),
    }
}
