//! What a backup needs of the database: a copy at one moment, the rows that are in it, and a note of what became of each run.

use std::collections::BTreeMap;
use std::path::Path;

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::time::Timestamp;
use sqlx::{AssertSqlSafe, Postgres, Transaction};

use crate::db::{Db, Row, sql};
use crate::error::StoreError;
use crate::store::{Store, Who};
use crate::{meta, secrets};

/// What is done with backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// One was made.
    Create,
    /// One was read from one end to the other.
    Verify,
    /// Old ones were removed.
    Prune,
    /// One was put back.
    Restore,
}

/// What became of a verb the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// When it last succeeded.
    pub succeeded_at: Option<Timestamp>,
    /// The archive of that run.
    pub archive: Option<String>,
    /// Its size in bytes.
    pub size_bytes: Option<i64>,
    /// How long that run took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// When it last failed.
    pub failed_at: Option<Timestamp>,
    /// Why.
    pub failure: Option<String>,
}

/// What became of one run.
#[derive(Debug, Clone)]
pub struct Done<'a> {
    /// What was done.
    pub verb: Verb,
    /// On which archive, where there is one.
    pub archive: Option<&'a str>,
    /// How long it took.
    pub took: std::time::Duration,
    /// The size of the archive in bytes, or why it failed.
    pub outcome: Result<u64, &'a str>,
    /// More for the audit log; never a secret.
    pub details: serde_json::Map<String, serde_json::Value>,
}

/// PostgreSQL as it was at one moment, for as long as this lives; `pg_dump` can be told to look at the same moment.
#[derive(Debug)]
pub struct Snapshot {
    tx: Transaction<'static, Postgres>,
    id: String,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 4] = [Self::Create, Self::Verify, Self::Prune, Self::Restore];

    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Verify => "verify",
            Self::Prune => "prune",
            Self::Restore => "restore",
        }
    }

    const fn action(self) -> &'static str {
        match self {
            Self::Create => "backup.create",
            Self::Verify => "backup.verify",
            Self::Prune => "backup.prune",
            Self::Restore => "backup.restore",
        }
    }
}

/// The name of the counter of failed runs.
#[must_use]
pub fn failure_counter(verb: Verb) -> String {
    format!("backup.{}.failed", verb.as_str())
}

/// The short name of the installation in the names of its archives: eight hex digits, made when first asked for.
///
/// # Errors
/// When the database fails.
pub async fn installation(store: &Store, now: Timestamp) -> Result<String, StoreError> {
    if let Some(known) = meta::get(store.db(), INSTALLATION).await? {
        return Ok(known);
    }
    let mut random = [0; 4];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| StoreError::Secret("the system gives no randomness".to_owned()))?;
    let mut tx = store.write(Who::task("backup", now)).await?;
    let id = meta::set_if_absent(&mut tx, INSTALLATION, &hex::encode(random)).await?;
    tx.commit_housekeeping("backup.installation").await?;
    Ok(id)
}

/// Notes what became of a run, with an audit entry: for metrics of every replica, and for whoever asks later.
///
/// # Errors
/// When the database fails.
pub async fn record(store: &Store, done: &Done<'_>, now: Timestamp) -> Result<(), StoreError> {
    let mut tx = store.write(Who::task("backup", now)).await?;
    let took = i64::try_from(done.took.as_millis()).unwrap_or(i64::MAX);
    let mut audit = Audit::new(AuditCategory::Config, done.verb.action(), "backup", done.archive.unwrap_or_default());
    audit.details.clone_from(&done.details);
    let statement = match done.outcome {
        Ok(size) => {
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            audit = audit.with("outcome", "success").with("size_bytes", size).with("duration_ms", took);
            sql("INSERT INTO backup_runs (verb, succeeded_at, archive, size_bytes, duration_ms) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (verb) DO UPDATE SET succeeded_at = excluded.succeeded_at, archive = excluded.archive,
                     size_bytes = excluded.size_bytes, duration_ms = excluded.duration_ms")
            .bind(done.verb.as_str())
            .bind(now)
            .bind(done.archive)
            .bind(size)
            .bind(took)
        }
        Err(why) => {
            tx.count(&failure_counter(done.verb), 1);
            audit = audit.with("outcome", "failure").with("failure", why).with("duration_ms", took);
            sql("INSERT INTO backup_runs (verb, failed_at, failure) VALUES ($1, $2, $3)
                 ON CONFLICT (verb) DO UPDATE SET failed_at = excluded.failed_at, failure = excluded.failure")
            .bind(done.verb.as_str())
            .bind(now)
            .bind(why)
        }
    };
    tx.execute(statement).await?;
    tx.commit(audit).await
}

/// What became of a verb the last time.
///
/// # Errors
/// When the database fails.
pub async fn last_run(db: &Db, verb: Verb) -> Result<Run, StoreError> {
    Ok(last_runs(db).await?.remove(verb.as_str()).unwrap_or_default())
}

/// What became of every verb the last time, by the verb's word.
///
/// # Errors
/// When the database fails.
pub async fn last_runs(db: &Db) -> Result<BTreeMap<String, Run>, StoreError> {
    let statement = sql("SELECT verb, succeeded_at, archive, size_bytes, duration_ms, failed_at, failure FROM backup_runs");
    db.fetch_all(statement).await?.iter().map(|row| Ok((row.text("verb")?, read(row)?))).collect()
}

/// The rows of every table, as of now.
///
/// # Errors
/// When the database fails.
pub async fn count_rows(db: &Db) -> Result<BTreeMap<String, i64>, StoreError> {
    let mut tables = BTreeMap::new();
    for row in db.fetch_all(sql(tables_of(db))).await? {
        let table = row.text("name")?;
        let rows = db.fetch_optional(sql(count_of(&table)).varying()).await?;
        tables.insert(table, rows.map_or(Ok(0), |row| row.int("n"))?);
    }
    Ok(tables)
}

/// Whether nothing was ever put into it: no table, no view, no sequence, but for those of extensions.
///
/// # Errors
/// When the database fails.
pub async fn is_empty(db: &Db) -> Result<bool, StoreError> {
    let statement = match db {
        Db::Sqlite { .. } => "SELECT count(*) AS n FROM sqlite_master",
        Db::Postgres(_) => {
            "SELECT count(*) AS n FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%' AND n.nspname NOT LIKE 'pg_temp%'
               AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"
        }
    };
    db.fetch_optional(sql(statement)).await?.map_or(Ok(true), |row| Ok(row.int("n")? == 0))
}

/// Copies an SQLite database as it is at one moment into a file that is not there yet; others go on writing meanwhile. The copy has no
/// free pages in it, and what was deleted is not in it either.
///
/// # Errors
/// When it is no SQLite database, the file is there, or it cannot be written.
pub async fn copy(db: &Db, to: &Path) -> Result<(), StoreError> {
    let Db::Sqlite { readers, .. } = db else {
        return Err(StoreError::corrupt("only an SQLite database is copied so"));
    };
    let path = to.to_str().ok_or_else(|| StoreError::corrupt("the path of the copy is no text"))?;
    sqlx::query("VACUUM INTO $1").bind(path).execute(readers).await?;
    Ok(())
}

/// How large a copy of an SQLite database can be at most, in bytes. What stands in its journal counts too.
///
/// # Errors
/// When the database fails.
pub async fn copy_size(db: &Db) -> Result<u64, StoreError> {
    let row = db.fetch_optional(sql("SELECT page_count * page_size AS n FROM pragma_page_count, pragma_page_size")).await?;
    row.map_or(Ok(0), |row| Ok(u64::try_from(row.int("n")?).unwrap_or(0)))
}

/// Reads every page of an SQLite database and says what is wrong with it first; `None` when nothing is.
///
/// # Errors
/// When it cannot be read at all.
pub async fn damage(db: &Db) -> Result<Option<String>, StoreError> {
    let Db::Sqlite { .. } = db else { return Ok(None) };
    for statement in ["SELECT integrity_check AS what FROM pragma_integrity_check LIMIT 1", FOREIGN_KEYS] {
        if let Some(row) = db.fetch_optional(sql(statement)).await? {
            let what = row.text("what")?;
            if what != "ok" {
                return Ok(Some(what));
            }
        }
    }
    Ok(None)
}

/// The version of the database's own program: `SQLite 3.46.0`, or PostgreSQL's major version as `15`.
///
/// # Errors
/// When the database fails.
pub async fn server_version(db: &Db) -> Result<String, StoreError> {
    let statement = match db {
        Db::Sqlite { .. } => "SELECT 'SQLite ' || sqlite_version() AS version",
        Db::Postgres(_) => "SELECT (current_setting('server_version_num')::int / 10000)::text AS version",
    };
    db.fetch_optional(sql(statement)).await?.ok_or_else(|| StoreError::corrupt("the database has no version"))?.text("version")
}

/// Creates a database beside this one; PostgreSQL only.
///
/// # Errors
/// When the role may not create databases.
pub async fn create_scratch(db: &Db, name: &str) -> Result<(), StoreError> {
    run_raw(db, &format!("CREATE DATABASE {}", quoted(name))).await
}

/// Drops such a database, whoever is still connected.
///
/// # Errors
/// When it cannot be dropped.
pub async fn drop_scratch(db: &Db, name: &str) -> Result<(), StoreError> {
    run_raw(db, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name))).await
}

impl Snapshot {
    /// Takes one.
    ///
    /// # Errors
    /// When the database fails, or is SQLite.
    pub async fn take(db: &Db) -> Result<Self, StoreError> {
        let Db::Postgres(pool) = db else {
            return Err(StoreError::corrupt("only PostgreSQL exports a snapshot"));
        };
        let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
        // It waits for as long as the dump takes.
        sqlx::raw_sql("SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0").execute(&mut *tx).await?;
        let id: String = sqlx::query_scalar("SELECT pg_export_snapshot()").fetch_one(&mut *tx).await?;
        Ok(Self { tx, id })
    }

    /// Its name, for others who want to see the same.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The rows of every table at that moment, the newest migration, and how many secrets each encryption key seals.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn look(&mut self) -> Result<Content, StoreError> {
        let names: Vec<String> = sqlx::query_scalar(AssertSqlSafe(POSTGRES_TABLES)).fetch_all(&mut *self.tx).await?;
        let mut tables = BTreeMap::new();
        for table in names {
            let rows: i64 = sqlx::query_scalar(AssertSqlSafe(count_of(&table))).fetch_one(&mut *self.tx).await?;
            tables.insert(table, rows);
        }
        let schema =
            sqlx::query_scalar("SELECT COALESCE(max(version), 0) FROM _sqlx_migrations WHERE success").fetch_one(&mut *self.tx).await?;
        let keys: Vec<(String, i64)> = sqlx::query_as(secrets::COUNT_BY_KEY).fetch_all(&mut *self.tx).await?;
        Ok(Content { tables, schema, keys: keys.into_iter().collect() })
    }

    /// Gives it up.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end(self) -> Result<(), StoreError> {
        Ok(self.tx.rollback().await?)
    }
}

/// What is in a database at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Rows of each table.
    pub tables: BTreeMap<String, i64>,
    /// The newest migration.
    pub schema: i64,
    /// How many secrets are sealed under which encryption key, by the key's fingerprint.
    pub keys: BTreeMap<String, i64>,
}

/// What is in a database that nobody writes to.
///
/// # Errors
/// When the database fails.
pub async fn look(db: &Db) -> Result<Content, StoreError> {
    let schema = crate::migrate::state(db).await?.found;
    Ok(Content { tables: count_rows(db).await?, schema, keys: secrets::count_by_key(db).await? })
}

async fn run_raw(db: &Db, statement: &str) -> Result<(), StoreError> {
    let Db::Postgres(pool) = db else {
        return Err(StoreError::corrupt("only PostgreSQL keeps several databases"));
    };
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(pool).await?;
    Ok(())
}

const fn tables_of(db: &Db) -> &'static str {
    match db {
        Db::Sqlite { .. } => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name",
        Db::Postgres(_) => POSTGRES_TABLES,
    }
}

fn count_of(table: &str) -> String {
    format!("SELECT count(*) AS n FROM {}", quoted(table))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn read(row: &Row) -> Result<Run, StoreError> {
    Ok(Run {
        succeeded_at: row.opt_time("succeeded_at")?,
        archive: row.opt_text("archive")?,
        size_bytes: row.opt_int("size_bytes")?,
        duration_ms: row.opt_int("duration_ms")?,
        failed_at: row.opt_time("failed_at")?,
        failure: row.opt_text("failure")?,
    })
}

const INSTALLATION: &str = "installation.short_id";
const POSTGRES_TABLES: &str =
    "SELECT tablename::text AS name FROM pg_catalog.pg_tables WHERE schemaname = ANY (current_schemas(false)) ORDER BY tablename";
const FOREIGN_KEYS: &str =
    "SELECT 'a row of ' || \"table\" || ' refers to none of ' || parent AS what FROM pragma_foreign_key_check LIMIT 1";
