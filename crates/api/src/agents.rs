//! What agents and the server say to one another.

use std::collections::BTreeMap;

use certctl_domain::agent::{Agent, AgentDependencies, AgentFacts, EnrollmentToken};
use certctl_domain::challenge::OpenChallenge;
use certctl_domain::ids::{AgentId, CertificateId, JobId, VersionId};
use certctl_domain::job::{JobStep, WorkItem};
use certctl_domain::time::Timestamp;
use certctl_domain::x509::Fingerprint;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /api/v1/agents/enrollment-tokens`
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrollmentTokenDraft {
    /// The name that the agent will have; absent lets the agent choose.
    pub agent_name: Option<String>,
    /// Labels that the agent will have.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Seconds until it ends: 60 to 604800; default 3600.
    pub expires_in_seconds: Option<i64>,
}

/// A new token, shown once.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct MintedEnrollmentToken {
    /// The token without its secret.
    #[serde(flatten)]
    pub token: EnrollmentToken,
    /// The secret; never shown again.
    pub token_value: String,
    /// The command to run on the host.
    pub command: String,
}

/// `POST /api/v1/agents`: registers an agent ahead of its host. What only the agent itself can know is taken and ignored, so that scripts
/// can send back what they got.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterAgentRequest {
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
    /// Ignored.
    #[schema(read_only, value_type = Option<String>)]
    pub ip_address: Option<serde::de::IgnoredAny>,
    /// Ignored.
    #[schema(read_only, value_type = Option<String>)]
    pub version: Option<serde::de::IgnoredAny>,
    /// Ignored.
    #[schema(read_only, value_type = Option<String>)]
    pub status: Option<serde::de::IgnoredAny>,
    /// Ignored.
    #[schema(read_only, value_type = Option<String>)]
    pub last_heartbeat_at: Option<serde::de::IgnoredAny>,
    /// Ignored.
    #[schema(read_only, value_type = Option<String>)]
    pub registered_at: Option<serde::de::IgnoredAny>,
    /// Ignored.
    #[schema(read_only, value_type = Option<String>)]
    pub retired_at: Option<serde::de::IgnoredAny>,
    /// Ignored.
    #[schema(read_only, value_type = Option<String>)]
    pub retired_reason: Option<serde::de::IgnoredAny>,
}

/// An agent that was registered, with the token that will enroll it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RegisteredAgent {
    /// The agent.
    #[serde(flatten)]
    pub agent: Agent,
    /// The one-time token, shown this once.
    pub enrollment_token: MintedEnrollmentToken,
}

/// `POST /api/v1/agents/enroll`: the token is the credential.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrollRequest {
    /// The one-time token.
    pub token: String,
    /// The name the agent would like; the token's name wins.
    pub name: Option<String>,
    /// Lower hex SHA-256 of the secret that the agent made for itself. The secret stays with the agent.
    pub secret_sha256: String,
    /// What the agent says of itself.
    #[serde(default)]
    pub facts: AgentFacts,
}

/// The answer to an enrolment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EnrollResponse {
    /// The agent. Its credential is `ca_<agent id without ag->_<secret>`.
    pub agent_id: AgentId,
    /// Its name.
    pub name: String,
    /// Put before the secret to make the bearer token: `ca_..._`.
    pub credential_prefix: String,
    /// The server's clock.
    pub server_time: Timestamp,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HeartbeatResponse {
    /// `ok`
    pub status: String,
    /// The server's clock.
    pub server_time: Timestamp,
    /// How far the agent's clock is ahead, in milliseconds, as the server sees it.
    pub clock_skew_ms: Option<i64>,
    /// Seconds until the next heartbeat is expected.
    pub next_in_seconds: i64,
}

/// `GET /api/v1/agents/{id}/work?wait=30`: answered at once when there is work, else after `wait` seconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct WorkResponse {
    /// What to do.
    pub jobs: Vec<WorkItem>,
    /// How much that is.
    pub count: usize,
}

/// `POST /api/v1/agents/{id}/csr`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CsrRequest {
    /// PKCS#10 in PEM.
    pub csr_pem: String,
    /// The certificate.
    pub certificate_id: CertificateId,
    /// The job that asked for it; absent takes the one that waits for a CSR.
    pub job_id: Option<JobId>,
    /// The fence of the work item.
    pub fence: Option<i64>,
}

/// `GET /api/v1/agents/{id}/certificates/{cert_id}`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AgentCertificate {
    /// Leaf and chain, without the root.
    pub certificate_pem: String,
    /// The version.
    pub version_id: VersionId,
    /// SHA-256 of the leaf.
    pub fingerprint_sha256: Fingerprint,
    /// The job whose key belongs to it.
    pub key_job_id: JobId,
}

/// `POST /api/v1/agents/{id}/jobs/{job_id}/status`
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobReport {
    /// `Running` keeps the lease alive and shows progress; `Completed` and `Failed` end the attempt.
    pub status: String,
    /// Why it failed.
    pub error: Option<String>,
    /// What an operator can do about it.
    pub hint: Option<String>,
    /// The fence of the work item; an older one is refused.
    pub fence: Option<i64>,
    /// Steps since the last report.
    #[serde(default)]
    pub steps: Vec<JobStep>,
    /// What the agent saw served after a deployment.
    pub observed_fingerprint: Option<String>,
    /// Where the agent looked after a deployment, and what it saw there; the server looks there too.
    #[serde(default)]
    pub served: Vec<ServedAt>,
    /// Whether trying again without a change cannot help.
    #[serde(default)]
    pub permanent: bool,
}

/// One handshake of an agent after a deployment.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServedAt {
    /// Address with port.
    pub address: String,
    /// The name that was asked for by SNI.
    pub server_name: Option<String>,
    /// SHA-256 of the leaf that was served.
    pub fingerprint: Option<String>,
    /// Why there was no answer.
    pub error: Option<String>,
}

/// `GET /api/v1/agents/{id}/challenges?wait=30&has=...`: answered at once when the agent is to answer something else than what it has.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ChallengesResponse {
    /// All that the agent is to answer now; what is not in it is to be answered no more.
    pub challenges: Vec<OpenChallenge>,
    /// To be sent as `has` in the next question; empty where there are none.
    pub revision: String,
}

/// `POST /api/v1/agents/{id}/challenges`: the CA may look, or the agent cannot answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChallengeReport {
    /// The token: what its key authorization has before the dot.
    pub token: String,
    /// Why it cannot be answered; absent when the answer is there for the CA to see.
    pub error: Option<String>,
    /// What an operator can do about it.
    pub hint: Option<String>,
    /// Whether trying again without a change cannot help.
    #[serde(default)]
    pub permanent: bool,
}

/// `DELETE /api/v1/agents/{id}`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RetireAgentResponse {
    /// When it was retired.
    pub retired_at: Timestamp,
    /// Whether it had been before.
    pub already_retired: bool,
    /// Whether its targets went with it.
    pub cascade: bool,
    /// What depended on it.
    pub counts: AgentDependencies,
}
