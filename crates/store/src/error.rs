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
    /// A migration failed.
    #[error("a migration failed")]
    Migrate(#[source] sqlx::migrate::MigrateError),
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
        matches!(self, Self::Database(_))
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

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Migrate(error)
    }
}

/// The name of what was violated: PostgreSQL gives the constraint, SQLite the columns. Neither holds a value.
fn constraint(error: &dyn sqlx::error::DatabaseError) -> String {
    match error.constraint() {
        Some(name) => name.trim_end_matches("_key").replace('_', " "),
        None => error.message().rsplit(": ").next().unwrap_or("a value").replace(['.', '_'], " "),
    }
}
