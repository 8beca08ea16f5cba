//! What is asked about certificates beside create, read, list, replace and delete.

use certctl_domain::certificate::Version;
use certctl_domain::ids::{CertificateId, JobId, OwnerId, TargetId, TeamId, VersionId};
use certctl_domain::job::Job;
use certctl_domain::secret::Secret;
use certctl_domain::x509::{RevocationReason, Serial};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

/// `POST /api/v1/certificates/{id}/renew`
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// Whether to renew although it is not due, which is the default of a call by hand.
    #[serde(default)]
    pub force: bool,
}

/// Work that was accepted.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WorkAccepted {
    /// `accepted`, or `already_running` when the same work had been asked for.
    pub status: String,
    /// The first job.
    pub job_id: Option<JobId>,
    /// All jobs.
    pub jobs: Vec<Job>,
}

/// `POST /api/v1/certificates/{id}/deploy`
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// One target; absent means all of the certificate's.
    pub target_id: Option<TargetId>,
}

/// `POST /api/v1/certificates/{id}/revoke`: everything in use; with a serial number or version, that one alone.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// Default `unspecified`.
    #[serde(default)]
    pub reason: RevocationReason,
    /// The version with this serial number alone; the certificate lives on.
    pub serial_number: Option<Serial>,
    /// This version alone; the certificate lives on.
    pub version_id: Option<VersionId>,
}

/// What was revoked.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Revoked {
    /// `revoked`, or `already_revoked`.
    pub status: String,
    /// The versions.
    pub versions: Vec<Version>,
}

/// `POST /api/v1/certificates/{id}/csr`: for certificates whose key no agent holds.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitCsrRequest {
    /// PKCS#10 in PEM.
    pub csr_pem: String,
}

/// `GET /api/v1/certificates/{id}/export/pem`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ExportedPem {
    /// The leaf.
    pub cert_pem: String,
    /// The intermediates.
    pub chain_pem: String,
    /// Both.
    pub full_pem: String,
}

/// `POST /api/v1/certificates/{id}/export/pkcs12`; the answer is the file, which holds no key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportPkcs12Request {
    /// What the file is encrypted under, at most 256 characters; empty or absent is an empty password.
    #[serde(default = "no_password", serialize_with = "exposed")]
    #[schema(value_type = String, write_only)]
    pub password: Secret<String>,
}

impl Default for ExportPkcs12Request {
    fn default() -> Self {
        Self { password: no_password() }
    }
}

const fn no_password() -> Secret<String> {
    Secret::new(String::new())
}

/// On its way to the server it has to be readable.
fn exposed<S: Serializer>(secret: &Secret<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// `POST /api/v1/certificates/bulk-renew`: the ids, or everything that fits all filters given.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkRenewRequest {
    /// These certificates.
    #[serde(default)]
    pub certificate_ids: Vec<CertificateId>,
    /// Those of a profile.
    pub profile_id: Option<String>,
    /// Those of an owner.
    pub owner_id: Option<String>,
    /// Those with a target of an agent.
    pub agent_id: Option<String>,
    /// Those of an issuer.
    pub issuer_id: Option<String>,
    /// Those of a team.
    pub team_id: Option<String>,
}

/// `POST /api/v1/certificates/bulk-revoke`: the ids, or everything that fits all filters given.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkRevokeRequest {
    /// Why.
    pub reason: RevocationReason,
    /// These certificates.
    #[serde(default)]
    pub certificate_ids: Vec<CertificateId>,
    /// Those of a profile.
    pub profile_id: Option<String>,
    /// Those of an owner.
    pub owner_id: Option<String>,
    /// Those with a target of an agent.
    pub agent_id: Option<String>,
    /// Those of an issuer.
    pub issuer_id: Option<String>,
    /// Those of a team.
    pub team_id: Option<String>,
}

/// `POST /api/v1/certificates/bulk-reassign`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkReassignRequest {
    /// These certificates.
    pub certificate_ids: Vec<CertificateId>,
    /// The new owner.
    pub owner_id: OwnerId,
    /// The new team; absent leaves it.
    pub team_id: Option<TeamId>,
}

/// One that a bulk operation could not do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BulkError {
    /// The certificate.
    pub certificate_id: String,
    /// Why.
    pub error: String,
}

/// A job of a bulk renewal.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BulkEnqueuedJob {
    /// The certificate.
    pub certificate_id: CertificateId,
    /// Its job.
    pub job_id: JobId,
}

/// How a bulk renewal went.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct BulkRenewResult {
    /// Certificates that fit.
    pub total_matched: usize,
    /// Those for which a job was started.
    pub total_enqueued: usize,
    /// Those that were being renewed already, or are over.
    pub total_skipped: usize,
    /// Those that could not be renewed.
    pub total_failed: usize,
    /// The jobs.
    pub enqueued_jobs: Vec<BulkEnqueuedJob>,
    /// Why some could not.
    pub errors: Vec<BulkError>,
}

/// How a bulk revocation went.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct BulkRevokeResult {
    /// Certificates that fit.
    pub total_matched: usize,
    /// Those that were revoked.
    pub total_revoked: usize,
    /// Those that were revoked before, archived, or never issued.
    pub total_skipped: usize,
    /// Those that could not be revoked.
    pub total_failed: usize,
    /// Why some could not.
    pub errors: Vec<BulkError>,
}

/// How a bulk reassignment went.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct BulkReassignResult {
    /// Certificates that were named.
    pub total_matched: usize,
    /// Those that have the new owner now.
    pub total_reassigned: usize,
    /// Those that had it before.
    pub total_skipped: usize,
    /// Those that could not be changed.
    pub total_failed: usize,
    /// Why some could not.
    pub errors: Vec<BulkError>,
}
