//! Approval: where a profile asks for one, no issuance goes on before somebody else than the requester has said yes.
//!
//! Every issuance begins with [`first_status`], so no path goes around it.

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::ids::{AgentId, Id as _, JobId};
use certctl_domain::job::{Job, JobStatus};
use certctl_domain::profile::Profile;
use certctl_store::{Topic, WriteTx, jobs};

use crate::crud::Managed as _;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::renewal;

/// The status in which an issuance begins, with reason and hint.
#[must_use]
pub fn first_status(profile: &Profile, agent: Option<&AgentId>, why: &str) -> (JobStatus, String, Option<String>) {
    if profile.requires_approval {
        let hint = "somebody else than the requester approves it: POST /api/v1/jobs/{id}/approve".to_owned();
        return (JobStatus::AwaitingApproval, format!("{why}; profile `{}` asks for an approval", profile.name), Some(hint));
    }
    waiting_for_csr(agent, why)
}

fn waiting_for_csr(agent: Option<&AgentId>, why: &str) -> (JobStatus, String, Option<String>) {
    match agent {
        Some(agent) => (JobStatus::AwaitingCSR, format!("{why}; waits for agent {agent} to make the key and the request"), None),
        None => {
            let hint = "submit a CSR with `certctl certs csr`, or give the certificate a target so that an agent makes the key".to_owned();
            (JobStatus::AwaitingCSR, format!("{why}; waits for a CSR, since no agent holds its key"), Some(hint))
        }
    }
}

/// Approves a job that waits for it.
///
/// # Errors
/// When it does not wait for an approval, or the caller asked for it themselves.
pub async fn approve(ctx: &Ctx, id: &JobId) -> Result<Job> {
    let (mut tx, mut row) = waiting(ctx, id).await?;
    if row.job.requested_by == *ctx.actor() {
        return Err(Error::forbidden(format!("{} asked for this and cannot approve it", ctx.actor()))
            .hint("somebody else with approval.approve must do it"));
    }
    let old = row.job.status;
    let why = format!("approved by {}", ctx.actor());
    let (status, reason, hint) = waiting_for_csr(row.job.agent_id.as_ref(), &why);
    row.job = row.job.become_status(status, reason, ctx.now()).map_err(|e| Error::conflict("job_state", e.to_string()))?;
    row.job.hint = hint;
    row.job.scheduled_at = ctx.now();
    jobs::update(&mut tx, old, &row).await?;
    if let Some(agent) = &row.job.agent_id {
        tx.wake(Topic::Agent(agent.clone()));
    }
    tx.wake(Topic::Progress);
    tx.commit(Audit::new(AuditCategory::CertLifecycle, "approval.approve", "job", id).with("requested_by", row.job.requested_by.as_str()))
        .await?;
    Ok(row.job)
}

/// Refuses a job that waits for an approval. The certificate is looked at again in a day, or when somebody asks.
///
/// # Errors
/// When it does not wait for an approval.
pub async fn reject(ctx: &Ctx, id: &JobId, reason: &str) -> Result<Job> {
    let (mut tx, mut row) = waiting(ctx, id).await?;
    let old = row.job.status;
    let why = if reason.is_empty() { format!("rejected by {}", ctx.actor()) } else { format!("rejected by {}: {reason}", ctx.actor()) };
    row.job =
        row.job.become_status(JobStatus::Cancelled, why.clone(), ctx.now()).map_err(|e| Error::conflict("job_state", e.to_string()))?;
    jobs::update(&mut tx, old, &row).await?;
    renewal::after_stop(&mut tx, &row.job, &why).await?;
    tx.wake(Topic::Progress);
    tx.commit(Audit::new(AuditCategory::CertLifecycle, "approval.reject", "job", id).with("reason", reason)).await?;
    Ok(row.job)
}

async fn waiting(ctx: &Ctx, id: &JobId) -> Result<(WriteTx, jobs::JobRow)> {
    let mut tx = ctx.write().await?;
    let found = crate::jobs::with_certificate(&mut tx, id).await?;
    let (row, _) = found.filter(|(_, certificate)| certificate.is_within(ctx)).ok_or_else(|| Error::not_found("job", id))?;
    if row.job.status != JobStatus::AwaitingApproval {
        return Err(Error::conflict(
            "job_state",
            format!("job {} is {} and waits for no approval", row.job.id.as_str(), row.job.status.as_str()),
        ));
    }
    Ok((tx, row))
}
