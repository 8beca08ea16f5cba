//! An agent: the process beside targets, which makes keys and puts certificates in place.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::challenge::ChallengeKind;
use crate::ids::{ActorId, AgentId, EnrollmentTokenId};
use crate::time::Timestamp;

/// The process beside targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Identifier.
    pub id: AgentId,
    /// Unique name.
    pub name: String,
    /// The host's name as the agent sees it.
    pub hostname: String,
    /// Whether it was heard of lately.
    pub status: AgentStatus,
    /// When it was last heard of; kept to about a second.
    pub last_heartbeat_at: Option<Timestamp>,
    /// When it enrolled.
    pub registered_at: Timestamp,
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub architecture: String,
    /// Address it calls from.
    pub ip_address: String,
    /// Version of the agent's program.
    pub version: String,
    /// Labels from its enrolment token.
    pub labels: BTreeMap<String, String>,
    /// How far its clock is ahead of the server's, in milliseconds, as last measured.
    pub clock_skew_ms: Option<i64>,
    /// Challenges of ACME CAs that it can answer on its host, as it is set up; `null` before its first heartbeat.
    #[serde(default)]
    pub challenges: Option<Vec<ChallengeKind>>,
    /// When it was retired.
    pub retired_at: Option<Timestamp>,
    /// Why it was retired.
    pub retired_reason: Option<String>,
    /// Counts changes.
    pub revision: i64,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Whether an agent was heard of lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum AgentStatus {
    /// Heard of within the offline limit.
    Online,
    /// Not heard of within the offline limit.
    Offline,
    /// Heard of, but something needs a look, such as a clock that is far off.
    Degraded,
}

/// What an agent says of itself when it enrols and with each heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentFacts {
    /// Version of the agent's program.
    #[serde(default)]
    pub version: String,
    /// The host's name.
    #[serde(default)]
    pub hostname: String,
    /// Operating system.
    #[serde(default)]
    pub os: String,
    /// Processor architecture.
    #[serde(default)]
    pub architecture: String,
    /// Kept for existing agents; the server takes the address it sees.
    #[serde(default)]
    pub ip_address: String,
    /// The agent's clock when it sent this.
    pub sent_at: Option<Timestamp>,
    /// Challenges of ACME CAs that it can answer on its host. Left out where there are none: older servers know of none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub challenges: Vec<ChallengeKind>,
}

/// What a caller gives to register an agent ahead of its host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentDraft {
    /// Identifier, if the caller chooses it.
    pub id: Option<AgentId>,
    /// Unique name.
    pub name: String,
    /// The host's name, if it is known.
    #[serde(default)]
    pub hostname: String,
    /// Operating system, if it is known.
    #[serde(default)]
    pub os: String,
    /// Processor architecture, if it is known.
    #[serde(default)]
    pub architecture: String,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A one-time, expiring permission to enrol one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnrollmentToken {
    /// Identifier.
    pub id: EnrollmentTokenId,
    /// The name that the agent will have; `None` lets the agent choose.
    pub agent_name: Option<String>,
    /// Labels that the agent will have.
    pub labels: BTreeMap<String, String>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
    /// The agent that used it.
    pub used_by: Option<AgentId>,
    /// Who made it.
    pub created_by: ActorId,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How much depends on an agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentDependencies {
    /// Its targets.
    pub active_targets: i64,
    /// Certificates on its targets.
    pub active_certificates: i64,
    /// Its jobs that have not ended.
    pub pending_jobs: i64,
}

impl AgentStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Online, Self::Offline, Self::Degraded];

    /// The word in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "Online",
            Self::Offline => "Offline",
            Self::Degraded => "Degraded",
        }
    }
}

/// A clock that is further off than this is told to its operator.
pub const CLOCK_SKEW_LIMIT_MS: i64 = 30_000;

/// The status of an agent at `now`.
#[must_use]
pub fn status_at(
    last_heartbeat_at: Option<Timestamp>,
    clock_skew_ms: Option<i64>,
    offline_after: time::Duration,
    now: Timestamp,
) -> AgentStatus {
    match last_heartbeat_at {
        Some(at) if at.saturating_add(offline_after) > now => {
            if clock_skew_ms.is_some_and(|skew| skew.abs() > CLOCK_SKEW_LIMIT_MS) {
                AgentStatus::Degraded
            } else {
                AgentStatus::Online
            }
        }
        _ => AgentStatus::Offline,
    }
}
