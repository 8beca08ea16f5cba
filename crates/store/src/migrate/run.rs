//! Applying migrations: each in one transaction with its row and with what older programs are told, so that whatever ends this program
//! leaves a migration whole or not there at all.
//!
//! A transaction that waits for a table makes everybody wait behind it. So it waits for moments only, gives everything back, and comes
//! again, until its patience ends.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;

use super::holder::Holder;
use super::steps::{Step, oldest_after, steps};
use super::{OLDEST_NAME, Patience};
use crate::db::{Db, Tx, sql};
use crate::error::StoreError;
use crate::meta;

/// Applies what is missing up to this migration.
pub(super) async fn up_to(db: &Db, newest: i64, patience: Patience) -> Result<(), StoreError> {
    let mut waiting = Waiting { patience, until: Instant::now() + patience.0, told: None, pause: SHORTEST_PAUSE };
    loop {
        match next(db, newest, patience).await? {
            Outcome::Complete => return Ok(()),
            Outcome::Applied => waiting.pause = SHORTEST_PAUSE,
            Outcome::Stopped(why) => waiting.or_give_up(why).await?,
        }
    }
}

/// Whether every migration up to this one is applied as this program has it, and older programs are told what to know.
pub(super) async fn is_complete(db: &Db, newest: i64) -> Result<bool, StoreError> {
    if !super::table_exists(db).await? {
        return Ok(false);
    }
    let rows = db.fetch_all(sql(APPLIED)).await?;
    let applied = applied(&rows)?;
    let missing = missing(db, &applied, newest)?;
    Ok(missing.is_none() && super::oldest(db).await?.is_some_and(|oldest| oldest >= oldest_after(newest)))
}

enum Outcome {
    /// One more migration is applied.
    Applied,
    /// Nothing is missing.
    Complete,
    /// Somebody is in the way; nothing was changed.
    Stopped(Obstacle),
}

enum Obstacle {
    /// Somebody holds the migration lock.
    Lock(Option<Holder>),
    /// Somebody writes to the SQLite file.
    Writer,
    /// Somebody holds a table that a migration changes.
    Table(&'static Step, Option<Holder>),
    /// The database does not answer.
    Silence(sqlx::Error),
}

async fn next(db: &Db, newest: i64, patience: Patience) -> Result<Outcome, StoreError> {
    match attempt(db, newest, patience).await {
        Err(StoreError::Database(error)) if crate::db::may_come_back(&error) => Ok(Outcome::Stopped(Obstacle::Silence(error))),
        // Somebody makes the table of migrations at this moment.
        Err(StoreError::Database(error)) if sql_state(&error).as_deref() == Some(LOCK_NOT_AVAILABLE) => {
            Ok(Outcome::Stopped(Obstacle::Lock(None)))
        }
        other => other,
    }
}

async fn attempt(db: &Db, newest: i64, patience: Patience) -> Result<Outcome, StoreError> {
    let Some(mut tx) = db.begin_or_busy(BUSY).await? else { return Ok(Outcome::Stopped(Obstacle::Writer)) };
    if let Tx::Postgres(_) = &tx {
        // A statement may take its time; only its waiting is bounded. That something exists already is no news.
        let (statement, lock) = (millis(patience.0), millis(LOCK_TIMEOUT));
        let own =
            format!("SET LOCAL statement_timeout = {statement}; SET LOCAL lock_timeout = {lock}; SET LOCAL client_min_messages = warning");
        tx.run_script(own).await?;
        let lock = sql("SELECT pg_try_advisory_xact_lock($1::bigint::int, $2::bigint::int) AS taken");
        let row = tx.fetch_optional(lock.bind(i64::from(LOCK.0)).bind(i64::from(LOCK.1))).await?;
        if !row.map(|row| row.bool("taken")).transpose()?.unwrap_or(false) {
            tx.rollback().await?;
            return Ok(Outcome::Stopped(Obstacle::Lock(Holder::of_lock(db, LOCK).await?)));
        }
    }
    let (time, bytes) = if db.is_shared() { ("TIMESTAMPTZ", "BYTEA") } else { ("TIMESTAMP", "BLOB") };
    tx.run_script(TABLE.replace("{time}", time).replace("{bytes}", bytes)).await?;
    let rows = tx.fetch_all(sql(APPLIED)).await?;
    let found = applied(&rows)?;
    let Some(step) = missing(db, &found, newest)? else {
        if let Some((version, _)) = found.last_key_value() {
            // Programs of before wrote this by itself, and may have been cut off between the schema and this.
            tell_older(&mut tx, *version).await?;
        }
        tx.commit().await?;
        return Ok(Outcome::Complete);
    };
    let mut blocker = None;
    let applied = match &tx {
        Tx::Sqlite(_) => apply(&mut tx, step, step.sqlite()).await,
        Tx::Postgres(_) => {
            let pid = tx.fetch_optional(sql("SELECT pg_backend_pid()::bigint AS pid")).await?.map(|row| row.int("pid")).transpose()?;
            tokio::select! {
                applied = apply(&mut tx, step, step.postgres()) => applied,
                never = watch(db, pid.unwrap_or(0), &mut blocker) => match never {},
            }
        }
    };
    match applied {
        Ok(()) => {
            tx.commit().await?;
            tracing::info!(migration = step.name, class = step.head().class.as_str(), "a migration was applied");
            Ok(Outcome::Applied)
        }
        Err(StoreError::Database(error)) => {
            tx.rollback().await.ok();
            match sql_state(&error).as_deref() {
                Some(LOCK_NOT_AVAILABLE | DEADLOCK) => Ok(Outcome::Stopped(Obstacle::Table(step, blocker))),
                Some(QUERY_CANCELED) => Err(StoreError::MigrationSlow { migration: step.name, seconds: patience.0.as_secs() }),
                _ if crate::db::may_come_back(&error) => Err(StoreError::Database(error)),
                _ => Err(StoreError::Migration { migration: step.name, source: error }),
            }
        }
        Err(error) => Err(error),
    }
}

/// Looks who keeps a backend waiting, for as long as it is polled.
async fn watch(db: &Db, pid: i64, blocker: &mut Option<Holder>) -> Infallible {
    loop {
        tokio::time::sleep(LOCK_TIMEOUT / 8).await;
        if let Ok(Some(found)) = Holder::of_what_blocks(db, pid).await {
            *blocker = Some(found);
        }
    }
}

async fn apply(tx: &mut Tx, step: &Step, text: &'static str) -> Result<(), StoreError> {
    let began = Instant::now();
    // Nothing of a migration tells its caller apart by the kind of a failure.
    tx.run_script(text.to_owned()).await.map_err(StoreError::Database)?;
    let took = i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX);
    let row = sql("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES ($1, $2, TRUE, $3, $4)");
    tx.execute(row.bind(step.version).bind(step.name).bind(checksum(text)).bind(took)).await?;
    tell_older(tx, step.version).await
}

/// Leaves word for older programs, in the same transaction.
async fn tell_older(tx: &mut Tx, version: i64) -> Result<(), StoreError> {
    meta::set(tx, OLDEST_NAME, &oldest_after(version).to_string()).await
}

/// The checksum of each migration that was applied.
fn applied(rows: &[crate::db::Row]) -> Result<BTreeMap<i64, Vec<u8>>, StoreError> {
    rows.iter().map(|row| Ok((row.int("version")?, row.bytes("checksum")?))).collect()
}

/// The first migration that is missing, when all others are as this program has them.
fn missing(db: &Db, applied: &BTreeMap<i64, Vec<u8>>, newest: i64) -> Result<Option<&'static Step>, StoreError> {
    for step in steps() {
        match applied.get(&step.version) {
            Some(found) if *found == checksum(if db.is_shared() { step.postgres() } else { step.sqlite() }) => {}
            Some(_) => return Err(StoreError::MigrationChanged { migration: step.name }),
            None if step.version > newest => return Ok(None),
            None => return Ok(Some(step)),
        }
    }
    Ok(None)
}

/// SHA-384 of what was run: as sqlx has it, whose table this is.
fn checksum(text: &str) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA384, text.as_bytes()).as_ref().to_vec()
}

/// How long somebody has been in the way, and whether that was said.
struct Waiting {
    patience: Patience,
    until: Instant,
    told: Option<String>,
    pause: Duration,
}

impl Waiting {
    /// Waits a while, or fails when the patience has ended. Each obstacle is told once.
    async fn or_give_up(&mut self, obstacle: Obstacle) -> Result<(), StoreError> {
        let now = Instant::now();
        if now >= self.until {
            let seconds = self.patience.0.as_secs();
            let holder =
                |holder: Option<Holder>| holder.map_or_else(|| "somebody who has gone since".to_owned(), |holder| holder.to_string());
            return Err(match obstacle {
                Obstacle::Lock(by) => StoreError::MigrationLocked { seconds, pid: by.as_ref().map(|by| by.pid), holder: holder(by) },
                Obstacle::Writer => StoreError::Busy { seconds },
                Obstacle::Table(step, by) => {
                    StoreError::MigrationBlocked { migration: step.name, seconds, pid: by.as_ref().map(|by| by.pid), holder: holder(by) }
                }
                Obstacle::Silence(source) => StoreError::Silent { seconds, source },
            });
        }
        let (what, who) = match &obstacle {
            Obstacle::Lock(by) => ("another program holds the migration lock", by.as_ref()),
            Obstacle::Writer => ("another program writes to the database", None),
            Obstacle::Table(_, by) => ("a migration waits for a table that somebody holds", by.as_ref()),
            Obstacle::Silence(_) => ("the database does not answer", None),
        };
        let told = format!("{what} {}", who.map_or(0, |who| who.pid));
        if self.told.as_ref() != Some(&told) {
            let left_s = self.until.duration_since(now).as_secs();
            let holder = who.map(ToString::to_string);
            tracing::warn!(holder, left_s, "{what}; waiting");
            self.told = Some(told);
        }
        self.pause = match obstacle {
            // Cheap to ask, and often short.
            Obstacle::Lock(_) | Obstacle::Writer => SHORTEST_PAUSE,
            // Meanwhile the traffic gets what it waited for.
            Obstacle::Table(..) | Obstacle::Silence(_) => (self.pause * 2).min(LONGEST_PAUSE),
        };
        tokio::time::sleep(self.pause.min(self.until.duration_since(now))).await;
        Ok(())
    }
}

fn sql_state(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(std::borrow::Cow::into_owned)
}

fn millis(time: Duration) -> u128 {
    time.as_millis()
}

/// "cert" and "migr": of the advisory locks of this database, the one for migrations. Held by a transaction, so that a pooler between does not matter.
pub const LOCK: (i32, i32) = (0x6365_7274, 0x6d69_6772);
/// How long a migration may stand in the queue for a table, and everybody who comes after it with it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one look for the writer of an SQLite file takes.
const BUSY: Duration = Duration::from_millis(500);
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// As sqlx makes it.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
     installed_on {time} NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum {bytes} NOT NULL, execution_time BIGINT NOT NULL)";
const APPLIED: &str = "SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version";

// PostgreSQL, appendix A.
const LOCK_NOT_AVAILABLE: &str = "55P03";
const DEADLOCK: &str = "40P01";
const QUERY_CANCELED: &str = "57014";
