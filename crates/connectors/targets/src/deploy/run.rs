//! One deployment on its way forward, from its beginning or from where it was cut short.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::exec::{AllowList, run_to_success};
use certctl_connector_core::files::temporary_name;
use certctl_connector_core::material::Material;
use certctl_connector_core::report::{DeployReport, Failure, Outcome, Proof, Step};
use certctl_connector_core::target::Scene;

use super::faults::{Point, reach};
use super::journal::{Begin, FileRecord, Journal, Record};
use super::state::{Lock, TargetState};
use super::story::{Story, failure};
use super::{Check, Plan, PlannedFile, Prepared, observe, prepare, replace, stage};
use crate::observation::Observation;

/// A deployment whose journal is open.
pub(super) struct Run<'a> {
    pub(super) allow_list: &'a AllowList,
    pub(super) state: TargetState,
    pub(super) locks: Vec<Lock>,
    pub(super) begin: Arc<Begin>,
    pub(super) journal: Journal,
    pub(super) story: Story<'a>,
}

/// Where to go on after the files are staged and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum From {
    Swap,
    Reload,
    Observe,
}

impl<'a> Run<'a> {
    /// A deployment from its beginning; the target's lock is held.
    pub(super) async fn fresh(
        plan: Plan,
        material: &Material,
        scene: Scene<'a>,
        (state, lock): (TargetState, Lock),
        mut story: Story<'a>,
    ) -> Result<DeployReport, ConnectorError> {
        let Plan { files, check, live, reload, observation, backups, .. } = plan;
        let files = Arc::new(files);
        let (records, locks) = match examine(&state, lock, &files).await {
            Ok(examined) => examined,
            // Nothing has been written, not even a journal.
            Err(error) => return Ok(story.end(Outcome::RolledBack(failure(Step::Stage, &error)), not_reached())),
        };
        reach(Point::Locked).await;
        story.warn(files.iter().zip(&records).filter_map(|(planned, record)| prepare::closed(planned, record)));
        let mut begin = Begin {
            deployment: scene.deployment.to_owned(),
            target: scene.target.to_owned(),
            started: scene.now,
            backup: backup_name(scene)?,
            chain: material.chain_fingerprints(),
            key_kind: material.key_kind(),
            files: records,
            live,
            reload,
            observation,
            baseline: Vec::new(),
            backups,
        };
        let in_place = begin.files.iter().all(|file| file.unchanged);
        if let Observation::Watch(watch) = &begin.observation {
            let (baseline, served) = observe::is_new(watch, &begin).await;
            if in_place && served {
                story.tell(Step::Observe, "this certificate is in place and served already");
                story.saw(baseline);
                return Ok(story.end(Outcome::AlreadyServed, Proof::Observed));
            }
            if in_place {
                story.tell(Step::Stage, "the files are in place already, but they are not what is served");
            }
            begin.baseline = baseline;
        } else if in_place && (begin.reload.is_some() || begin.live.is_some()) {
            // Another target may have written them, or the service may never have been told: nobody looked.
            story.tell(Step::Stage, "the files are in place already; the service is told again");
        } else if in_place {
            story.tell(Step::Stage, "the files are in place already");
            let proof = unproven(&begin, &mut story);
            return Ok(story.end(Outcome::AlreadyServed, proof));
        }
        let journal = Journal::begin(&state, begin.clone())?;
        let run = Self { allow_list: scene.allow_list, state, locks, begin: Arc::new(begin), journal, story };
        reach(Point::Begun).await;
        Ok(run.whole(files, check).await)
    }

    async fn whole(mut self, files: Arc<Vec<PlannedFile>>, check: Option<Box<dyn Check>>) -> DeployReport {
        if let Err(error) = self.stage(files).await {
            return self.abandon(failure(Step::Stage, &error)).await;
        }
        if let Err(error) = self.check(check).await {
            return self.abandon(failure(Step::Check, &error)).await;
        }
        self.onwards(From::Swap).await
    }

    /// Goes on from a step to the end, or back.
    pub(super) async fn onwards(mut self, from: From) -> DeployReport {
        match self.steps(from).await {
            Ok(proof) => self.commit(proof).await,
            Err(failure) => self.roll_back(failure).await,
        }
    }

    async fn steps(&mut self, from: From) -> Result<Proof, Failure> {
        if from <= From::Swap {
            self.swap().await.map_err(|e| failure(Step::Swap, &e))?;
        }
        if from <= From::Reload {
            self.reload().await.map_err(|e| failure(Step::Reload, &e))?;
        }
        self.observe().await.map_err(|e| failure(Step::Observe, &e))
    }

    async fn stage(&mut self, files: Arc<Vec<PlannedFile>>) -> Result<(), ConnectorError> {
        for at in 0..self.begin.files.len() {
            let state = self.state.clone();
            self.on_file(at, move |file, backup| if file.unchanged { Ok(()) } else { stage::back_up(&state, backup, file) }).await?;
            reach(Point::BackedUp(at)).await;
        }
        for at in 0..self.begin.files.len() {
            let files = Arc::clone(&files);
            self.on_file(at, move |file, _| match files.get(at) {
                Some(planned) if !file.unchanged => stage::stage(file, &planned.contents),
                _ => Ok(()),
            })
            .await?;
            reach(Point::StagedFile(at)).await;
        }
        self.record(Record::Staged).await?;
        reach(Point::Staged).await;
        let names: Vec<_> = self.begin.files.iter().map(|file| file.real.display().to_string()).collect();
        self.story.tell(Step::Stage, format!("wrote the new files beside {}", names.join(" and ")));
        Ok(())
    }

    async fn check(&mut self, check: Option<Box<dyn Check>>) -> Result<(), ConnectorError> {
        if let Some(check) = check {
            let staged = self.begin.files.iter().flat_map(|file| {
                let now = if file.unchanged { file.real.clone() } else { file.real.with_file_name(&file.temporary) };
                [(file.path.clone(), now.clone()), (file.real.clone(), now)]
            });
            let (staged, state): (BTreeMap<_, _>, _) = (staged.collect(), self.state.clone());
            let Prepared { command, mut copies } = self.blocking(move || check.prepare(&staged, &state.fresh_work()?)).await?;
            let temporary = |file: &FileRecord| (file.real.with_file_name(&file.temporary), file.path.clone());
            copies.extend(self.begin.files.iter().map(temporary));
            let output = run_to_success(&command, self.allow_list).await;
            let state = self.state.clone();
            self.blocking(move || state.clear_work()).await?;
            let output = output.map_err(|error| {
                let why = "the service's own test refuses the new files; nothing was changed. If it refuses the old ones too, mend its configuration first";
                let error = error.rephrase(|said| in_known_names(said, &copies));
                if error.advice().is_some() { error } else { error.hint(why) }
            })?;
            self.story.tell(Step::Check, format!("`{}` accepts the new files ({} ms)", command.display(), output.took.as_millis()));
        }
        self.record(Record::Checked).await?;
        reach(Point::Checked).await;
        Ok(())
    }

    async fn swap(&mut self) -> Result<(), ConnectorError> {
        self.record(Record::Swapping).await?;
        reach(Point::Swapping).await;
        for at in 0..self.begin.files.len() {
            self.on_file(at, |file, _| if file.unchanged { Ok(()) } else { replace::swap_in(file) }).await?;
            reach(Point::SwappedFile(at)).await;
        }
        for at in 0..self.begin.files.len() {
            self.on_file(at, |file, _| replace::settle(file)).await?;
        }
        reach(Point::SwapDone).await;
        self.record(Record::Swapped).await?;
        reach(Point::Swapped).await;
        self.story.tell(Step::Swap, "the new files are in place");
        Ok(())
    }

    async fn reload(&mut self) -> Result<(), ConnectorError> {
        if let Some(done) = self.tell_service(Step::Reload).await? {
            reach(Point::ReloadDone).await;
            self.story.tell(Step::Reload, done);
        }
        self.record(Record::Reloaded).await?;
        reach(Point::Reloaded).await;
        Ok(())
    }

    async fn observe(&mut self) -> Result<Proof, ConnectorError> {
        let Observation::Watch(watch) = &self.begin.observation else {
            return Ok(unproven(&self.begin, &mut self.story));
        };
        let (served, verdict) = observe::until_new(watch, &self.begin).await;
        let n_served = served.len();
        self.story.saw(served);
        self.story.warn(verdict?);
        reach(Point::Observed).await;
        self.story.tell(Step::Observe, format!("{n_served} of {n_served} handshakes show {}", self.begin.fingerprint()));
        Ok(Proof::Observed)
    }

    /// Clears away after success. What fails here is told, but it takes nothing back.
    pub(super) async fn commit(mut self, proof: Proof) -> DeployReport {
        self.record_or_warn(Record::Committed).await;
        reach(Point::Committed).await;
        let (state, begin, journal) = (self.state.clone(), Arc::clone(&self.begin), self.journal.clone());
        let cleared = self
            .blocking(move || {
                begin.files.iter().try_for_each(stage::unstage)?;
                state.prune_backups(begin.backups, &begin.backup)?;
                journal.close(&state)?;
                Ok(state.backup(&begin.backup))
            })
            .await;
        reach(Point::CleanedUp).await;
        match cleared {
            Ok(backup) => self.story.backup(backup.exists().then_some(backup)),
            Err(error) => self.story.warn([format!("could not clear away: {}", error.explain())]),
        }
        self.story.tell(Step::Commit, "done");
        self.story.end(Outcome::Deployed, proof)
    }

    pub(super) async fn record(&self, record: Record) -> Result<(), ConnectorError> {
        let journal = self.journal.clone();
        self.blocking(move || journal.append(&record)).await
    }

    /// On the way back a full disk must not stop us.
    pub(super) async fn record_or_warn(&mut self, record: Record) {
        if let Err(error) = self.record(record).await {
            self.story.warn([error.explain()]);
        }
    }

    pub(super) async fn on_file(
        &self,
        at: usize,
        work: impl FnOnce(&FileRecord, &str) -> Result<(), ConnectorError> + Send + 'static,
    ) -> Result<(), ConnectorError> {
        let begin = Arc::clone(&self.begin);
        self.blocking(move || begin.files.get(at).map_or(Ok(()), |file| work(file, &begin.backup))).await
    }

    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ConnectorError> + Send + 'static,
    ) -> Result<T, ConnectorError> {
        blocking(self.locks.clone(), work).await
    }
}

/// Resolves the files and locks them; looks again once they are ours, because another may have changed them meanwhile.
async fn examine(state: &TargetState, lock: Lock, files: &Arc<Vec<PlannedFile>>) -> Result<(Vec<FileRecord>, Vec<Lock>), ConnectorError> {
    let look = |held: Vec<Lock>| {
        let files = Arc::clone(files);
        blocking(held, move || prepare::examine(&files))
    };
    let mut locks = vec![lock];
    let seen = look(locks.clone()).await?;
    let paths: Vec<PathBuf> = seen.into_iter().map(|file| file.real).collect();
    locks.extend(state.lock_files(paths.iter().map(PathBuf::as_path)).await?);
    Ok((look(locks.clone()).await?, locks))
}

/// Runs work that waits for the disk off the async threads. It holds the locks even when nobody waits for it any more.
async fn blocking<T: Send + 'static>(
    held: Vec<Lock>,
    work: impl FnOnce() -> Result<T, ConnectorError> + Send + 'static,
) -> Result<T, ConnectorError> {
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(held);
        done
    });
    done.await.unwrap_or_else(|error| Err(ConnectorError::transient("a step was broken off").caused_by(error)))
}

/// A name that sorts by time and is this deployment's alone, also when the same deployment is tried again.
fn backup_name(scene: Scene<'_>) -> Result<String, ConnectorError> {
    let unique = temporary_name()?;
    let unique: String = unique.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    Ok(format!("{:016}-{}-{unique}", scene.now.unix_micros().max(0), scene.deployment))
}

/// What a test said about copies, told about the files that they stand for.
fn in_known_names(said: &str, copies: &[(PathBuf, PathBuf)]) -> String {
    copies.iter().fold(said.to_owned(), |text, (copy, original)| text.replace(&*copy.to_string_lossy(), &original.to_string_lossy()))
}

fn unproven(begin: &Begin, story: &mut Story<'_>) -> Proof {
    let reason = match &begin.observation {
        Observation::None { reason } => reason.clone(),
        Observation::Watch(_) => String::new(),
    };
    story.warn([format!("what is served was not looked at: {reason}")]);
    Proof::NotObserved { reason }
}

pub(super) fn not_reached() -> Proof {
    Proof::NotObserved { reason: "it did not come to that".to_owned() }
}
