//! Runs the streams of HTTP/2 connections where a stop can wait for them and cut them off.

use hyper::rt::Executor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns into a group; `cut` ends what it spawned.
#[derive(Debug, Clone)]
pub(super) struct GroupExecutor {
    pub(super) tasks: TaskTracker,
    pub(super) cut: CancellationToken,
}

impl<F> Executor<F> for GroupExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        let cut = self.cut.clone();
        drop(self.tasks.spawn(async move { cut.run_until_cancelled_owned(task).await }));
    }
}
