//! What is asked about certificates beside create, read, list, replace and delete.

use certctl_domain::certificate::Version;
use certctl_domain::ids::{CertificateId, JobId, TargetId, VersionId};
use certctl_domain::job::Job;
use certctl_domain::x509::{RevocationReason, Serial};
use serde::{Deserialize, Serialize};
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

/// What a bulk operation applies to: the ids, or everything that fits all filters given.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkSelection {
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

/// One that a bulk operation could not do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BulkError {
    /// The certificate.
    pub certificate_id: String,
    /// Why.
    pub error: String,
}
