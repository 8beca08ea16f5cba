//! Numbers about this process: counted where it happens, read by one scrape. Fleet numbers come from the store's counters.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use certctl_domain::time::Timestamp;

/// What this process counted.
#[derive(Debug, Default)]
pub struct Metrics {
    tasks: Mutex<BTreeMap<&'static str, TaskCount>>,
}

/// What became of a task.
#[derive(Debug, Clone, Copy, Default)]
pub struct TaskCount {
    /// Runs that succeeded.
    pub runs: u64,
    /// Runs that failed.
    pub failures: u64,
    /// What was done in all runs.
    pub done: u64,
    /// How long all runs took, in seconds.
    pub seconds: f64,
    /// When it last succeeded.
    pub succeeded_at: Option<Timestamp>,
}

impl Metrics {
    /// A task succeeded.
    pub fn task_ran(&self, name: &'static str, took: Duration, done: u64, at: Timestamp) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let task = tasks.entry(name).or_default();
        task.runs += 1;
        task.done += done;
        task.seconds += took.as_secs_f64();
        task.succeeded_at = Some(at);
    }

    /// A task failed.
    pub fn task_failed(&self, name: &'static str) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().failures += 1;
    }

    /// What became of every task that ran here.
    #[must_use]
    pub fn tasks(&self) -> BTreeMap<&'static str, TaskCount> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
