//! What the server says of itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /health`: the process answers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`
    pub status: String,
}

/// `GET /ready`: the process can do its work.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// `ready` or `not_ready`
    pub status: String,
    /// What was looked at.
    pub checks: Vec<ReadyCheck>,
}

/// One thing that must be so for the process to be ready.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReadyCheck {
    /// Its name.
    pub name: String,
    /// Whether it is so.
    pub ok: bool,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// `GET /api/v1/version`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VersionInfo {
    /// Of the release.
    pub version: String,
    /// Of the source.
    pub commit: String,
    /// Whether the source was changed since that commit.
    pub modified: bool,
    /// When it was built.
    pub build_time: String,
    /// With which compiler; the name is kept for existing scripts.
    pub go_version: String,
}
