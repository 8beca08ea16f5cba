//! Brings deployments that were cut short to an end.

use std::path::Path;
use std::sync::Arc;

use certctl_connector_core::exec::AllowList;
use certctl_connector_core::report::{DeployEvent, DeployReport, Failure, Outcome, Proof, Step};
use certctl_connector_core::target::Scene;
use certctl_connector_core::{ConnectorError, Retry};
use certctl_domain::time::Timestamp;

use super::journal::{Journal, Record};
use super::run::{From, Run};
use super::state::{Lock, TargetState};
use super::story::Story;

/// Finishes or undoes every deployment that was cut short, and tells by target how each ended. Targets that another
/// process is working on are left to it.
pub async fn recover(
    state_dir: &Path,
    allow_list: &AllowList,
    now: Timestamp,
    progress: &(dyn Fn(&DeployEvent) + Send + Sync),
) -> Vec<(String, Result<DeployReport, ConnectorError>)> {
    let mut ended = Vec::new();
    for target in TargetState::known_targets(state_dir) {
        let scene = Scene { deployment: "", target: &target, state_dir, allow_list, now, progress };
        if let Some(report) = recover_one(scene).await.transpose() {
            ended.push((target, report));
        }
    }
    ended
}

async fn recover_one(scene: Scene<'_>) -> Result<Option<DeployReport>, ConnectorError> {
    let state = TargetState::open(scene.state_dir, scene.target)?;
    match state.try_lock()? {
        Some(lock) => finish_open(&state, &lock, scene).await,
        None => Ok(None),
    }
}

/// Brings the target's open deployment to an end; `None` when there is none.
pub(super) async fn finish_open(state: &TargetState, lock: &Lock, scene: Scene<'_>) -> Result<Option<DeployReport>, ConnectorError> {
    let Some((journal, begin, records)) = Journal::open(state)? else {
        return Ok(None);
    };
    let mut locks = vec![lock.clone()];
    locks.extend(state.lock_files(begin.files.iter().map(|file| file.real.as_path())).await?);
    let mut story = Story::new(&begin.deployment, &begin.target, begin.fingerprint(), scene.now, scene.progress);
    let reached = records.last().map_or("begun", name);
    story.tell(Step::Recover, format!("deployment {} was cut short; it had got to: {reached}", begin.deployment));
    let failure = records.iter().find_map(|record| if let Record::RollingBack(failure) = record { Some(failure.clone()) } else { None });
    let failure = failure.unwrap_or_else(|| Failure {
        step: Step::Recover,
        reason: "it was cut short before anything was changed".to_owned(),
        hint: None,
        retry: Retry::Transient,
    });
    let mut run = Run { allow_list: scene.allow_list, state: state.clone(), locks, begin: Arc::new(begin), journal, story };
    Ok(Some(match records.last() {
        None | Some(Record::Begin(_) | Record::Staged | Record::Checked) => run.abandon(failure).await,
        Some(Record::Swapping) => run.onwards(From::Swap).await,
        Some(Record::Swapped) => run.onwards(From::Reload).await,
        Some(Record::Reloaded) => run.onwards(From::Observe).await,
        Some(Record::Committed) => run.commit(Proof::NotObserved { reason: "that had been done before it was cut short".to_owned() }).await,
        Some(Record::RollingBack(_) | Record::Restored | Record::RollbackFailed { .. }) => run.roll_back(failure).await,
        Some(Record::RolledBack) => {
            run.clear_after_rollback().await;
            let proof = Proof::NotObserved { reason: "that had been done before it was cut short".to_owned() };
            run.story.end(Outcome::RolledBack(failure), proof)
        }
    }))
}

/// How a deployment ended, in words.
pub(super) const fn ending(report: &DeployReport) -> &'static str {
    match report.outcome {
        Outcome::Deployed | Outcome::AlreadyServed => "finished",
        Outcome::RolledBack(_) => "rolled back",
        Outcome::RollbackFailed { .. } => "given up",
    }
}

const fn name(record: &Record) -> &'static str {
    match record {
        Record::Begin(_) => "begun",
        Record::Staged => "staged",
        Record::Checked => "checked",
        Record::Swapping => "swapping",
        Record::Swapped => "swapped",
        Record::Reloaded => "reloaded",
        Record::Committed => "committed",
        Record::RollingBack(_) => "rolling back",
        Record::Restored => "restored",
        Record::RolledBack => "rolled back",
        Record::RollbackFailed { .. } => "rollback failed",
    }
}
