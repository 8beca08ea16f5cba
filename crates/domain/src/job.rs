//! A job: one step of work with a state machine. Whatever waits has a reason, a time of the next try, and a hint.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::ids::{ActorId, AgentId, CertificateId, JobId, TargetId, VersionId};
use crate::time::Timestamp;

/// One step of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Identifier.
    pub id: JobId,
    /// What is done.
    #[serde(rename = "type")]
    pub kind: JobKind,
    /// For which certificate.
    pub certificate_id: CertificateId,
    /// For which target; of deployments and validations.
    pub target_id: Option<TargetId>,
    /// By which agent; `None` when the server does it.
    pub agent_id: Option<AgentId>,
    /// The version that is deployed, or that was issued.
    pub version_id: Option<VersionId>,
    /// Where it stands.
    pub status: JobStatus,
    /// Why it stands there, in words.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// When it is tried next; for waiting jobs.
    pub scheduled_at: Timestamp,
    /// How often it was tried.
    pub attempts: i64,
    /// Tries after which people are alerted.
    pub max_attempts: i64,
    /// The last error.
    pub last_error: Option<String>,
    /// What the agent told of its last steps.
    pub progress: Vec<JobStep>,
    /// What the witnesses saw.
    pub verification: Option<Verification>,
    /// Who asked for it.
    pub requested_by: ActorId,
    /// Counts hand-outs: a result with an older number is refused.
    pub fence: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was first worked on.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum JobKind {
    /// The first version of a certificate.
    Issuance,
    /// A further version.
    Renewal,
    /// Puts a version on a target.
    Deployment,
    /// The server looks whether a target serves its version.
    Validation,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum JobStatus {
    /// Waits for its time, and for somebody to take it.
    Pending,
    /// Waits for a certificate signing request.
    AwaitingCSR,
    /// Waits for somebody to approve.
    AwaitingApproval,
    /// Somebody works on it under a lease.
    Running,
    /// Done.
    Completed,
    /// Given up by somebody's decision, or superseded by a newer attempt.
    Failed,
    /// Ended by somebody.
    Cancelled,
}

/// One step that an agent reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobStep {
    /// Its name: `stage`, `check`, `swap`, `reload`, `observe`, `roll back`.
    pub step: String,
    /// In words.
    #[serde(default)]
    pub detail: String,
    /// When, by the agent's clock.
    pub at: Timestamp,
}

/// What was seen at a target after a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// The fingerprint that should be served.
    pub expected_fingerprint: String,
    /// What the agent saw.
    pub agent: Option<Witness>,
    /// What the server saw.
    pub server: Option<Witness>,
}

/// What one witness saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Whether what it saw is what should be served.
    pub verified: bool,
    /// The fingerprint it saw.
    pub actual_fingerprint: Option<String>,
    /// When it looked.
    pub at: Timestamp,
    /// Why it saw nothing or something else.
    pub error: Option<String>,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Issuance, Self::Renewal, Self::Deployment, Self::Validation];

    /// The word in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuance => "Issuance",
            Self::Renewal => "Renewal",
            Self::Deployment => "Deployment",
            Self::Validation => "Validation",
        }
    }
}

impl JobStatus {
    /// Every status.
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::AwaitingCSR, Self::AwaitingApproval, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    /// The word in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::AwaitingCSR => "AwaitingCSR",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Running => "Running",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Whether nothing more will happen to it.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// The transition is not one that a job can make.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("job {id} is {from}, from where it cannot become {to}")]
pub struct IllegalTransition {
    /// The job.
    pub id: JobId,
    /// Its status.
    pub from: &'static str,
    /// The status asked for.
    pub to: &'static str,
}

impl Job {
    /// The job in its next status, if it can get there from where it is.
    ///
    /// # Errors
    /// When the transition does not exist; the job is then as it was.
    pub fn become_status(mut self, to: JobStatus, reason: impl Into<String>, now: Timestamp) -> Result<Self, IllegalTransition> {
        use JobStatus::{AwaitingApproval, AwaitingCSR, Cancelled, Completed, Failed, Pending, Running};
        let legal = match (self.status, to) {
            (Completed | Failed | Cancelled, _) | (AwaitingApproval, Completed | Running) | (AwaitingCSR, Completed) => false,
            (Pending | AwaitingCSR | AwaitingApproval, _) | (Running, Pending | AwaitingCSR | Running | Completed | Failed | Cancelled) => {
                true
            }
            (Running, AwaitingApproval) => false,
        };
        if !legal {
            return Err(IllegalTransition { id: self.id, from: self.status.as_str(), to: to.as_str() });
        }
        self.status = to;
        self.reason = reason.into();
        self.hint = None;
        self.updated_at = now;
        if to == Running && self.started_at.is_none() {
            self.started_at = Some(now);
        }
        if to.is_over() {
            self.completed_at = Some(now);
        }
        Ok(self)
    }
}

/// One piece of work as an agent gets it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkItem {
    /// The job.
    pub id: JobId,
    /// What to do.
    #[serde(rename = "type")]
    pub kind: JobKind,
    /// For which certificate.
    pub certificate_id: CertificateId,
    /// The certificate's name, for people.
    pub certificate_name: String,
    /// Common name for the CSR.
    pub common_name: String,
    /// Names for the CSR.
    pub sans: Vec<String>,
    /// The key to make.
    pub key_algorithm: crate::x509::KeyAlgorithm,
    /// The target, for deployments.
    pub target_id: Option<TargetId>,
    /// The target's connector.
    pub target_type: Option<String>,
    /// The target's whole configuration.
    pub target_config: Option<Map<String, Value>>,
    /// The version to put there.
    pub version_id: Option<VersionId>,
    /// The job whose key belongs to that version.
    pub key_job_id: Option<JobId>,
    /// `AwaitingCSR` asks for a CSR, `Running` for a deployment.
    pub status: JobStatus,
    /// To be sent back with the result.
    pub fence: i64,
    /// When the lease ends, unless it is kept alive by reporting.
    pub lease_expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id as _;

    fn job(status: JobStatus) -> Job {
        let at = Timestamp::UNIX_EPOCH;
        Job {
            id: JobId::parse("job-1").unwrap(),
            kind: JobKind::Issuance,
            certificate_id: CertificateId::parse("mc-1").unwrap(),
            target_id: None,
            agent_id: None,
            version_id: None,
            status,
            reason: String::new(),
            hint: None,
            scheduled_at: at,
            attempts: 0,
            max_attempts: 3,
            last_error: None,
            progress: vec![],
            verification: None,
            requested_by: ActorId::parse("x").unwrap(),
            fence: 0,
            created_at: at,
            started_at: None,
            completed_at: None,
            updated_at: at,
        }
    }

    #[test]
    fn an_ended_job_stays_ended_and_approval_cannot_be_jumped() {
        for from in JobStatus::ALL {
            for to in JobStatus::ALL {
                let legal = job(from).become_status(to, "x", Timestamp::UNIX_EPOCH).is_ok();
                if from.is_over() {
                    assert!(!legal, "{from:?} -> {to:?}");
                }
                if from == JobStatus::AwaitingApproval {
                    assert_eq!(legal, !matches!(to, JobStatus::Running | JobStatus::Completed), "{to:?}");
                }
            }
        }
    }

    #[test]
    fn times_are_kept() {
        let at = Timestamp::from_unix_seconds(9).unwrap();
        let running = job(JobStatus::Pending).become_status(JobStatus::Running, "x", at).unwrap();
        assert_eq!(running.started_at, Some(at));
        assert_eq!(running.become_status(JobStatus::Completed, "x", at).unwrap().completed_at, Some(at));
    }
}
