//! Tells the service that its files have changed: while it runs, where it can be given their content; else by its command.

use certctl_connector_core::ConnectorError;
use certctl_connector_core::exec::run_to_success;
use certctl_connector_core::report::Step;
use serde::{Deserialize, Serialize};

use super::faults::{Point, reach};
use super::replace::same_place;
use super::run::Run;
use super::stage::changed;
use crate::haproxy::Runtime;
use crate::observation::Observation;

/// A way to give a running service the content of the plan's one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "service", rename_all = "snake_case")]
pub enum LiveUpdate {
    /// HAProxy's runtime API.
    Haproxy(Runtime),
}

/// Why a running service was not given the content.
#[derive(Debug)]
pub(crate) enum NotLive {
    /// It does not know the file: a reload makes it look.
    Unknown(String),
    /// It cannot be told this way now: a reload is the other way.
    Unavailable(ConnectorError),
    /// It does not want the content: a reload would make it refuse once more, at a worse time.
    Refused(ConnectorError),
}

impl Run<'_> {
    /// Tells the service what its files hold now; returns what was done, `None` when there is no way to tell it.
    pub(super) async fn tell_service(&mut self, step: Step) -> Result<Option<String>, ConnectorError> {
        if let Some(LiveUpdate::Haproxy(runtime)) = self.begin.live.clone() {
            match self.give_haproxy(&runtime).await {
                Ok(names) => return Ok(Some(format!("HAProxy took up {} while running", names.join(" and ")))),
                Err(why) => self.otherwise(step, why)?,
            }
        }
        let Some(command) = &self.begin.reload else {
            return Ok(None);
        };
        let output = run_to_success(command, self.allow_list).await.map_err(|error| {
            let why = "run it by hand as the user this runs as; one that may not signal the service needs e.g. [\"sudo\", \"-n\", ...]";
            if error.advice().is_some() { error } else { error.hint(why) }
        })?;
        Ok(Some(format!("`{}` returned 0 ({} ms)", command.display(), output.took.as_millis())))
    }

    /// Whether and why the command has to do it.
    fn otherwise(&mut self, step: Step, why: NotLive) -> Result<(), ConnectorError> {
        let alone = self.begin.reload.is_none();
        match why {
            // It may never have had the new content. Handshakes will tell, and they have the last word.
            NotLive::Unknown(reason) if alone && self.back_is_proved(step) => self.story.warn([format!("{reason}, so it was not told")]),
            NotLive::Unavailable(error) if alone && self.back_is_proved(step) => {
                self.story.warn([format!("the service was not told that the old file is back: {}", error.explain())]);
            }
            NotLive::Unknown(reason) if alone => {
                return Err(
                    ConnectorError::permanent(reason).hint("set reload_command: only a reload makes it read a file that it does not know")
                );
            }
            NotLive::Unavailable(error) if alone => return Err(error),
            // On the way back nothing is left to lose.
            NotLive::Refused(error) if alone || step != Step::RollBack => return Err(error),
            NotLive::Unknown(reason) => self.story.tell(step, format!("{reason}, so it is reloaded")),
            NotLive::Unavailable(error) | NotLive::Refused(error) => {
                let advice = error.advice().map(|advice| format!(" ({advice})")).unwrap_or_default();
                self.story.warn([format!("the service had to be reloaded: {}{advice}", error.explain())]);
                self.story.tell(step, format!("{}, so it is reloaded", error.explain()));
            }
        }
        Ok(())
    }

    /// Whether handshakes will show that a service on the way back serves what it served before.
    fn back_is_proved(&self, step: Step) -> bool {
        let seen_before = self.begin.baseline.iter().any(|served| served.fingerprint.is_some());
        step == Step::RollBack && seen_before && matches!(self.begin.observation, Observation::Watch(_))
    }

    /// HAProxy has one transaction for everybody, so deployments to the same process take turns.
    async fn give_haproxy(&self, runtime: &Runtime) -> Result<Vec<String>, NotLive> {
        let Some(file) = self.begin.files.first().cloned() else {
            return Err(NotLive::Unknown("there is no file".to_owned()));
        };
        let _turn = self.state.lock_service(&runtime.address.to_string()).await.map_err(NotLive::Unavailable)?;
        let paths = [file.path.clone(), file.real.clone()];
        let read = self.blocking(move || match same_place(&file)?.load()? {
            Some((_, now)) if now.sha256 != file.new_sha256 && file.old.as_ref().is_none_or(|old| old.sha256 != now.sha256) => {
                Err(changed(&file))
            }
            found => Ok(found.map(|(bytes, _)| bytes)),
        });
        let Some(bytes) = read.await.map_err(NotLive::Unavailable)? else {
            return Err(NotLive::Unknown(format!("{} is gone", paths[0].display())));
        };
        let names = runtime.give(&[&paths[0], &paths[1]], &bytes).await?;
        reach(Point::LiveGiven).await;
        Ok(names)
    }
}
