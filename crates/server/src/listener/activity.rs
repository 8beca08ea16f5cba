//! Whether a connection does anything, so that one that does nothing can be closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

/// Counts the requests of one connection.
#[derive(Debug, Default, Clone)]
pub(super) struct Activity(Arc<Requests>);

#[derive(Debug, Default)]
struct Requests {
    begun: AtomicU64,
    running: AtomicUsize,
}

/// How a connection came to be of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// It never sent a request.
    FromTheStart,
    /// It has sent none for long.
    SinceTheLast,
}

impl Activity {
    /// Counts a request as running until what is returned is dropped.
    pub(super) fn begin(&self) -> Running {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(&self.0))
    }

    /// Whether no request has come yet.
    pub(super) fn is_unused(&self) -> bool {
        self.begun() == 0
    }

    /// Ends when no request came within `first`, or none was running and none came for between `idle` and twice `idle`.
    ///
    /// Looking once an interval, instead of setting a timer for every request, costs a request nothing.
    pub(super) async fn silence(&self, first: Duration, idle: Duration) -> Silence {
        let end = Instant::now() + first;
        while self.is_unused() {
            if Instant::now() >= end {
                return Silence::FromTheStart;
            }
            sleep_until(end.min(Instant::now() + idle)).await;
        }
        loop {
            let before = self.begun();
            sleep(idle).await;
            if self.begun() == before && self.0.running.load(Ordering::Relaxed) == 0 {
                return Silence::SinceTheLast;
            }
        }
    }

    fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::Relaxed)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Running(Arc<Requests>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
