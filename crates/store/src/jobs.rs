//! Jobs: written, claimed under a lease with a fencing number, reported, and put back when a holder dies.

use std::collections::BTreeSet;

use certctl_domain::auth::Reach;
use certctl_domain::ids::{AgentId, CertificateId, JobId, TargetId, VersionId};
use certctl_domain::job::{Job, JobKind, JobStatus};
use certctl_domain::list::{ListQuery, Page};
use certctl_domain::time::Timestamp;

use crate::db::{Db, Row, Tx, Value, sql};
use crate::error::StoreError;
use crate::store::{Store, Who, WriteTx};
use crate::table::{self, Kind, Scoped, Table, equals, one_of};

/// The worker name of the server; agents work under their id.
pub const SERVER: &str = "server";

/// A job with what is not shown.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// What is shown.
    pub job: Job,
    /// Who may take it: [`SERVER`], or an agent's id.
    pub worker: String,
    /// Who holds it.
    pub lease_holder: Option<String>,
    /// Until when.
    pub lease_expires_at: Option<Timestamp>,
    /// The request, once there is one.
    pub csr_pem: Option<String>,
    /// At most one job with this key has not ended.
    pub dedup_key: Option<String>,
}

/// The table of jobs.
pub const JOBS: Table = Table {
    name: "jobs",
    columns: &[
        ("id", Kind::Text),
        ("type", Kind::Text),
        ("certificate_id", Kind::Text),
        ("target_id", Kind::Text),
        ("agent_id", Kind::Text),
        ("version_id", Kind::Text),
        ("status", Kind::Text),
        ("reason", Kind::Text),
        ("hint", Kind::Text),
        ("scheduled_at", Kind::Time),
        ("attempts", Kind::Int),
        ("max_attempts", Kind::Int),
        ("last_error", Kind::Text),
        ("progress", Kind::Json),
        ("verification", Kind::Json),
        ("requested_by", Kind::Text),
        ("fence", Kind::Int),
        ("created_at", Kind::Time),
        ("started_at", Kind::Time),
        ("completed_at", Kind::Time),
        ("updated_at", Kind::Time),
    ],
    search: &[
        "id",
        "reason",
        "EXISTS (SELECT 1 FROM certificates c WHERE c.id = jobs.certificate_id AND lower(c.name) LIKE $q ESCAPE '\\')",
    ],
    filters: &[
        one_of!("status", JobStatus, "status = $?"),
        one_of!("type", JobKind, "type = $?"),
        equals("certificate_id", Kind::Text, "certificate_id = $?"),
        equals("target_id", Kind::Text, "target_id = $?"),
        equals("agent_id", Kind::Text, "agent_id = $?"),
        equals("version_id", Kind::Text, "version_id = $?"),
        equals("created_after", Kind::Time, "created_at > $?"),
        equals("created_before", Kind::Time, "created_at < $?"),
    ],
    sorts: &["created_at"],
    scope: Scoped {
        profile: Some("(SELECT c.certificate_profile_id FROM certificates c WHERE c.id = jobs.certificate_id)"),
        issuer: Some("(SELECT c.issuer_id FROM certificates c WHERE c.id = jobs.certificate_id)"),
    },
    counter: Some("jobs"),
};

/// The counter of jobs in a status.
#[must_use]
pub fn status_counter(status: JobStatus) -> String {
    format!("jobs.status.{}", status.as_str())
}

/// Writes a new job, unless one with the same dedup key has not ended; then gives that one's id.
///
/// # Errors
/// When the database fails.
pub async fn insert(tx: &mut WriteTx, row: &JobRow) -> Result<Result<(), JobId>, StoreError> {
    if insert_all(tx, std::slice::from_ref(row)).await?.contains(&row.job.id) {
        return Ok(Ok(()));
    }
    let found = tx.fetch_optional(sql("SELECT id FROM jobs WHERE dedup_key = $1").bind(row.dedup_key.clone())).await?;
    // It was there a moment ago: what waits for a lock sees the row that it waited for, unless that ended meanwhile.
    Ok(Err(found.ok_or(StoreError::Stale)?.id("id")?))
}

/// Writes new jobs, but none whose dedup key another one has that has not ended; gives the ids of those that were written.
///
/// # Errors
/// When the database fails.
pub async fn insert_all(tx: &mut WriteTx, rows: &[JobRow]) -> Result<BTreeSet<JobId>, StoreError> {
    let mut written = BTreeSet::new();
    for part in rows.chunks(ROWS_AT_ONCE) {
        let mut statement = sql(format!(
            "INSERT INTO jobs ({}, worker, lease_holder, lease_expires_at, csr_pem, dedup_key) VALUES ",
            table::column_names(&JOBS)
        ));
        statement.push_rows(part.iter().map(values_of).collect::<Result<Vec<_>, _>>()?);
        statement.push(" ON CONFLICT (dedup_key) WHERE dedup_key IS NOT NULL DO NOTHING RETURNING id");
        // A text with many rows is not worth keeping for the next time.
        let statement = if part.len() > 1 { statement.varying() } else { statement };
        written.extend(tx.fetch_all(statement).await?.iter().map(|row| row.id("id")).collect::<Result<Vec<JobId>, _>>()?);
    }
    for row in rows.iter().filter(|row| written.contains(&row.job.id)) {
        tx.count("jobs", 1);
        tx.count(&status_counter(row.job.status), 1);
    }
    Ok(written)
}

/// Writes a changed job. An ended one frees its dedup key and its lease.
///
/// # Errors
/// When the database fails.
pub async fn update(tx: &mut WriteTx, old: JobStatus, row: &JobRow) -> Result<(), StoreError> {
    let mut row = row.clone();
    if row.job.status.is_over() {
        row.dedup_key = None;
        row.lease_holder = None;
        row.lease_expires_at = None;
    }
    let mut statement = sql("UPDATE jobs SET ");
    let names = JOBS.columns.iter().map(|(name, _)| *name).chain(["worker", "lease_holder", "lease_expires_at", "csr_pem", "dedup_key"]);
    for (i, (name, value)) in names.zip(values_of(&row)?).enumerate() {
        statement.push(if i > 0 { ", " } else { "" }).push(name).push(" = ").push_bind(value);
    }
    statement.push(" WHERE id = ").push_bind(&row.job.id);
    if tx.execute(statement).await? == 0 {
        return Err(StoreError::Stale);
    }
    if old != row.job.status {
        tx.count(&status_counter(old), -1);
        tx.count(&status_counter(row.job.status), 1);
        if row.job.status.is_over() {
            // Monotonic, for rates: the gauge above falls when old jobs are pruned.
            tx.count(&format!("jobs.ended.{}.{}", row.job.kind.as_str(), row.job.status.as_str()), 1);
        }
    }
    Ok(())
}

/// Reads one.
///
/// # Errors
/// When the database fails.
pub async fn get(db: &Db, id: &JobId) -> Result<Option<JobRow>, StoreError> {
    db.fetch_optional(select("id = $1", "").bind(id)).await?.map(|row| read(&row)).transpose()
}

/// Reads one and keeps others from changing it until the commit.
///
/// # Errors
/// When the database fails.
pub async fn get_for_update(tx: &mut WriteTx, id: &JobId) -> Result<Option<JobRow>, StoreError> {
    let statement = select("id = $1", tx.for_update()).bind(id);
    tx.fetch_optional(statement).await?.map(|row| read(&row)).transpose()
}

/// The certificate that a job belongs to; nothing is locked.
///
/// # Errors
/// When the database fails.
pub async fn certificate_of(tx: &mut WriteTx, id: &JobId) -> Result<Option<CertificateId>, StoreError> {
    tx.fetch_optional(sql("SELECT certificate_id FROM jobs WHERE id = $1").bind(id)).await?.map(|row| row.id("certificate_id")).transpose()
}

/// One page of what `reach` allows to see.
///
/// # Errors
/// When the query is not one of this table, or the database fails.
pub async fn list(db: &Db, query: &ListQuery, reach: &Reach) -> Result<Page<Job>, StoreError> {
    table::list_rows(db, &JOBS, query, reach, table::from_row::<Job>).await
}

/// The jobs of a certificate that have not ended.
///
/// # Errors
/// When the database fails.
pub async fn open_of_certificate(tx: &mut Tx, id: &CertificateId) -> Result<Vec<JobRow>, StoreError> {
    let statement = select(OPEN_OF_CERTIFICATE, tx.for_update()).bind(id);
    tx.fetch_all(statement).await?.iter().map(read).collect()
}

/// As [`open_of_certificate`], of several certificates.
///
/// # Errors
/// When the database fails.
pub async fn open_of_certificates(tx: &mut Tx, ids: &[CertificateId]) -> Result<Vec<JobRow>, StoreError> {
    let mut statement = select("certificate_id IN ", "");
    statement.push_list(ids.iter().map(Value::from)).push(" AND completed_at IS NULL ORDER BY certificate_id, created_at, id");
    statement.push(tx.for_update());
    tx.fetch_all(statement).await?.iter().map(read).collect()
}

/// As [`open_of_certificate`], outside a transaction.
///
/// # Errors
/// When the database fails.
pub async fn read_open_of_certificate(db: &Db, id: &CertificateId) -> Result<Vec<JobRow>, StoreError> {
    db.fetch_all(select(OPEN_OF_CERTIFICATE, "").bind(id)).await?.iter().map(read).collect()
}

/// The newest jobs of a certificate.
///
/// # Errors
/// When the database fails.
pub async fn latest_of_certificate(db: &Db, id: &CertificateId, limit: i64) -> Result<Vec<Job>, StoreError> {
    let rows = db.fetch_all(select("certificate_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2", "").bind(id).bind(limit)).await?;
    rows.iter().map(|row| table::from_row(&JOBS, row)).collect()
}

/// Who takes how many jobs, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Whose jobs: [`SERVER`], or an agent's id.
    pub worker: &'a str,
    /// Who takes them.
    pub holder: &'a str,
    /// For how long without a sign of life.
    pub lease: time::Duration,
    /// At the most.
    pub limit: i64,
}

/// Takes up to `limit` jobs that are due for `worker`: each gets a lease for `holder` and the next fencing number.
/// What waits for a CSR keeps its status; everything else becomes Running.
///
/// # Errors
/// When the database fails; then nothing is taken.
pub async fn claim(store: &Store, who: Who, claim: Claim<'_>) -> Result<Vec<JobRow>, StoreError> {
    let Claim { worker, holder, lease, limit } = claim;
    let now = who.at;
    // Looked at without a lock first: an idle poll costs one read and no transaction.
    let waiting = sql("SELECT 1 AS n FROM jobs WHERE worker = $1 AND status IN ('Pending', 'AwaitingCSR') AND scheduled_at <= $2
             AND (lease_expires_at IS NULL OR lease_expires_at <= $2) LIMIT 1")
    .bind(worker)
    .bind(now);
    if store.db().fetch_optional(waiting).await?.is_none() {
        return Ok(Vec::new());
    }
    let mut tx = store.write(who).await?;
    let statement = select(
        "worker = $1 AND status IN ('Pending', 'AwaitingCSR') AND scheduled_at <= $2
             AND (lease_expires_at IS NULL OR lease_expires_at <= $2) ORDER BY scheduled_at, id LIMIT $3",
        tx.skip_locked(),
    )
    .bind(worker)
    .bind(now)
    .bind(limit);
    let rows = tx.fetch_all(statement).await?;
    let mut taken = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut row = read(row)?;
        let old = row.job.status;
        row.job.fence += 1;
        row.lease_holder = Some(holder.to_owned());
        row.lease_expires_at = Some(now.saturating_add(lease));
        if old == JobStatus::Pending {
            let attempts = row.job.attempts + 1;
            row.job = row
                .job
                .become_status(JobStatus::Running, format!("worked on by {holder}"), now)
                .map_err(|e| StoreError::corrupt(e.to_string()))?;
            row.job.attempts = attempts;
        } else {
            row.job.reason = format!("{holder} makes the key and the request");
            row.job.started_at = row.job.started_at.or(Some(now));
            row.job.updated_at = now;
        }
        update(&mut tx, old, &row).await?;
        taken.push(row);
    }
    tx.wake(crate::Topic::Progress);
    tx.commit_housekeeping("jobs.claim").await?;
    Ok(taken)
}

/// Renews the lease under which somebody works on a job. `false` when it went to somebody else.
///
/// # Errors
/// When the database fails.
pub async fn keep_lease(store: &Store, (id, fence): (&JobId, i64), now: Timestamp, lease: time::Duration) -> Result<bool, StoreError> {
    let mut tx = store.write(Who::task("job_worker", now)).await?;
    let statement = sql("UPDATE jobs SET lease_expires_at = $3 WHERE id = $1 AND fence = $2 AND status = 'Running'")
        .bind(id)
        .bind(fence)
        .bind(now.saturating_add(lease));
    let kept = tx.execute(statement).await? > 0;
    tx.commit_housekeeping("jobs.keep_lease").await?;
    Ok(kept)
}

/// Has a job of the server that waits for a time be taken up at once: what it waits for has come. `false` when it does not wait.
///
/// # Errors
/// When the database fails.
pub async fn hasten(tx: &mut WriteTx, id: &JobId) -> Result<bool, StoreError> {
    let now = tx.now();
    let statement = sql("UPDATE jobs SET scheduled_at = $2 WHERE id = $1 AND worker = $3 AND status = 'Pending' AND scheduled_at > $2")
        .bind(id)
        .bind(now)
        .bind(SERVER);
    Ok(tx.execute(statement).await? > 0)
}

/// Running jobs whose holder let its lease end, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn abandoned(db: &Db, now: Timestamp, limit: i64) -> Result<Vec<JobId>, StoreError> {
    let statement = sql("SELECT id FROM jobs WHERE lease_expires_at IS NOT NULL AND lease_expires_at <= $1 AND status = 'Running' ORDER BY lease_expires_at LIMIT $2")
        .bind(now)
        .bind(limit);
    db.fetch_all(statement).await?.iter().map(|row| row.id("id")).collect()
}

/// How often a version was put on a target with success.
///
/// # Errors
/// When the database fails.
pub async fn ended_deployments(tx: &mut WriteTx, target: &TargetId, version: &VersionId) -> Result<i64, StoreError> {
    let statement =
        sql("SELECT count(*) AS n FROM jobs WHERE target_id = $1 AND version_id = $2 AND type = 'Deployment' AND status = 'Completed'")
            .bind(target)
            .bind(version);
    tx.fetch_optional(statement).await?.map_or(Ok(0), |row| row.int("n"))
}

/// When the next job of a worker can be taken: when it is due, and nobody holds it any more.
///
/// # Errors
/// When the database fails.
pub async fn next_due(db: &Db, worker: &str) -> Result<Option<Timestamp>, StoreError> {
    let statement = sql("SELECT MIN(CASE WHEN lease_expires_at > scheduled_at THEN lease_expires_at ELSE scheduled_at END) AS at
             FROM jobs WHERE worker = $1 AND status IN ('Pending', 'AwaitingCSR')")
    .bind(worker);
    db.fetch_optional(statement).await?.map_or(Ok(None), |row| row.opt_time("at"))
}

/// When the oldest job that could be worked on by the server was due: the age of the queue.
///
/// # Errors
/// When the database fails.
pub async fn oldest_due(db: &Db, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    Ok(next_due(db, SERVER).await?.filter(|at| *at <= now))
}

/// The jobs of an agent that have not ended.
///
/// # Errors
/// When the database fails.
pub async fn open_of_agent_for_update(tx: &mut WriteTx, id: &AgentId) -> Result<Vec<JobRow>, StoreError> {
    let statement = select("agent_id = $1 AND completed_at IS NULL ORDER BY id", tx.for_update()).bind(id);
    tx.fetch_all(statement).await?.iter().map(read).collect()
}

/// Far below what either database takes as values of one statement.
const ROWS_AT_ONCE: usize = 100;

const OPEN_OF_CERTIFICATE: &str = "certificate_id = $1 AND completed_at IS NULL ORDER BY created_at, id";

fn select(condition: &str, suffix: &str) -> crate::db::Sql {
    sql(format!(
        "SELECT {}, worker, lease_holder, lease_expires_at, csr_pem, dedup_key FROM jobs WHERE {condition}{suffix}",
        table::column_names(&JOBS)
    ))
}

fn read(row: &Row) -> Result<JobRow, StoreError> {
    Ok(JobRow {
        job: table::from_row(&JOBS, row)?,
        worker: row.text("worker")?,
        lease_holder: row.opt_text("lease_holder")?,
        lease_expires_at: row.opt_time("lease_expires_at")?,
        csr_pem: row.opt_text("csr_pem")?,
        dedup_key: row.opt_text("dedup_key")?,
    })
}

fn values_of(row: &JobRow) -> Result<Vec<Value>, StoreError> {
    let fields = table::fields_of(&row.job)?;
    let mut values = table::values_of(&JOBS, &fields)?;
    values.extend([
        Value::from(row.worker.as_str()),
        Value::from(row.lease_holder.clone()),
        Value::from(row.lease_expires_at),
        Value::from(row.csr_pem.clone()),
        Value::from(row.dedup_key.clone()),
    ]);
    Ok(values)
}
