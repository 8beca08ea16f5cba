//! The schema: embedded migrations, in pairs of equal number and name for the two databases.
//!
//! Each says in its head what it does to programs that do not know it (`steps`), and is applied whole or not at all (`run`).

mod compatibility;
mod holder;
mod run;
mod steps;

use std::time::Duration;

pub use self::compatibility::{Verdict, name, program, releases, verdict, verdict_after};
pub use self::holder::Holder;
pub use self::run::LOCK;
pub use self::steps::{Class, Head, Step, fingerprint, oldest_after, steps};
use crate::db::{Db, sql};
use crate::error::StoreError;
use crate::meta;

/// How long to wait for what is in somebody else's hands: the migration lock, a table, a database that does not answer. A statement of a
/// migration may take as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(pub Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(Duration::from_secs(300))
    }
}

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
pub async fn migrate(db: &Db, patience: Patience) -> Result<SchemaState, StoreError> {
    let before = state(db).await?;
    if before.found > before.known {
        return check(db).await;
    }
    migrate_to(db, before.known, patience).await
}

/// As [`migrate`], but no further than this migration: for a database as an older program made it.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_to(db: &Db, newest: i64, patience: Patience) -> Result<SchemaState, StoreError> {
    if !run::is_complete(db, newest).await? {
        run::up_to(db, newest, patience).await?;
    }
    state(db).await
}

/// Waits until somebody else, such as a hook, has brought the schema up to date, and checks it as [`check`] does.
///
/// # Errors
/// As [`check`], once the patience has ended; at once when no waiting helps.
pub async fn wait(db: &Db, patience: Patience) -> Result<SchemaState, StoreError> {
    let until = tokio::time::Instant::now() + patience.0;
    let mut told = false;
    loop {
        match check(db).await {
            Err(StoreError::SchemaOlder { found, needed }) if tokio::time::Instant::now() < until => {
                if !told {
                    tracing::warn!(
                        found,
                        needed,
                        left_s = patience.0.as_secs(),
                        "the schema is older than this program needs; waiting for `certctl-server migrate`"
                    );
                    told = true;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            other => return other,
        }
    }
}

/// Checks that this program can work on the schema as it is: it is the one that this program knows, or one that a later release made and
/// said to be fit for this one too. So the replicas of a release go on while the next one takes their place.
///
/// # Errors
/// [`StoreError::SchemaNewer`] or [`StoreError::SchemaOlder`].
pub async fn check(db: &Db) -> Result<SchemaState, StoreError> {
    let state = state(db).await?;
    match state.found.cmp(&state.known) {
        std::cmp::Ordering::Greater
            if oldest(db).await?.is_some_and(|oldest| verdict(state.known, state.found, oldest) == Verdict::Runs) =>
        {
            Ok(state)
        }
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
    if !table_exists(db).await? {
        return Ok(SchemaState { found: 0, known });
    }
    let row = db.fetch_optional(sql("SELECT COALESCE(max(version), 0) AS n FROM _sqlx_migrations WHERE success")).await?;
    Ok(SchemaState { found: row.map(|row| row.int("n")).transpose()?.unwrap_or(0), known })
}

/// The newest migration in this program.
#[must_use]
pub fn known() -> i64 {
    steps().last().map_or(0, |step| step.version)
}

/// The numbers of the migrations that were applied, in order, each with the name that it was given.
///
/// # Errors
/// When the database fails.
pub async fn applied(db: &Db) -> Result<Vec<(i64, String)>, StoreError> {
    if !table_exists(db).await? {
        return Ok(Vec::new());
    }
    let rows = db.fetch_all(sql("SELECT version, description FROM _sqlx_migrations WHERE success ORDER BY version")).await?;
    rows.iter().map(|row| Ok((row.int("version")?, row.text("description")?))).collect()
}

/// The oldest program that can work on the schema as it is, by the newest migration that it knows. `None` where no migration was applied.
///
/// # Errors
/// When the database fails.
pub async fn oldest(db: &Db) -> Result<Option<i64>, StoreError> {
    if state(db).await?.found == 0 {
        return Ok(None);
    }
    Ok(meta::get(db, OLDEST_NAME).await?.and_then(|text| text.parse().ok()))
}

async fn table_exists(db: &Db) -> Result<bool, StoreError> {
    let exists = match db {
        Db::Sqlite { .. } => "SELECT count(*) AS n FROM sqlite_master WHERE name = '_sqlx_migrations'",
        Db::Postgres(_) => {
            "SELECT count(*) AS n FROM pg_catalog.pg_tables WHERE tablename = '_sqlx_migrations' AND schemaname = ANY (current_schemas(false))"
        }
    };
    Ok(db.fetch_optional(sql(exists)).await?.map(|row| row.int("n")).transpose()?.unwrap_or(0) > 0)
}

const OLDEST_NAME: &str = "schema.oldest_program";
/// How often the schema is looked at while somebody else is to change it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
