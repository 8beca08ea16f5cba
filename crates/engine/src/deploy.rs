//! Deployment: a job for each target, what agents report of it, and what follows.

use std::collections::BTreeSet;

use certctl_connector_core::fault;
use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::certificate::{Certificate, Version};
use certctl_domain::ids::{AgentId, Id as _, JobId, TargetId};
use certctl_domain::job::{Job, JobKind, JobStatus, JobStep, Verification, Witness};
use certctl_domain::notification::NotificationKind;
use certctl_store::jobs::{self, JobRow};
use certctl_store::{Topic, WriteTx, certificates, outbox};
use serde_json::{Map, json};

use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::verify;

/// What an agent says about a job that it holds.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The fence that it was given; `None` from agents that know of none.
    pub fence: Option<i64>,
    /// Steps since the last report.
    pub steps: Vec<JobStep>,
    /// What it saw served.
    pub observed_fingerprint: Option<String>,
    /// Where it looked, as address and server name.
    pub looked_at: Vec<(String, Option<String>)>,
    /// Why it failed.
    pub error: Option<String>,
    /// What an operator can do.
    pub hint: Option<String>,
    /// Whether trying again can help.
    pub retrying: Retrying,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Retrying {
    /// It may.
    #[default]
    Helps,
    /// Not before somebody changes something.
    Needless,
}

/// How the agent says it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Still at it.
    Running,
    /// Done.
    Completed,
    /// This attempt is over, without success.
    Failed,
}

/// Starts deployments of the versions in use on the certificate's targets, or on some of them. What is under way for older versions ends.
///
/// # Errors
/// When the database fails.
pub async fn start_on(
    ctx: &Ctx,
    tx: &mut WriteTx,
    certificate: &Certificate,
    only: Option<&BTreeSet<TargetId>>,
    why: &str,
) -> Result<Vec<Job>> {
    let versions = certificates::current_versions(tx, &certificate.id).await?;
    let mut started = Vec::new();
    for (target, agent) in certificates::live_targets(tx, &certificate.id).await? {
        if only.is_some_and(|only| !only.contains(&target)) {
            continue;
        }
        let Some(version) = versions.iter().find(|version| version.agent_id.as_ref() == Some(&agent)) else {
            continue;
        };
        started.extend(start(ctx, tx, version, (&target, &agent), why).await?);
    }
    Ok(started)
}

/// Starts deployments of one version on the targets of the agent that holds its key; those of other agents have their own.
///
/// # Errors
/// When the database fails.
pub async fn start_of(ctx: &Ctx, tx: &mut WriteTx, version: &Version, why: &str) -> Result<()> {
    for (target, agent) in certificates::live_targets(tx, &version.certificate_id).await? {
        if version.agent_id.as_ref() == Some(&agent) {
            start(ctx, tx, version, (&target, &agent), why).await?;
        }
    }
    Ok(())
}

async fn start(ctx: &Ctx, tx: &mut WriteTx, version: &Version, (target, agent): (&TargetId, &AgentId), why: &str) -> Result<Option<Job>> {
    let now = ctx.now();
    for mut row in jobs::open_of_certificate(tx, &version.certificate_id).await? {
        let same_target = row.job.target_id.as_ref() == Some(target) && matches!(row.job.kind, JobKind::Deployment | JobKind::Validation);
        if same_target && (row.job.version_id.as_ref() != Some(&version.id) || row.job.status != JobStatus::Running) {
            let old = row.job.status;
            row.job = row
                .job
                .become_status(JobStatus::Cancelled, format!("superseded: {why}"), now)
                .map_err(|e| Error::internal(e.to_string()))?;
            jobs::update(tx, old, &row).await?;
        }
    }
    let job = Job {
        id: ctx.new_id()?,
        kind: JobKind::Deployment,
        certificate_id: version.certificate_id.clone(),
        target_id: Some(target.clone()),
        agent_id: Some(agent.clone()),
        version_id: Some(version.id.clone()),
        status: JobStatus::Pending,
        reason: format!("{why}; waits for agent {agent}"),
        hint: None,
        scheduled_at: now,
        attempts: 0,
        max_attempts: 3,
        last_error: None,
        progress: Vec::new(),
        verification: Some(Verification { expected_fingerprint: version.fingerprint_sha256.to_string(), agent: None, server: None }),
        requested_by: ctx.actor().clone(),
        fence: 0,
        created_at: now,
        started_at: None,
        completed_at: None,
        updated_at: now,
    };
    let dedup_key = Some(format!("deploy:{}:{target}:{}", version.certificate_id, version.id));
    let row = JobRow { worker: agent.to_string(), lease_holder: None, lease_expires_at: None, csr_pem: None, dedup_key, job };
    tx.wake(Topic::Agent(agent.clone()));
    tx.wake(Topic::Progress);
    Ok(match jobs::insert(tx, &row).await? {
        Ok(()) => Some(row.job),
        Err(existing) => jobs::get_for_update(tx, &existing).await?.map(|row| row.job),
    })
}

/// Takes what an agent reports about a job. A report with an older fence is refused, and so is one by another agent.
///
/// # Errors
/// When the job is not this agent's, its lease was lost, or it has ended.
pub async fn report(ctx: &Ctx, agent: &AgentId, id: &JobId, progress: Progress, report: Report) -> Result<Job> {
    let mut tx = ctx.write().await?;
    // A report of progress touches the job alone; the end of one touches its certificate, which is locked first.
    let found = match progress {
        Progress::Running => jobs::get_for_update(&mut tx, id).await?.map(|row| (row, None)),
        Progress::Completed | Progress::Failed => {
            crate::jobs::with_certificate(&mut tx, id).await?.map(|(row, certificate)| (row, Some(certificate)))
        }
    };
    let (row, certificate) =
        found.filter(|(row, _)| row.job.agent_id.as_ref() == Some(agent)).ok_or_else(|| Error::not_found("job", id))?;
    if row.worker != agent.as_str() || row.job.status.is_over() {
        return Err(Error::conflict(
            "job_over",
            format!("job {id} is {} and takes no more reports: {}", row.job.status.as_str(), row.job.reason),
        ));
    }
    if report.fence.is_some_and(|fence| fence != row.job.fence) {
        return Err(lease_lost(id));
    }
    match progress {
        // It may have been put back since: what an agent does without a lease is not waited for.
        Progress::Running if row.job.status == JobStatus::Pending => Err(lease_lost(id)),
        Progress::Running => keep_going(ctx, tx, row, report).await,
        Progress::Completed if row.job.kind == JobKind::Deployment && row.job.status == JobStatus::Running => {
            completed(ctx, tx, (row, certificate), report).await
        }
        Progress::Completed => {
            Err(Error::conflict("job_state", format!("job {id} is {} and cannot be completed by a report", row.job.status.as_str())))
        }
        Progress::Failed => failed(ctx, tx, row, report).await,
    }
}

fn lease_lost(id: &JobId) -> Error {
    Error::conflict("lease_lost", format!("job {id} was handed out again meanwhile; this result is not taken"))
        .hint("poll for work: the job comes again if it is still to be done")
}

async fn keep_going(ctx: &Ctx, mut tx: WriteTx, mut row: JobRow, report: Report) -> Result<Job> {
    let old = row.job.status;
    row.lease_expires_at = Some(ctx.now().saturating_add(LEASE));
    note_steps(&mut row.job, report.steps);
    row.job.updated_at = ctx.now();
    jobs::update(&mut tx, old, &row).await?;
    tx.wake(Topic::Progress);
    tx.commit_housekeeping("deploy.progress").await?;
    Ok(row.job)
}

async fn completed(ctx: &Ctx, mut tx: WriteTx, (mut row, certificate): (JobRow, Option<Certificate>), mut report: Report) -> Result<Job> {
    let now = ctx.now();
    let expected = row.job.verification.as_ref().map(|verification| verification.expected_fingerprint.clone()).unwrap_or_default();
    let observed = report.observed_fingerprint.clone();
    if observed.as_ref().is_some_and(|observed| *observed != expected) {
        report.error = Some("the target serves another certificate than the one that was put there".to_owned());
        return failed(ctx, tx, row, report).await;
    }
    note_steps(&mut row.job, report.steps);
    let error = if observed.is_none() { Some("the target's settings do not say where to look".to_owned()) } else { None };
    let witness = Witness { verified: observed.is_some(), actual_fingerprint: observed, at: now, error };
    row.job.verification = Some(Verification { expected_fingerprint: expected, agent: Some(witness), server: None });
    let old = row.job.status;
    row.job =
        row.job.become_status(JobStatus::Completed, "the target has the certificate", now).map_err(|e| Error::internal(e.to_string()))?;
    row.job.last_error = None;
    jobs::update(&mut tx, old, &row).await?;
    if let Some(certificate) = certificate {
        let mut new = certificate.clone();
        new.last_deployment_at = Some(now);
        certificates::write_state(&mut tx, &certificate, new).await?;
        verify::start(ctx, &mut tx, &row.job, &report.looked_at).await?;
        let message = format!("{} was put on {}", certificate.name, name_of(&row.job));
        outbox::put(
            &mut tx,
            outbox::Message {
                kind: NotificationKind::DeploymentSuccess,
                certificate: Some(&certificate.id),
                dedup_key: &format!("deployed:{}", row.job.id),
                text: &message,
                payload: Map::new(),
            },
        )
        .await?;
    }
    tx.wake(Topic::Progress);
    let audit = audit_of("deployment.complete", &row.job);
    tx.commit(audit).await?;
    fault::point("deployment.noted");
    Ok(row.job)
}

async fn failed(ctx: &Ctx, mut tx: WriteTx, mut row: JobRow, report: Report) -> Result<Job> {
    let now = ctx.now();
    note_steps(&mut row.job, report.steps);
    let text: String = report.error.unwrap_or_else(|| "the agent does not say why".to_owned()).chars().take(2_000).collect();
    let attempts = row.job.attempts.max(1);
    if row.job.kind != JobKind::Deployment {
        row.job.attempts = attempts + 1;
    }
    let again = now.saturating_add(wait_after(attempts, report.retrying));
    let old = row.job.status;
    let to = if row.job.kind == JobKind::Deployment { JobStatus::Pending } else { JobStatus::AwaitingCSR };
    let reason = format!("attempt {attempts} failed: {text}");
    row.job = row.job.become_status(to, reason, now).map_err(|e| Error::conflict("job_state", e.to_string()))?;
    row.job.last_error = Some(text.clone());
    row.job.hint = report.hint.map(|hint| hint.chars().take(2_000).collect());
    row.job.scheduled_at = again;
    row.lease_holder = None;
    row.lease_expires_at = None;
    jobs::update(&mut tx, old, &row).await?;
    if attempts == row.job.max_attempts.max(1) {
        let message = format!("{} could not be put on {} {attempts} times in a row: {text}", row.job.certificate_id, name_of(&row.job));
        let payload = Map::from_iter([("error".to_owned(), json!(text)), ("next_try_at".to_owned(), json!(again))]);
        outbox::put(
            &mut tx,
            outbox::Message {
                kind: NotificationKind::DeploymentFailure,
                certificate: Some(&row.job.certificate_id),
                dedup_key: &format!("undeployed:{}", row.job.id),
                text: &message,
                payload,
            },
        )
        .await?;
    }
    tx.wake(Topic::Progress);
    let audit = audit_of("deployment.fail", &row.job).with("error", text).with("next_try_at", again.to_string());
    tx.commit(audit).await?;
    Ok(row.job)
}

/// The wait after an attempt: half a minute, doubling up to an hour; an hour at once where trying again cannot help by itself.
#[must_use]
pub fn wait_after(attempts: i64, retry: Retrying) -> time::Duration {
    if retry == Retrying::Needless {
        return time::Duration::hours(1);
    }
    let doublings = u32::try_from(attempts.saturating_sub(1).clamp(0, 7)).unwrap_or(7);
    time::Duration::seconds((30_i64 << doublings).min(3_600))
}

/// Keeps the last steps of a job; an agent that reports without end does not fill the database.
fn note_steps(job: &mut Job, steps: Vec<JobStep>) {
    let plain = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(500).collect() };
    job.progress.extend(steps.into_iter().map(|step| JobStep { step: plain(&step.step), detail: plain(&step.detail), at: step.at }));
    let surplus = job.progress.len().saturating_sub(60);
    job.progress.drain(..surplus);
}

fn name_of(job: &Job) -> String {
    job.target_id.as_ref().map_or_else(|| "no target".to_owned(), ToString::to_string)
}

fn audit_of(action: &'static str, job: &Job) -> Audit {
    Audit::new(AuditCategory::CertLifecycle, action, "job", &job.id)
        .with("certificate", job.certificate_id.as_str())
        .with("target", name_of(job))
        .with("version", job.version_id.as_ref().map(ToString::to_string))
}

/// How long an agent may work on a job without a report.
pub const LEASE: time::Duration = time::Duration::seconds(60);
