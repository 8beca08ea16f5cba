//! What grows is pruned: one function per growing table, each in batches that hold no lock for long.
//!
//! Fleet counters fold themselves ([`crate::counters::fold`]); nouns, versions and revocations are kept for as long as they are wanted.

use std::collections::BTreeMap;

use certctl_domain::time::Timestamp;
use time::Duration;

use crate::audit;
use crate::db::{Value, sql};
use crate::error::StoreError;
use crate::store::{Store, Who};

/// For how long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Audit events; `None` keeps them for ever. Only what a checkpoint covers is ever removed.
    pub audit: Option<Duration>,
    /// Jobs that have ended; the last one of each certificate stays.
    pub jobs: Duration,
    /// Notifications, from when they were delivered, or written when nobody delivers them.
    pub outbox: Duration,
    /// Enrolment tokens after their end.
    pub enrollment_tokens: Duration,
    /// What was signed or ordered, after its job has ended.
    pub issuances: Duration,
}

impl Default for RetentionPolicy {
    fn default() -> Self {
        Self {
            audit: None,
            jobs: Duration::days(90),
            outbox: Duration::days(30),
            enrollment_tokens: Duration::days(30),
            issuances: Duration::days(7),
        }
    }
}

/// Prunes everything once, and says how many rows of which table went.
///
/// # Errors
/// When the database fails; what went before stays away.
pub async fn prune_all(store: &Store, now: Timestamp, policy: &RetentionPolicy) -> Result<BTreeMap<&'static str, u64>, StoreError> {
    let mut pruned = BTreeMap::new();
    pruned.insert("issuances", issuances(store, now, policy.issuances).await?);
    pruned.insert("jobs", jobs(store, now, policy.jobs).await?);
    pruned.insert("idempotency_keys", idempotency_keys(store, now).await?);
    pruned.insert("secrets", former_secrets(store, now).await?);
    pruned.insert("outbox", outbox(store, now, policy.outbox).await?);
    pruned.insert("enrollment_tokens", enrollment_tokens(store, now, policy.enrollment_tokens).await?);
    if let Some(keep) = policy.audit {
        pruned.insert("audit_events", audit_events(store, now, keep).await?);
    }
    Ok(pruned)
}

/// Audit events that are older than `keep` and covered by a checkpoint.
///
/// # Errors
/// When the database fails.
pub async fn audit_events(store: &Store, now: Timestamp, keep: Duration) -> Result<u64, StoreError> {
    match audit::prunable(store.db(), now.saturating_sub(keep)).await? {
        Some(through) => audit::prune(store, Who::task(TASK, now), through).await,
        None => Ok(0),
    }
}

/// Jobs that ended more than `keep` ago. The last job of a certificate stays, whatever its age: it says how things stand.
///
/// # Errors
/// When the database fails.
pub async fn jobs(store: &Store, now: Timestamp, keep: Duration) -> Result<u64, StoreError> {
    let before = now.saturating_sub(keep);
    let mut removed = 0;
    let mut last: Option<(Timestamp, String)> = None;
    loop {
        // By key, so that those that stay are passed once and not in every batch.
        let mut page = sql("SELECT id, completed_at FROM jobs WHERE completed_at < ");
        page.push_bind(before);
        if let Some((at, id)) = &last {
            page.push(" AND (completed_at, id) > (").push_bind(*at).push(", ").push_bind(id.as_str()).push(")");
        }
        page.push(&format!(" ORDER BY completed_at, id LIMIT {BATCH}"));
        let rows = store.db().fetch_all(page).await?;
        let Some(row) = rows.last() else {
            return Ok(removed);
        };
        last = Some((row.time("completed_at")?, row.text("id")?));
        let ids = rows.iter().map(|row| row.text("id").map(Value::from)).collect::<Result<Vec<_>, _>>()?;
        removed += remove_jobs(store, now, ids).await?;
    }
}

async fn remove_jobs(store: &Store, now: Timestamp, ids: Vec<Value>) -> Result<u64, StoreError> {
    let mut tx = store.write(Who::task(TASK, now)).await?;
    let mut statement = sql("DELETE FROM jobs WHERE id IN ").varying();
    statement.push_list(ids).push(
        " AND EXISTS (SELECT 1 FROM jobs newer WHERE newer.certificate_id = jobs.certificate_id
                      AND (newer.created_at, newer.id) > (jobs.created_at, jobs.id))
          RETURNING status",
    );
    let mut by_status: BTreeMap<String, i64> = BTreeMap::new();
    for row in tx.fetch_all(statement).await? {
        *by_status.entry(row.text("status")?).or_default() += 1;
    }
    let removed: i64 = by_status.values().sum();
    if removed == 0 {
        return Ok(0);
    }
    tx.count("jobs", -removed);
    for (status, n) in by_status {
        tx.count(&format!("jobs.status.{status}"), -n);
    }
    tx.commit_housekeeping("retention.jobs").await?;
    Ok(removed.unsigned_abs())
}

/// Kept answers of `Idempotency-Key` that have had their day.
///
/// # Errors
/// When the database fails.
pub async fn idempotency_keys(store: &Store, now: Timestamp) -> Result<u64, StoreError> {
    let batch = "DELETE FROM idempotency_keys WHERE (actor, key) IN
                 (SELECT actor, key FROM idempotency_keys WHERE created_at <= $1 ORDER BY created_at LIMIT $2)";
    remove(store, now, batch, now.saturating_sub(crate::idempotency::KEPT)).await
}

/// Secrets of settings that were replaced or deleted. A day is left for whoever has read the settings just before.
///
/// # Errors
/// When the database fails.
pub async fn former_secrets(store: &Store, now: Timestamp) -> Result<u64, StoreError> {
    let batch = "DELETE FROM secrets WHERE id IN (SELECT id FROM secrets s WHERE s.purpose = 'config' AND s.created_at < $1
                 AND NOT EXISTS (SELECT 1 FROM issuers i WHERE i.secret_id = s.id)
                 AND NOT EXISTS (SELECT 1 FROM targets t WHERE t.secret_id = s.id) LIMIT $2)";
    remove(store, now, batch, now.saturating_sub(Duration::days(1))).await
}

/// Notifications that were delivered more than `keep` ago, or that nobody delivered for as long.
///
/// # Errors
/// When the database fails.
pub async fn outbox(store: &Store, now: Timestamp, keep: Duration) -> Result<u64, StoreError> {
    let batch =
        "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE done_at < $1 OR (done_at IS NULL AND created_at < $1) LIMIT $2)";
    remove(store, now, batch, now.saturating_sub(keep)).await
}

/// Enrolment tokens, used or not, that ended more than `keep` ago.
///
/// # Errors
/// When the database fails.
pub async fn enrollment_tokens(store: &Store, now: Timestamp, keep: Duration) -> Result<u64, StoreError> {
    let batch = "DELETE FROM enrollment_tokens WHERE id IN (SELECT id FROM enrollment_tokens WHERE expires_at < $1 LIMIT $2)";
    remove(store, now, batch, now.saturating_sub(keep)).await
}

/// What was signed or ordered for jobs that ended more than `keep` ago.
///
/// # Errors
/// When the database fails.
pub async fn issuances(store: &Store, now: Timestamp, keep: Duration) -> Result<u64, StoreError> {
    let batch = "DELETE FROM issuances WHERE job_id IN
                 (SELECT i.job_id FROM issuances i JOIN jobs j ON j.id = i.job_id WHERE j.completed_at < $1 LIMIT $2)";
    remove(store, now, batch, now.saturating_sub(keep)).await
}

/// Repeats a statement with `$1` an instant and `$2` the size of a batch until a batch is not full.
async fn remove(store: &Store, now: Timestamp, batch: &'static str, before: Timestamp) -> Result<u64, StoreError> {
    let mut removed = 0;
    loop {
        let mut tx = store.write(Who::task(TASK, now)).await?;
        let n = tx.execute(sql(batch).bind(before).bind(BATCH)).await?;
        tx.commit_housekeeping("retention").await?;
        removed += n;
        if n < BATCH.unsigned_abs() {
            return Ok(removed);
        }
    }
}

const TASK: &str = "retention";
const BATCH: i64 = 1_000;
