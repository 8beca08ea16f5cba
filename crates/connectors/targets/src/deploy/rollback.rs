//! One deployment on its way back.

use std::sync::Arc;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::report::{DeployReport, Failure, Outcome, Proof, Step};

use super::faults::{Point, reach};
use super::journal::Record;
use super::run::{Run, not_reached};
use super::{observe, replace, stage};
use crate::observation::Observation;

impl Run<'_> {
    /// Gives up before a live file was touched.
    pub(super) async fn abandon(mut self, failure: Failure) -> DeployReport {
        self.story.tell(failure.step, format!("failed: {}", failure.reason));
        self.story.tell(Step::RollBack, "nothing had been changed; the staged files are removed");
        self.clear_after_rollback().await;
        self.story.end(Outcome::RolledBack(failure), not_reached())
    }

    /// Puts the old files back, tells the service, and looks whether it serves what it served before.
    pub(super) async fn roll_back(mut self, failure: Failure) -> DeployReport {
        self.story.tell(failure.step, format!("failed: {}", failure.reason));
        self.record_or_warn(Record::RollingBack(failure.clone())).await;
        reach(Point::RollingBack).await;
        let proof = match self.undo().await {
            Ok(proof) => proof,
            Err(error) => return self.rollback_failed(failure, &error).await,
        };
        self.clear_after_rollback().await;
        self.story.tell(Step::RollBack, "everything is as it was before");
        self.story.end(Outcome::RolledBack(failure), proof)
    }

    async fn undo(&mut self) -> Result<Proof, ConnectorError> {
        // A disk that is full must not leave half a pair: every old file lies ready before the first takes its place again.
        for at in 0..self.begin.files.len() {
            if let Err(error) = self.on_file(at, |file, _| stage::unstage(file)).await {
                self.story.warn([error.explain()]);
            }
        }
        for at in 0..self.begin.files.len() {
            let state = self.state.clone();
            let laid = self.on_file(at, move |file, backup| replace::lay_ready(&state, backup, file)).await;
            if let Err(error) = laid {
                for at in 0..at {
                    self.on_file(at, |file, _| stage::unstage(file)).await?;
                }
                return Err(error);
            }
        }
        let mut first_error = None;
        for at in 0..self.begin.files.len() {
            let restored = self.on_file(at, |file, _| replace::restore(file).and_then(|()| replace::settle(file))).await;
            reach(Point::RestoredFile(at)).await;
            // The other files are still put back: half a pair more is better than half a pair less.
            first_error = first_error.or(restored.err());
        }
        if let Some(error) = first_error {
            return Err(error);
        }
        reach(Point::RestoreDone).await;
        self.record_or_warn(Record::Restored).await;
        reach(Point::Restored).await;
        self.story.tell(Step::RollBack, "the old files are back");

        let had_pair = self.begin.had_pair();
        match self.tell_service(Step::RollBack).await {
            Ok(done) => done.into_iter().for_each(|done| self.story.tell(Step::RollBack, done)),
            Err(error) if had_pair => return Err(error),
            // Without the files that were never there, the service may well refuse; it did before.
            Err(error) => self.story.warn([format!("there was no complete pair before, and without one: {}", error.explain())]),
        }
        reach(Point::OldReloaded).await;
        let Observation::Watch(watch) = &self.begin.observation else {
            return Ok(not_reached());
        };
        let Some((served, verdict)) = observe::until_old(watch, &self.begin).await else {
            return Ok(Proof::NotObserved { reason: "nothing was served before".to_owned() });
        };
        self.story.saw(served);
        reach(Point::OldObserved).await;
        match verdict {
            Ok(warnings) => {
                self.story.warn(warnings);
                Ok(Proof::Observed)
            }
            Err(error) if had_pair => Err(error),
            Err(error) => {
                self.story.warn([error.explain()]);
                Ok(Proof::NotObserved { reason: error.explain() })
            }
        }
    }

    /// The journal stays open, so that [`super::recover`] tries once more.
    async fn rollback_failed(mut self, failure: Failure, error: &ConnectorError) -> DeployReport {
        let reason = error.explain();
        self.record_or_warn(Record::RollbackFailed { reason: reason.clone() }).await;
        let backup = self.state.backup(&self.begin.backup);
        self.story.tell(Step::RollBack, format!("failed: {reason}"));
        self.story.backup(backup.exists().then_some(backup));
        self.story.end(Outcome::RollbackFailed { failure, rollback: reason }, not_reached())
    }

    /// Clears away after the old state is back.
    pub(super) async fn clear_after_rollback(&mut self) {
        self.record_or_warn(Record::RolledBack).await;
        reach(Point::RolledBack).await;
        let (state, begin, journal) = (self.state.clone(), Arc::clone(&self.begin), self.journal.clone());
        let cleared = self
            .blocking(move || {
                begin.files.iter().try_for_each(stage::unstage)?;
                state.clear_work()?;
                state.remove_backup(&begin.backup)?;
                journal.close(&state)
            })
            .await;
        if let Err(error) = cleared {
            self.story.warn([format!("could not clear away: {}", error.explain())]);
        }
    }
}
