//! Tells the server what happens while a job runs. Each telling also keeps the job's lease alive.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certctl_api::agents::JobReport;
use certctl_domain::ids::JobId;
use certctl_domain::job::{JobStatus, JobStep};
use certctl_domain::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::agent::Agent;
use crate::clock;
use crate::server::Verdict;

/// Collects the steps of one job.
#[derive(Debug, Default)]
pub(crate) struct Narrator {
    steps: Mutex<Vec<JobStep>>,
    news: Notify,
    /// Held while a report is on its way.
    speaking: tokio::sync::Mutex<()>,
}

impl Narrator {
    /// A step was taken now.
    pub(crate) fn tell(&self, step: &str, detail: impl Into<String>) {
        self.tell_at(step, detail, clock::now());
    }

    /// A step was taken.
    pub(crate) fn tell_at(&self, step: &str, detail: impl Into<String>, at: Timestamp) {
        let mut steps = self.lock();
        if steps.len() < MOST_STEPS {
            steps.push(JobStep { step: step.to_owned(), detail: detail.into(), at });
        }
        drop(steps);
        self.news.notify_one();
    }

    /// What was not told yet, once no report is on its way any more: a step is told once, and none is lost.
    pub(crate) async fn last_words(&self) -> Vec<JobStep> {
        let _quiet = timeout(PATIENCE, self.speaking.lock()).await;
        self.take()
    }

    /// What was not told yet.
    fn take(&self) -> Vec<JobStep> {
        std::mem::take(&mut *self.lock())
    }

    /// Reports until dropped: soon when there are news, else often enough that the lease does not end.
    pub(crate) async fn report(&self, agent: &Agent, job: &JobId, fence: i64) {
        loop {
            tokio::select! {
                () = self.news.notified() => {}
                () = sleep(agent.timing.keep_alive) => {}
            }
            let speaking = self.speaking.lock().await;
            let steps = self.take();
            let report = JobReport {
                status: JobStatus::Running.as_str().to_owned(),
                fence: Some(fence),
                steps: steps.clone(),
                ..JobReport::default()
            };
            match agent.server.report(job, &report).await {
                Ok(()) => agent.pulse.answered(),
                Err(error) => match Verdict::of(&error) {
                    Verdict::Superseded | Verdict::Retired => {
                        // What was begun is finished, so that the machine is left in a known state; the server will refuse the result.
                        tracing::warn!(job.id = %job, %error, "the lease of the job is lost; finishing without reports");
                        std::future::pending::<()>().await;
                    }
                    Verdict::Later | Verdict::Refused | Verdict::Rejected => {
                        tracing::debug!(job.id = %job, %error, "progress could not be told");
                        self.put_back(steps);
                    }
                },
            }
            drop(speaking);
            sleep(agent.timing.progress_pace).await;
        }
    }

    fn put_back(&self, mut steps: Vec<JobStep>) {
        let mut later = self.lock();
        steps.append(&mut later);
        *later = steps;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<JobStep>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the end of a job waits for a report of its progress.
const PATIENCE: Duration = Duration::from_secs(2);
/// No deployment has that many; a server that is away must not make the list grow without end.
const MOST_STEPS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_could_not_be_told_come_first_next_time() {
        let narrator = Narrator::default();
        narrator.tell("stage", "one");
        let untold = narrator.take();
        narrator.tell("check", "two");
        narrator.put_back(untold);
        let steps: Vec<_> = narrator.take().into_iter().map(|step| step.step).collect();
        assert_eq!(steps, ["stage", "check"]);
        assert!(narrator.take().is_empty());
        (0..1_000).for_each(|_| narrator.tell("x", ""));
        assert_eq!(narrator.take().len(), MOST_STEPS);
    }
}
