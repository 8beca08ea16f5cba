//! Tasks that the process cannot be without: none of them ends unseen.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Shutdown, StopReason};

/// A set of named tasks. One that panics, fails, or ends although it should go on, stops the process.
#[derive(Debug, Clone)]
pub struct TaskGroup {
    shutdown: Shutdown,
    tasks: TaskTracker,
    cut: CancellationToken,
    next: Arc<AtomicU64>,
    running: Arc<Mutex<BTreeMap<u64, &'static str>>>,
}

/// A task that ended as it should not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task `{task}` {why}")]
pub struct TaskFailure {
    /// Its name.
    pub task: &'static str,
    /// Completes the sentence.
    pub why: String,
}

impl TaskGroup {
    /// An empty group.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        let cut = shutdown.abort_token().child_token();
        Self { shutdown, tasks: TaskTracker::new(), cut, next: Arc::default(), running: Arc::default() }
    }

    /// Runs a task that goes on until the stop. To end before it, or to panic, is a failure.
    pub fn spawn_service(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.shutdown.stop_token().clone();
        self.supervise(name, async move {
            task.await;
            if stop.is_cancelled() { Ok(()) } else { Err("ended although nobody asked it to".to_owned()) }
        });
    }

    /// Runs a task that may end by itself. To return an error, or to panic, is a failure.
    pub fn spawn<E: fmt::Display>(&self, name: &'static str, task: impl Future<Output = Result<(), E>> + Send + 'static) {
        self.supervise(name, task.map(|outcome| outcome.map_err(|error| format!("failed: {error}"))));
    }

    /// The names of the tasks that are running.
    #[must_use]
    pub fn running(&self) -> Vec<&'static str> {
        self.names().values().copied().collect()
    }

    /// Waits for every task, at most `budget`, then cuts off those that are left. Returns their names. The stop must have been asked for.
    pub async fn finish(&self, budget: Duration) -> Vec<&'static str> {
        self.tasks.close();
        if timeout(budget, self.tasks.wait()).await.is_ok() {
            return Vec::new();
        }
        let late = self.running();
        tracing::warn!(tasks = ?late, "cutting off tasks that did not stop in time");
        self.cut.cancel();
        late
    }

    fn supervise(&self, name: &'static str, task: impl Future<Output = Result<(), String>> + Send + 'static) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.names().insert(id, name);
        let group = self.clone();
        let supervised = async move {
            // Unwind safe: what the task owned is dropped, and the process stops.
            let outcome = group.cut.run_until_cancelled(AssertUnwindSafe(task).catch_unwind()).await;
            let why = match outcome {
                None | Some(Ok(Ok(()))) => None,
                Some(Ok(Err(why))) => Some(why),
                Some(Err(panic)) => Some(format!("panicked: {}", panic_text(panic.as_ref()))),
            };
            if let Some(why) = why {
                tracing::error!(task.name = name, "task `{name}` {why}");
                group.shutdown.request(StopReason::Task(TaskFailure { task: name, why }));
            } else {
                tracing::debug!(task.name = name, "task `{name}` ended");
            }
            group.names().remove(&id);
        };
        drop(self.tasks.spawn(supervised));
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<u64, &'static str>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
