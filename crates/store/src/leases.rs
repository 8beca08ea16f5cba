//! Cluster leases: of several replicas, one runs a periodic task, and another takes over when it dies.
//!
//! Instants are arguments, so replicas whose clocks differ by more than the lease lasts may both believe that they hold it. The fencing
//! number tells them apart: it grows with every change of holder, and [`check`] refuses the older one inside a transaction.

use certctl_domain::time::Timestamp;

use crate::db::{Db, Row, Sql, Tx, sql};
use crate::error::StoreError;
use crate::store::{Store, Who};

/// A lease that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The task.
    pub name: String,
    /// Grows with every change of holder.
    pub fence: i64,
    /// Until when it is held.
    pub expires_at: Timestamp,
}

/// A lease as it stands, for metrics and readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// The task.
    pub name: String,
    /// Who holds it, or held it last; `None` when it was given back.
    pub holder: Option<String>,
    /// Grows with every change of holder.
    pub fence: i64,
    /// Until when it is or was held.
    pub expires_at: Timestamp,
    /// When the task last succeeded.
    pub succeeded_at: Option<Timestamp>,
}

/// Who asks for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// One process; another name after every start.
    pub holder: &'a str,
    /// The instant of asking.
    pub now: Timestamp,
    /// For how long.
    pub ttl: time::Duration,
}

/// Takes a lease that is free or has expired, or renews one's own. `None` when somebody else holds it.
///
/// # Errors
/// When the database fails.
pub async fn acquire_or_renew(store: &Store, name: &str, candidate: Candidate<'_>) -> Result<Option<Lease>, StoreError> {
    let Candidate { holder, now, ttl } = candidate;
    // Most askers lose. They find out by reading, which waits for nobody.
    let found = get(store.db(), name).await?;
    if found.is_some_and(|row| row.expires_at > now && row.holder.is_some_and(|held_by| held_by != holder)) {
        return Ok(None);
    }
    let mut tx = store.write(Who::task("leases", now)).await?;
    let statement = sql("INSERT INTO leases (name, holder, fence, expires_at) VALUES ($1, $2, 1, $3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at,
                 fence = CASE WHEN leases.holder = excluded.holder THEN leases.fence ELSE leases.fence + 1 END
             WHERE leases.holder = excluded.holder OR leases.holder = '' OR leases.expires_at <= $4
             RETURNING fence, expires_at")
    .bind(name)
    .bind(holder)
    .bind(now.saturating_add(ttl))
    .bind(now);
    let Some(row) = tx.fetch_optional(statement).await? else {
        return Ok(None);
    };
    let lease = Lease { name: name.to_owned(), fence: row.int("fence")?, expires_at: row.time("expires_at")? };
    tx.commit_housekeeping("leases.acquire").await?;
    Ok(Some(lease))
}

/// Refuses to go on when the lease went to somebody else; otherwise keeps it until the commit.
///
/// # Errors
/// [`StoreError::Stale`] when it is no longer held under this number.
pub async fn check(tx: &mut Tx, lease: &Lease) -> Result<(), StoreError> {
    let statement = sql(format!("SELECT fence FROM leases WHERE name = $1{}", tx.for_update())).bind(lease.name.as_str());
    match tx.fetch_optional(statement).await? {
        Some(row) if row.int("fence")? == lease.fence => Ok(()),
        _ => Err(StoreError::Stale),
    }
}

/// Notes that the task of a lease succeeded. `false` when the lease went to somebody else meanwhile.
///
/// # Errors
/// When the database fails.
pub async fn mark_success(store: &Store, lease: &Lease, now: Timestamp) -> Result<bool, StoreError> {
    let statement =
        sql("UPDATE leases SET succeeded_at = $3 WHERE name = $1 AND fence = $2").bind(lease.name.as_str()).bind(lease.fence).bind(now);
    Ok(run(store, statement, now).await? > 0)
}

/// Gives a lease back, so that another replica need not wait for its end.
///
/// # Errors
/// When the database fails.
pub async fn release(store: &Store, lease: &Lease, now: Timestamp) -> Result<bool, StoreError> {
    let statement = sql("UPDATE leases SET holder = '', expires_at = $3 WHERE name = $1 AND fence = $2 AND holder <> ''")
        .bind(lease.name.as_str())
        .bind(lease.fence)
        .bind(now);
    Ok(run(store, statement, now).await? > 0)
}

/// Gives back all that a holder has; for shutdown.
///
/// # Errors
/// When the database fails.
pub async fn release_all(store: &Store, holder: &str, now: Timestamp) -> Result<u64, StoreError> {
    let statement = sql("UPDATE leases SET holder = '', expires_at = $2 WHERE holder = $1").bind(holder).bind(now);
    run(store, statement, now).await
}

/// One lease as it stands.
///
/// # Errors
/// When the database fails.
pub async fn get(db: &Db, name: &str) -> Result<Option<LeaseRow>, StoreError> {
    let mut statement = sql(SELECT);
    statement.push(" WHERE name = ").push_bind(name);
    db.fetch_optional(statement).await?.map(|row| read(&row)).transpose()
}

/// All leases, by name.
///
/// # Errors
/// When the database fails.
pub async fn list(db: &Db) -> Result<Vec<LeaseRow>, StoreError> {
    let mut statement = sql(SELECT);
    statement.push(" ORDER BY name");
    db.fetch_all(statement).await?.iter().map(read).collect()
}

async fn run(store: &Store, statement: Sql, now: Timestamp) -> Result<u64, StoreError> {
    let mut tx = store.write(Who::task("leases", now)).await?;
    let touched = tx.execute(statement).await?;
    tx.commit_housekeeping("leases").await?;
    Ok(touched)
}

fn read(row: &Row) -> Result<LeaseRow, StoreError> {
    Ok(LeaseRow {
        name: row.text("name")?,
        holder: Some(row.text("holder")?).filter(|holder| !holder.is_empty()),
        fence: row.int("fence")?,
        expires_at: row.time("expires_at")?,
        succeeded_at: row.opt_time("succeeded_at")?,
    })
}

const SELECT: &str = "SELECT name, holder, fence, expires_at, succeeded_at FROM leases";
