//! One letter: a signing request or a result, with the fence of the hand-out that it answers.

use certctl_api::agents::{CsrRequest, JobReport};
use certctl_api::client::ClientError;
use certctl_domain::ids::JobId;
use certctl_domain::job::{JobStatus, WorkItem};
use certctl_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A letter to the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Letter {
    /// The job it is about.
    pub job_id: JobId,
    /// The fence of the hand-out that it answers.
    pub fence: i64,
    /// When it was written.
    pub written_at: Timestamp,
    /// What it says.
    pub contents: Contents,
}

/// What a letter says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contents {
    /// A signing request.
    Request(CsrRequest),
    /// How a job ended.
    Report(JobReport),
}

impl Letter {
    /// A signing request for a work item.
    #[must_use]
    pub fn request(item: &WorkItem, csr_pem: String, now: Timestamp) -> Self {
        let request =
            CsrRequest { csr_pem, certificate_id: item.certificate_id.clone(), job_id: Some(item.id.clone()), fence: Some(item.fence) };
        Self { job_id: item.id.clone(), fence: item.fence, written_at: now, contents: Contents::Request(request) }
    }

    /// A result; the fence is put into the report.
    #[must_use]
    pub fn report(job: &JobId, fence: i64, report: JobReport, now: Timestamp) -> Self {
        let report = JobReport { fence: Some(fence), ..report };
        Self { job_id: job.clone(), fence, written_at: now, contents: Contents::Report(report) }
    }

    /// What it is, in a word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.contents {
            Contents::Request(_) => "request",
            Contents::Report(_) => "report",
        }
    }

    pub(super) fn file_name(&self) -> String {
        file_name(&self.job_id, self.kind())
    }

    pub(super) fn file_names(job: &JobId) -> [String; 2] {
        [file_name(job, "request"), file_name(job, "report")]
    }

    /// The result that follows from the server rejecting this letter.
    pub(super) fn rejected(&self, error: &ClientError) -> Option<Self> {
        match self.contents {
            Contents::Report(_) => None,
            Contents::Request(_) => {
                let report = JobReport {
                    status: JobStatus::Failed.as_str().to_owned(),
                    error: Some(format!("the server rejects the signing request: {error}")),
                    hint: error.hint().map(str::to_owned),
                    permanent: true,
                    ..JobReport::default()
                };
                Some(Self::report(&self.job_id, self.fence, report, self.written_at))
            }
        }
    }
}

impl PartialEq for Letter {
    /// The same letter: about the same hand-out, written at the same instant.
    fn eq(&self, other: &Self) -> bool {
        (&self.job_id, self.fence, self.written_at, self.kind()) == (&other.job_id, other.fence, other.written_at, other.kind())
    }
}

/// No identifier has a `~`.
fn file_name(job: &JobId, kind: &str) -> String {
    format!("{job}~{kind}.json")
}
