//! Which keys are in use: for each target the last two; and which were, and are to be removed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use certctl_connector_core::ConnectorError;
use certctl_domain::ids::{JobId, VersionId};
use certctl_domain::time::Timestamp;
use certctl_domain::x509::Fingerprint;
use serde::{Deserialize, Serialize};

use crate::state::{read_json, write_json};

/// The keys in use for one certificate on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    targets: BTreeMap<String, Vec<Use>>,
    /// The jobs whose keys were in use once and are no more.
    #[serde(default)]
    fallen: BTreeSet<JobId>,
}

/// A key in use at a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// The job that the key was made for.
    pub key_job_id: JobId,
    /// The version that was put there.
    pub version_id: VersionId,
    /// SHA-256 of its leaf.
    pub fingerprint: Fingerprint,
    /// Since when.
    pub at: Timestamp,
}

impl Ledger {
    pub(super) fn load(directory: &Path) -> Result<Self, ConnectorError> {
        Ok(read_json(&directory.join(FILE))?.unwrap_or_default())
    }

    pub(super) fn store(&self, directory: &Path) -> Result<(), ConnectorError> {
        write_json(&directory.join(FILE), self)
    }

    /// The newest first; the same version again is not another one.
    pub(super) fn note(&mut self, target: &str, new: Use) {
        let uses = self.targets.entry(target.to_owned()).or_default();
        uses.retain(|old| old.fingerprint != new.fingerprint);
        uses.insert(0, new);
        let fallen: Vec<JobId> = uses.drain(KEPT.min(uses.len())..).map(|old| old.key_job_id).collect();
        self.fallen.extend(fallen);
        let used: BTreeSet<JobId> = self.jobs().cloned().collect();
        self.fallen.retain(|job| !used.contains(job));
    }

    /// The jobs whose keys were in use once and are no more.
    pub(super) const fn fallen(&self) -> &BTreeSet<JobId> {
        &self.fallen
    }

    /// Their keys are removed.
    pub(super) fn forget_fallen(&mut self) {
        self.fallen.clear();
    }

    /// The jobs whose keys are in use or were before.
    pub fn jobs(&self) -> impl Iterator<Item = &JobId> {
        self.targets.values().flatten().map(|in_use| &in_use.key_job_id)
    }
}

const FILE: &str = "in-use.json";
/// What is in use, and what was before: rolling back needs it.
const KEPT: usize = 2;
