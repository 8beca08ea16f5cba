//! Stopping: who asks for it, who must not fall silent before it, and how long it may take.
//!
//! SIGTERM or SIGINT, or a task that fails, asks for the stop; the first reason is kept. A second signal ends the waiting. The stop
//! then goes through named stages; each must be done by a stated share of the one budget, so that an early stage cannot use
//! up the time of a later one.

mod signals;
mod stages;
mod tasks;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

pub use signals::{SignalError, Signals};
pub use stages::{Stages, StopReport};
pub use tasks::{TaskFailure, TaskGroup};

/// The stop of the process, shared by everything that asks for it or heeds it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    stop: CancellationToken,
    abort: CancellationToken,
    reason: Arc<OnceLock<StopReason>>,
}

/// Why the process stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// Someone asked for it.
    Signal(&'static str),
    /// A task that the process cannot be without has ended.
    Task(TaskFailure),
    /// The program itself is done.
    Finished,
}

impl StopReason {
    /// Whether the process should report failure when it ends.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Task(_))
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(name) => write!(f, "{name} received"),
            Self::Task(failure) => failure.fmt(f),
            Self::Finished => f.write_str("finished"),
        }
    }
}

impl Shutdown {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for a graceful stop. The first reason counts; the stop itself cannot be taken back.
    pub fn request(&self, reason: StopReason) {
        if self.reason.set(reason.clone()).is_ok() {
            tracing::info!(reason = %reason, "stopping: {reason}");
        }
        self.stop.cancel();
    }

    /// Ends the waiting for a graceful stop.
    pub fn abort(&self) {
        self.stop.cancel();
        self.abort.cancel();
    }

    /// Waits until a stop is asked for; says why.
    pub async fn requested(&self) -> StopReason {
        self.stop.cancelled().await;
        self.reason.get().cloned().unwrap_or(StopReason::Finished)
    }

    /// Cancelled when a stop is asked for. New work is refused from then on, parked requests are answered.
    #[must_use]
    pub const fn stop_token(&self) -> &CancellationToken {
        &self.stop
    }

    /// Cancelled when nothing is waited for any more.
    #[must_use]
    pub const fn abort_token(&self) -> &CancellationToken {
        &self.abort
    }
}
