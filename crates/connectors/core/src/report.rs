//! What a deployment tells while it runs and when it has ended.

use std::fmt;
use std::path::PathBuf;

use certctl_domain::time::Timestamp;
use certctl_domain::x509::Fingerprint;
use serde::{Deserialize, Serialize};

use crate::Retry;

/// The steps of a deployment, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// An earlier deployment that was cut short is brought to an end.
    Recover,
    /// The new files are written beside the old.
    Stage,
    /// The service's own test is run against the new files.
    Check,
    /// The new files take the place of the old.
    Swap,
    /// The service is told.
    Reload,
    /// TLS handshakes show what is served.
    Observe,
    /// Staged files and old backups are cleared away.
    Commit,
    /// The old files are put back.
    RollBack,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Recover => "recover",
            Self::Stage => "stage",
            Self::Check => "check",
            Self::Swap => "swap",
            Self::Reload => "reload",
            Self::Observe => "observe",
            Self::Commit => "commit",
            Self::RollBack => "roll back",
        })
    }
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployEvent {
    /// In which step.
    pub step: Step,
    /// When, by this machine's clock at the start plus the time since.
    pub at: Timestamp,
    /// What, in a few words.
    pub detail: String,
}

/// How a deployment ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The new pair is in place.
    Deployed,
    /// It was in place already; nothing was written or reloaded.
    AlreadyServed,
    /// A step failed; the old pair is in place as before.
    RolledBack(Failure),
    /// A step failed, and putting the old pair back failed too: a person must look.
    RollbackFailed {
        /// What failed first.
        #[serde(flatten)]
        failure: Failure,
        /// Why the old pair could not be put back or is not served.
        rollback: String,
    },
}

/// Which step failed, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// Why it failed.
    pub reason: String,
    /// What a person can do.
    pub hint: Option<String>,
    /// Whether trying again can help.
    pub retry: Retry,
}

/// Whether what is served was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "proof", rename_all = "snake_case")]
pub enum Proof {
    /// Handshakes showed it at every address and name.
    Observed,
    /// Nobody looked, and why.
    NotObserved {
        /// Why not.
        reason: String,
    },
}

/// One handshake's answer, or why there was none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The address that was asked, with port.
    pub address: String,
    /// The name that was asked for.
    pub server_name: Option<String>,
    /// SHA-256 of the leaf that was served.
    pub fingerprint: Option<Fingerprint>,
    /// SHA-256 of all certificates that were served, leaf first.
    pub chain: Vec<Fingerprint>,
    /// `TLSv1_3` and the like.
    pub tls_version: Option<String>,
    /// Why there was no answer.
    pub error: Option<String>,
}

/// The whole story of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployReport {
    /// The deployment's id, as the caller gave it.
    pub deployment: String,
    /// The target's id, as the caller gave it.
    pub target: String,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Whether what is served was seen.
    #[serde(flatten)]
    pub proof: Proof,
    /// SHA-256 of the leaf that was to be deployed.
    pub fingerprint: Fingerprint,
    /// What the last handshakes showed.
    pub served: Vec<Served>,
    /// What happened, in order.
    pub events: Vec<DeployEvent>,
    /// What a person should know although it worked.
    pub warnings: Vec<String>,
    /// Where the pair that was replaced is kept.
    pub backup: Option<PathBuf>,
}

impl DeployReport {
    /// Whether the new pair is in place.
    #[must_use]
    pub const fn succeeded(&self) -> bool {
        matches!(self.outcome, Outcome::Deployed | Outcome::AlreadyServed)
    }

    /// What failed, if something did.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Deployed | Outcome::AlreadyServed => None,
            Outcome::RolledBack(failure) | Outcome::RollbackFailed { failure, .. } => Some(failure),
        }
    }
}
