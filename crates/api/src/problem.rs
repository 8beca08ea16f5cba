//! The one body of all errors (RFC 9457), with the two fields that older scripts read.

use certctl_domain::noun::FieldError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error as `application/problem+json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URI for this code.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The status in words.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What happened.
    #[serde(default)]
    pub detail: String,
    /// The path of the request.
    #[serde(default)]
    pub instance: String,
    /// Stable and machine-readable.
    #[serde(default)]
    pub code: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// To find it in the log.
    #[serde(default)]
    pub request_id: String,
    /// The fields that are not as they should be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The title again, for older scripts.
    #[serde(default)]
    pub error: String,
    /// The detail again, for older scripts.
    #[serde(default)]
    pub message: String,
}
