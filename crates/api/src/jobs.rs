//! What is asked about jobs.

use certctl_domain::ids::{JobId, TargetId};
use certctl_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /api/v1/jobs/{id}/verify`: what the agent saw at the target.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// The target.
    pub target_id: TargetId,
    /// What should be served.
    pub expected_fingerprint: String,
    /// What is served.
    pub actual_fingerprint: String,
    /// Whether they are the same.
    pub verified: bool,
    /// Why nothing was seen.
    pub error: Option<String>,
}

/// The answer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VerifyResponse {
    /// The job.
    pub job_id: JobId,
    /// Whether the target serves what it should.
    pub verified: bool,
    /// When that was seen.
    pub verified_at: Timestamp,
}

/// `GET /api/v1/jobs/{id}/verification`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VerificationResult {
    /// The job.
    pub job_id: JobId,
    /// The target.
    pub target_id: Option<TargetId>,
    /// What should be served.
    pub expected_fingerprint: String,
    /// What is served.
    pub actual_fingerprint: String,
    /// Whether all witnesses saw what they should.
    pub verified: bool,
    /// When that was seen.
    pub verified_at: Option<Timestamp>,
    /// Why something else was seen.
    pub error: Option<String>,
    /// `agent`, `server`.
    pub witnesses: Vec<String>,
}

/// `POST /api/v1/jobs/{id}/reject`
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectRequest {
    /// Why.
    #[serde(default)]
    pub reason: String,
}
