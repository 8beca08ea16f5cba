//! What people are told: rows in an outbox, written in the transaction of the event they tell of.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::ids::{CertificateId, NotificationId};
use crate::time::Timestamp;

/// One thing to tell, before it is known to whom and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Notification {
    /// Identifier.
    pub id: NotificationId,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: NotificationKind,
    /// To which certificate.
    pub certificate_id: Option<CertificateId>,
    /// In words.
    pub message: String,
    /// For templates and webhooks.
    pub payload: Map<String, Value>,
    /// The same key is told once.
    pub dedup_key: String,
    /// When it was written.
    pub created_at: Timestamp,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum NotificationKind {
    /// A certificate nears its end.
    ExpirationWarning,
    /// A new version was issued.
    RenewalSuccess,
    /// Issuing failed as often as the policy tolerates.
    RenewalFailure,
    /// A version was put on a target and seen there.
    DeploymentSuccess,
    /// Putting a version on a target failed.
    DeploymentFailure,
    /// A policy is violated.
    PolicyViolation,
    /// A version was revoked.
    Revocation,
}

impl NotificationKind {
    /// The word in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExpirationWarning => "ExpirationWarning",
            Self::RenewalSuccess => "RenewalSuccess",
            Self::RenewalFailure => "RenewalFailure",
            Self::DeploymentSuccess => "DeploymentSuccess",
            Self::DeploymentFailure => "DeploymentFailure",
            Self::PolicyViolation => "PolicyViolation",
            Self::Revocation => "Revocation",
        }
    }
}
