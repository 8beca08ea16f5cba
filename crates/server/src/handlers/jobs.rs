//! Jobs: read, watched, stopped, approved, and what witnesses saw.

use std::time::Duration;

use certctl_api::jobs::{RejectRequest, VerificationResult, VerifyRequest, VerifyResponse};
use certctl_domain::auth::perm;
use certctl_domain::certificate::Explanation;
use certctl_domain::ids::JobId;
use certctl_domain::job::{Job, Witness};
use certctl_domain::time::Timestamp;
use certctl_engine::{Error, approve, explain, jobs, verify};
use certctl_store::jobs::JOBS;
use certctl_store::table::Table;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::{Authorized, Body, Json, Listing, OptionalBody, Path, Query, Rows, RowsParams};
use crate::problem::Answer;

/// How to wait for a job.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Seconds to wait for a change, at the most 55.
    #[serde(default)]
    pub wait: u64,
    /// Only a job changed after this instant is answered at once; `updated_at` of the answer before.
    pub since: Option<Timestamp>,
}

impl Rows for Job {
    const TABLE: Table = JOBS;
}

/// Lists jobs.
///
/// # Errors
/// What the engine refuses; the same for every function here.
pub async fn list(ctx: Authorized<perm::JobRead>, params: RowsParams<Job>) -> Answer<Listing<Job>> {
    let page = jobs::list(&ctx, &params.query).await?;
    Ok(params.answer(page))
}

/// Reads a job, at once or as soon as it changes.
///
/// # Errors
/// As [`list`].
pub async fn get(ctx: Authorized<perm::JobRead>, Path(id): Path<JobId>, Query(watch): Query<Watch>) -> Answer<Json<Job>> {
    Ok(Json(jobs::watch(&ctx, &id, watch.since, Duration::from_secs(watch.wait)).await?))
}

/// Says why a job is as it is.
///
/// # Errors
/// As [`list`].
pub async fn explain(ctx: Authorized<perm::JobRead>, Path(id): Path<JobId>) -> Answer<Json<Explanation>> {
    Ok(Json(explain::job(&ctx, &id).await?))
}

/// Stops a job.
///
/// # Errors
/// As [`list`].
pub async fn cancel(ctx: Authorized<perm::JobCancel>, Path(id): Path<JobId>) -> Answer<Json<Job>> {
    Ok(Json(jobs::cancel(&ctx, &id).await?))
}

/// Approves a job.
///
/// # Errors
/// As [`list`].
pub async fn approve(ctx: Authorized<perm::ApprovalApprove>, Path(id): Path<JobId>) -> Answer<Json<Job>> {
    Ok(Json(approve::approve(&ctx, &id).await?))
}

/// Rejects a job.
///
/// # Errors
/// As [`list`].
pub async fn reject(
    ctx: Authorized<perm::ApprovalReject>,
    Path(id): Path<JobId>,
    OptionalBody(body): OptionalBody<RejectRequest>,
) -> Answer<Json<Job>> {
    Ok(Json(approve::reject(&ctx, &id, &body.reason).await?))
}

/// Takes what somebody saw at a target.
///
/// # Errors
/// As [`list`].
pub async fn verify(
    ctx: Authorized<perm::VerificationRun>,
    Path(id): Path<JobId>,
    Body(body): Body<VerifyRequest>,
) -> Answer<Json<VerifyResponse>> {
    let seen = Some(body.actual_fingerprint.to_ascii_lowercase()).filter(|seen| !seen.is_empty());
    let verified = body.verified && seen.as_deref() == Some(body.expected_fingerprint.to_ascii_lowercase().as_str());
    let witness = Witness { verified, actual_fingerprint: seen, at: ctx.now(), error: body.error };
    let job = verify::record(&ctx, &id, witness.clone()).await?;
    Ok(Json(VerifyResponse { job_id: job.id, verified: witness.verified, verified_at: witness.at }))
}

/// Gives what the witnesses of a deployment saw.
///
/// # Errors
/// As [`list`].
pub async fn verification(ctx: Authorized<perm::VerificationRead>, Path(id): Path<JobId>) -> Answer<Json<VerificationResult>> {
    let job = jobs::get(&ctx, &id).await?;
    let verification =
        job.verification.ok_or_else(|| Error::not_found("verification of job", &id).hint("only deployments are verified"))?;
    let witnesses: Vec<(&str, Witness)> = [("agent", verification.agent), ("server", verification.server)]
        .into_iter()
        .filter_map(|(who, witness)| Some((who, witness?)))
        .collect();
    let last = witnesses.iter().map(|(_, witness)| witness).max_by_key(|witness| witness.at);
    Ok(Json(VerificationResult {
        job_id: job.id,
        target_id: job.target_id,
        expected_fingerprint: verification.expected_fingerprint,
        actual_fingerprint: last.and_then(|witness| witness.actual_fingerprint.clone()).unwrap_or_default(),
        // A witness that saw nothing says nothing; one that saw something else does.
        verified: witnesses.iter().any(|(_, witness)| witness.verified)
            && witnesses.iter().all(|(_, witness)| witness.verified || witness.actual_fingerprint.is_none()),
        verified_at: last.map(|witness| witness.at),
        error: witnesses.iter().find_map(|(_, witness)| witness.error.clone()),
        witnesses: witnesses.iter().map(|(who, _)| (*who).to_owned()).collect(),
    }))
}
