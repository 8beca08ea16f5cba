//! A deployment that this agent has begun: written down before anything is done, so that after a crash its end can be told
//! to the server under the right fence.

use certctl_connector_core::ConnectorError;
use certctl_domain::ids::{CertificateId, JobId, TargetId, VersionId};
use certctl_domain::job::WorkItem;
use certctl_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::state::{StateDir, entries, read_json};

/// A begun deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Undertaking {
    pub(crate) job_id: JobId,
    pub(crate) fence: i64,
    pub(crate) certificate_id: CertificateId,
    pub(crate) target_id: TargetId,
    pub(crate) version_id: VersionId,
    pub(crate) key_job_id: JobId,
    pub(crate) began_at: Timestamp,
}

impl Undertaking {
    /// Writes down that the deployment of an item begins.
    pub(crate) fn begin(
        state: &StateDir,
        item: &WorkItem,
        target: &TargetId,
        issued: (&VersionId, &JobId),
        now: Timestamp,
    ) -> Result<Self, ConnectorError> {
        let this = Self {
            job_id: item.id.clone(),
            fence: item.fence,
            certificate_id: item.certificate_id.clone(),
            target_id: target.clone(),
            version_id: issued.0.clone(),
            key_job_id: issued.1.clone(),
            began_at: now,
        };
        state.directory(DIRECTORY)?;
        state.write(&file(&this.job_id), &this)?;
        Ok(this)
    }

    /// What the deployment is called in journals and backups: each hand-out is one of its own.
    pub(crate) fn deployment(&self) -> String {
        format!("{}.{}", self.job_id, self.fence)
    }

    /// Whether the job was begun anew, or ended, since this was read.
    pub(crate) fn is_superseded(&self, state: &StateDir) -> Result<bool, ConnectorError> {
        Ok(state.read::<Self>(&file(&self.job_id))?.as_ref() != Some(self))
    }

    /// Its end is written down elsewhere.
    pub(crate) fn end(&self, state: &StateDir) -> Result<(), ConnectorError> {
        state.remove(&file(&self.job_id))
    }

    /// Those whose end was not written down.
    pub(crate) fn open(state: &StateDir) -> Result<Vec<Self>, ConnectorError> {
        let mut found = Vec::new();
        for path in entries(&state.join(DIRECTORY))? {
            if path.extension().is_some_and(|extension| extension == "json") {
                found.extend(read_json::<Self>(&path)?);
            }
        }
        Ok(found)
    }
}

pub(crate) const DIRECTORY: &str = "jobs";

fn file(job: &JobId) -> String {
    format!("{DIRECTORY}/{job}.json")
}
