//! The server's own worker, the reaper of abandoned jobs, and what callers do with jobs.

use std::sync::Arc;
use std::time::Duration;

use certctl_connector_core::fault;
use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::certificate::Certificate;
use certctl_domain::ids::JobId;
use certctl_domain::job::{Job, JobKind, JobStatus};
use certctl_domain::list::{ListQuery, Page};
use certctl_domain::time::Timestamp;
use certctl_store::jobs::{self, JobRow, SERVER};
use certctl_store::{Topic, Who, WriteTx, table};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::crud::Managed as _;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::{Engine, issue, renewal, verify};

/// Works on the server's jobs until `stop`: claims in batches, wakes at once, and looks by itself when nothing wakes it.
pub async fn work(engine: Arc<Engine>, stop: CancellationToken) {
    let ctx = Ctx::system(&engine, "job_worker");
    let mut running = JoinSet::new();
    loop {
        let waiting = engine.store().wake().wait_for(Topic::Jobs);
        let room = engine.options().worker.concurrency.saturating_sub(running.len());
        let claimed = if room > 0 { claim(&ctx, room).await } else { Vec::new() };
        let full = claimed.len() == room;
        if !claimed.is_empty() {
            fault::point("job.claimed");
        }
        for row in claimed {
            let ctx = ctx.clone();
            running.spawn(async move { run(&ctx, row).await });
        }
        if full && !running.is_empty() {
            tokio::select! {
                _ended = running.join_next() => {}
                () = stop.cancelled() => break,
            }
            continue;
        }
        let pause = pause(&ctx).await;
        tokio::select! {
            () = waiting => {}
            _ended = running.join_next(), if !running.is_empty() => {}
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => break,
        }
    }
    // What was begun is brought to an end; the caller's time budget cuts it short.
    while running.join_next().await.is_some() {}
}

async fn claim(ctx: &Ctx, room: usize) -> Vec<JobRow> {
    let who = Who { actor: SERVER.to_owned(), kind: ctx.kind(), request_id: None, at: ctx.now() };
    let limit = i64::try_from(room).unwrap_or(1);
    match jobs::claim(
        ctx.store(),
        who,
        jobs::Claim { worker: SERVER, holder: ctx.engine().holder(), lease: ctx.engine().options().worker.lease, limit },
    )
    .await
    {
        Ok(rows) => rows,
        Err(error) => {
            tracing::warn!(error = %error, cause = ?std::error::Error::source(&error).map(ToString::to_string), "jobs cannot be claimed");
            Vec::new()
        }
    }
}

/// Until the next job is due, or a few seconds: the fallback when a wake-up was lost.
async fn pause(ctx: &Ctx) -> Duration {
    let due = jobs::next_due(ctx.store().db(), SERVER).await.ok().flatten();
    let until = due.map(|at| Duration::try_from(ctx.now().until(at)).unwrap_or(Duration::ZERO));
    let longest = ctx.engine().options().worker.poll_every;
    until.unwrap_or(longest).clamp(Duration::from_millis(50).min(longest), longest)
}

async fn run(ctx: &Ctx, row: JobRow) {
    let id = row.job.id.clone();
    let (kind, fence) = (row.job.kind, row.job.fence);
    let work = async {
        match kind {
            JobKind::Issuance | JobKind::Renewal => issue::run(ctx, row).await,
            JobKind::Validation => verify::run(ctx, row).await,
            JobKind::Deployment => Err(Error::internal("a deployment came to the server's worker")),
        }
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        never = keep_lease(ctx, &id, fence) => match never {},
    };
    if let Err(error) = outcome {
        // The lease ends and the job is taken up again: nothing is lost.
        tracing::error!(job.id = %id, job.kind = kind.as_str(), error = %error, cause = ?std::error::Error::source(&error).map(ToString::to_string), "a job could not be worked on");
    }
}

/// Renews the lease of a job for as long as it is worked on, however short it is. Where that fails, the fencing number keeps two from
/// doing the same.
async fn keep_lease(ctx: &Ctx, id: &JobId, fence: i64) -> std::convert::Infallible {
    let lease = ctx.engine().options().worker.lease;
    loop {
        tokio::time::sleep(Duration::try_from(lease / 3_i32).unwrap_or(Duration::from_secs(20))).await;
        if let Err(error) = jobs::keep_lease(ctx.store(), (id, fence), ctx.now(), lease).await {
            tracing::warn!(job.id = %id, error = %error, "the lease of a job cannot be renewed");
        }
    }
}

/// Puts back jobs whose holder let its lease end; gives how many there were.
///
/// # Errors
/// When the database fails.
pub async fn reap(ctx: &Ctx) -> Result<usize> {
    let mut n = 0;
    for id in jobs::abandoned(ctx.store().db(), ctx.now(), 200).await? {
        let mut tx = ctx.write().await?;
        let Some(mut row) = jobs::get_for_update(&mut tx, &id).await? else {
            continue;
        };
        let now = ctx.now();
        if row.job.status != JobStatus::Running || row.lease_expires_at.is_none_or(|at| at > now) {
            continue;
        }
        let holder = row.lease_holder.take().unwrap_or_default();
        row.lease_expires_at = None;
        row.job = row
            .job
            .become_status(JobStatus::Pending, format!("{holder} let its lease end; tried again"), now)
            .map_err(|e| Error::internal(e.to_string()))?;
        row.job.scheduled_at = now;
        jobs::update(&mut tx, JobStatus::Running, &row).await?;
        tx.wake(if row.worker == SERVER { Topic::Jobs } else { row.job.agent_id.clone().map_or(Topic::Jobs, Topic::Agent) });
        tx.wake(Topic::Progress);
        tx.commit(Audit::new(AuditCategory::CertLifecycle, "job.reap", "job", &id).with("holder", holder)).await?;
        n += 1;
    }
    Ok(n)
}

/// A job with its certificate, both kept from others until the commit. Everybody locks the certificate before its jobs: who did it the
/// other way round would wait for somebody who waits for them.
///
/// # Errors
/// When the database fails.
pub async fn with_certificate(tx: &mut WriteTx, id: &JobId) -> Result<Option<(JobRow, Certificate)>> {
    // Which certificate it belongs to never changes.
    let Some(certificate) = jobs::certificate_of(tx, id).await? else {
        return Ok(None);
    };
    let certificate = table::get_for_update::<Certificate>(tx, &certificate).await?;
    Ok(jobs::get_for_update(tx, id).await?.zip(certificate))
}

/// Reads one.
///
/// # Errors
/// When there is none, or the caller may not know of it.
pub async fn get(ctx: &Ctx, id: &JobId) -> Result<Job> {
    let row = jobs::get(ctx.store().db(), id).await?.ok_or_else(|| Error::not_found("job", id))?;
    if !ctx.reach().everywhere {
        let certificate = table::get::<Certificate>(ctx.store().db(), &row.job.certificate_id).await?;
        if !certificate.is_some_and(|certificate| certificate.is_within(ctx)) {
            return Err(Error::not_found("job", id));
        }
    }
    Ok(row.job)
}

/// Reads one as soon as it is another than it was at `since`, or after `wait`.
///
/// # Errors
/// As [`get`].
pub async fn watch(ctx: &Ctx, id: &JobId, since: Option<Timestamp>, wait: Duration) -> Result<Job> {
    let deadline = tokio::time::Instant::now() + wait.min(Duration::from_secs(55));
    loop {
        let waiting = ctx.store().wake().wait_for(Topic::Progress);
        let job = get(ctx, id).await?;
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if left.is_zero() || job.status.is_over() || since.is_none_or(|since| job.updated_at > since) {
            return Ok(job);
        }
        tokio::select! {
            () = waiting => {}
            () = tokio::time::sleep(left.min(Duration::from_secs(2))) => {}
            () = ctx.engine().stopping() => return Ok(job),
        }
    }
}

/// Reads one page.
///
/// # Errors
/// When the query is not one of this list.
pub async fn list(ctx: &Ctx, query: &ListQuery) -> Result<Page<Job>> {
    Ok(jobs::list(ctx.store().db(), query, ctx.reach()).await?)
}

/// Stops a job that has not ended.
///
/// # Errors
/// When it has ended.
pub async fn cancel(ctx: &Ctx, id: &JobId) -> Result<Job> {
    get(ctx, id).await?;
    let mut tx = ctx.write().await?;
    let (mut row, _) = with_certificate(&mut tx, id).await?.ok_or_else(|| Error::not_found("job", id))?;
    let old = row.job.status;
    let why = format!("cancelled by {}", ctx.actor());
    row.job =
        row.job.become_status(JobStatus::Cancelled, why.clone(), ctx.now()).map_err(|e| Error::conflict("job_over", e.to_string()))?;
    jobs::update(&mut tx, old, &row).await?;
    renewal::after_stop(&mut tx, &row.job, &why).await?;
    // What it answers for this job is to be taken back.
    row.job.agent_id.iter().for_each(|agent| tx.wake(Topic::Agent(agent.clone())));
    tx.wake(Topic::Progress);
    tx.commit(Audit::new(AuditCategory::CertLifecycle, "job.cancel", "job", id).with("was", old.as_str())).await?;
    Ok(row.job)
}
