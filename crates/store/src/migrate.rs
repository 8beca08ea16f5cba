//! The schema: embedded migrations, in pairs of equal number and name for the two databases.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use crate::db::{Db, sql};
use crate::error::StoreError;
use crate::meta;

/// Where the schema stands against what this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaState {
    /// The newest migration in the database; 0 when there is none.
    pub found: i64,
    /// The newest migration in this program.
    pub known: i64,
}

/// Brings the schema to what this program knows. Replicas may do this at the same time: a lock orders them. A newer schema that this
/// program can work on is left as it is.
///
/// # Errors
/// When the schema is newer than this program can work on, or a migration fails; what was applied before stays applied.
pub async fn migrate(db: &Db) -> Result<SchemaState, StoreError> {
    let before = state(db).await?;
    if before.found > before.known {
        return check(db).await;
    }
    match db {
        Db::Sqlite { writer, .. } => {
            // SQLite has no lock for migrations; a transaction that writes from its beginning is one.
            let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
            migrator(SQLITE).run(&mut *tx).await?;
            tx.commit().await?;
        }
        Db::Postgres(pool) => migrator(POSTGRES).run(pool).await?,
    }
    if before.found < before.known {
        let mut tx = db.begin().await?;
        meta::set(&mut tx, OLDEST_NAME, &OLDEST.to_string()).await?;
        tx.commit().await?;
    }
    state(db).await
}

/// Checks that this program can work on the schema as it is: it is the one that this program knows, or one that a later release made and
/// said to be fit for this one too. So the replicas of a release go on while the next one takes their place.
///
/// # Errors
/// [`StoreError::SchemaNewer`] or [`StoreError::SchemaOlder`].
pub async fn check(db: &Db) -> Result<SchemaState, StoreError> {
    let state = state(db).await?;
    match state.found.cmp(&state.known) {
        std::cmp::Ordering::Greater if oldest(db).await?.is_some_and(|oldest| oldest <= state.known) => Ok(state),
        std::cmp::Ordering::Greater => Err(StoreError::SchemaNewer { found: state.found, known: state.known }),
        std::cmp::Ordering::Less => Err(StoreError::SchemaOlder { found: state.found, needed: state.known }),
        std::cmp::Ordering::Equal => Ok(state),
    }
}

/// Where the schema stands.
///
/// # Errors
/// When the database fails.
pub async fn state(db: &Db) -> Result<SchemaState, StoreError> {
    let known = known();
    let exists = match db {
        Db::Sqlite { .. } => "SELECT count(*) AS n FROM sqlite_master WHERE name = '_sqlx_migrations'",
        Db::Postgres(_) => {
            "SELECT count(*) AS n FROM pg_catalog.pg_tables WHERE tablename = '_sqlx_migrations' AND schemaname = ANY (current_schemas(false))"
        }
    };
    let exists = db.fetch_optional(sql(exists)).await?.map(|row| row.int("n")).transpose()?.unwrap_or(0) > 0;
    if !exists {
        return Ok(SchemaState { found: 0, known });
    }
    let row = db.fetch_optional(sql("SELECT COALESCE(max(version), 0) AS n FROM _sqlx_migrations WHERE success")).await?;
    Ok(SchemaState { found: row.map(|row| row.int("n")).transpose()?.unwrap_or(0), known })
}

/// The newest migration in this program.
#[must_use]
pub fn known() -> i64 {
    SQLITE.iter().map(|(version, ..)| *version).max().unwrap_or(0)
}

/// The oldest program that can work on the schema as it is, by the newest migration that it knows.
async fn oldest(db: &Db) -> Result<Option<i64>, StoreError> {
    Ok(meta::get(db, OLDEST_NAME).await?.and_then(|text| text.parse().ok()))
}

/// Tells one schema from another, for those who keep a migrated database to copy it: the first 16 hex digits of a SHA-256.
#[must_use]
pub fn fingerprint() -> String {
    let mut texts = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for (_, name, text) in SQLITE.iter().chain(POSTGRES) {
        texts.update(name.as_bytes());
        texts.update(text.as_bytes());
    }
    let mut fingerprint = hex::encode(texts.finish());
    fingerprint.truncate(16);
    fingerprint
}

/// The oldest program that can work on the newest schema. To be raised by a migration that takes something away which older ones use.
const OLDEST: i64 = 1;
const OLDEST_NAME: &str = "schema.oldest_program";

type Step = (i64, &'static str, &'static str);

macro_rules! migrations {
    ($($version:literal $name:literal;)*) => {
        const SQLITE: &[Step] = &[$(($version, $name, include_str!(concat!("../migrations/sqlite/", $name, ".sql"))),)*];
        const POSTGRES: &[Step] = &[$(($version, $name, include_str!(concat!("../migrations/postgres/", $name, ".sql"))),)*];
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

fn migrator(steps: &'static [Step]) -> Migrator {
    let migrations = steps
        .iter()
        .map(|(version, name, text)| {
            Migration::new(*version, (*name).into(), MigrationType::Simple, AssertSqlSafe(*text).into_sql_str(), false)
        })
        .collect();
    Migrator::with_migrations(migrations)
}
