//! What is asked about the audit log beside reading it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /api/v1/audit/verify`: whether the chain of the audit log holds.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditVerification {
    /// Whether every event that was checked is as it was written.
    pub intact: bool,
    /// Events that were checked.
    pub checked: i64,
    /// Number of the last event that holds.
    pub head_sequence: Option<i64>,
    /// Hash of the last event that holds.
    pub head_hash: Option<String>,
    /// Number of the first event that does not hold.
    pub broken_at: Option<i64>,
    /// What is wrong there.
    pub broken: Option<String>,
    /// Events that have no number yet, because they are not a second old.
    pub unsealed: i64,
    /// Signed checkpoints that were checked.
    pub checkpoints: i64,
    /// The public keys that signed them, in lower hex.
    pub keys: Vec<String>,
}
