//! The stages of a stop, within one budget.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Shutdown;

/// Goes through the stages of a stop, one after the other.
#[derive(Debug)]
pub struct Stages {
    began: Instant,
    budget: Duration,
    abort: CancellationToken,
    report: StopReport,
}

/// How a stop went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StopReport {
    /// How long it took.
    pub took: Duration,
    /// The stages that were cut off.
    pub cut_off: Vec<&'static str>,
}

impl Stages {
    /// The budget begins to run now.
    #[must_use]
    pub fn begin(shutdown: &Shutdown, budget: Duration) -> Self {
        Self { began: Instant::now(), budget, abort: shutdown.abort_token().clone(), report: StopReport::default() }
    }

    /// Does `work` until `percent` of the whole budget are spent. `None` when it was cut off, then or by an abort.
    ///
    /// A stage always gets at least a moment, so that what is quick is done even after an abort.
    pub async fn stage<T>(&mut self, name: &'static str, percent: u32, work: impl Future<Output = T>) -> Option<T> {
        let began = Instant::now();
        let least = began + LEAST;
        let end = (self.began + self.budget * percent.min(100) / 100).max(least);
        let mut work = std::pin::pin!(work);
        let in_time = tokio::select! {
            done = timeout_at(end, work.as_mut()) => done.ok(),
            () = self.abort.cancelled() => timeout_at(least, work).await.ok(),
        };
        let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if in_time.is_some() {
            tracing::debug!(stage = name, duration_ms, "stop: {name} done");
        } else {
            tracing::warn!(stage = name, duration_ms, "stop: {name} was cut off");
            self.report.cut_off.push(name);
        }
        in_time
    }

    /// The time until `percent` of the whole budget are spent.
    #[must_use]
    pub fn remaining(&self, percent: u32) -> Duration {
        (self.budget * percent.min(100) / 100).saturating_sub(self.began.elapsed())
    }

    /// How it went.
    #[must_use]
    pub fn finish(mut self) -> StopReport {
        self.report.took = self.began.elapsed();
        self.report
    }
}

const LEAST: Duration = Duration::from_millis(250);
