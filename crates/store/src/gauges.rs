//! What a look at the installation reads beside the fleet's counters: the ends of indexes, and lists that are cut. None of it costs more
//! in a large fleet than in a small one.

use std::collections::BTreeMap;

use certctl_domain::agent::AgentStatus;
use certctl_domain::ids::IssuerId;
use certctl_domain::job::JobStatus;
use certctl_domain::time::Timestamp;

use crate::db::{Db, sql};
use crate::error::StoreError;

/// What is oldest, and what ends first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edges {
    /// The end of the version in use that ends first, of certificates that are neither expired, revoked nor archived.
    pub next_expiry: Option<Timestamp>,
    /// When the oldest job was made that stands in a status, of the statuses of a job that has not ended.
    pub oldest_jobs: BTreeMap<JobStatus, Timestamp>,
}

/// An agent that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAgent {
    /// Its name.
    pub name: String,
    /// When it was last heard of.
    pub heard_at: Timestamp,
    /// How far its clock is ahead, in milliseconds, as last measured.
    pub clock_skew_ms: Option<i64>,
}

/// Reads the ends of indexes, in one statement.
///
/// # Errors
/// When the database fails.
pub async fn edges(db: &Db, now: Timestamp) -> Result<Edges, StoreError> {
    let mut statement = sql("SELECT (SELECT expires_at FROM certificates WHERE expires_at > $1 AND status NOT IN ('Revoked', 'Archived')
                     ORDER BY expires_at LIMIT 1) AS next_expiry")
    .bind(now);
    for status in open_statuses() {
        let status = status.as_str();
        statement.push(&format!(", (SELECT MIN(created_at) FROM jobs WHERE status = '{status}') AS \"{status}\""));
    }
    let Some(row) = db.fetch_optional(statement).await? else {
        return Ok(Edges::default());
    };
    let oldest = open_statuses().map(|status| Ok(row.opt_time(status.as_str())?.map(|at| (status, at))));
    let oldest_jobs = oldest.filter_map(Result::transpose).collect::<Result<_, StoreError>>()?;
    Ok(Edges { next_expiry: row.opt_time("next_expiry")?, oldest_jobs })
}

/// The agents in a status, at most [`MOST_AGENTS`], those first that were heard of last. One that was never heard of has not fallen
/// silent, and one that is retired need not speak.
///
/// # Errors
/// When the database fails.
pub async fn agents_in(db: &Db, status: AgentStatus) -> Result<Vec<NamedAgent>, StoreError> {
    let statement = sql("SELECT name, last_heartbeat_at, clock_skew_ms FROM agents
             WHERE status = $1 AND retired_at IS NULL AND last_heartbeat_at IS NOT NULL ORDER BY last_heartbeat_at DESC, name LIMIT $2")
    .bind(status.as_str())
    .bind(MOST_AGENTS);
    let read = |row: &crate::db::Row| {
        Ok(NamedAgent { name: row.text("name")?, heard_at: row.time("last_heartbeat_at")?, clock_skew_ms: row.opt_int("clock_skew_ms")? })
    };
    db.fetch_all(statement).await?.iter().map(read).collect()
}

/// Issuers and whether they may be asked, at most [`MOST_ISSUERS`].
///
/// # Errors
/// When the database fails.
pub async fn issuers(db: &Db) -> Result<Vec<(IssuerId, bool)>, StoreError> {
    let rows = db.fetch_all(sql("SELECT id, enabled FROM issuers ORDER BY id LIMIT $1").bind(MOST_ISSUERS)).await?;
    rows.iter().map(|row| Ok((row.id("id")?, row.bool("enabled")?))).collect()
}

fn open_statuses() -> impl Iterator<Item = JobStatus> {
    JobStatus::ALL.into_iter().filter(|status| !status.is_over())
}

/// Agents that are named; more would be as many series.
pub const MOST_AGENTS: i64 = 50;

/// Issuers that are named.
pub const MOST_ISSUERS: i64 = 200;
