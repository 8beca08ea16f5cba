//! The points between two steps, at which tests let the process die.

/// A point between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Point {
    Locked,
    Begun,
    BackedUp(usize),
    StagedFile(usize),
    Staged,
    Checked,
    Swapping,
    SwappedFile(usize),
    SwapDone,
    Swapped,
    LiveSet,
    LiveGiven,
    ReloadDone,
    Reloaded,
    Observed,
    Committed,
    CleanedUp,
    RollingBack,
    RestoredFile(usize),
    RestoreDone,
    Restored,
    OldReloaded,
    OldObserved,
    RolledBack,
}

/// Passes a point; in tests, perhaps never to return.
#[cfg(not(test))]
pub(crate) async fn reach(_point: Point) {}

#[cfg(test)]
pub(crate) async fn reach(point: Point) {
    let dies = FAULTS.try_with(|fault| fault(point)).unwrap_or(false);
    if dies {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
type Fault = std::sync::Arc<dyn Fn(Point) -> bool + Send + Sync>;

#[cfg(test)]
tokio::task_local! {
    static FAULTS: Fault;
}

/// Runs a future until it ends (`Some`) or until `fault` says that it dies at a point (`None`): it is then dropped on the spot,
/// as the end of the process would drop it, without a chance to clean up.
#[cfg(test)]
pub(crate) async fn with_faults<T>(fault: impl Fn(Point) -> bool + Send + Sync + 'static, work: impl Future<Output = T>) -> Option<T> {
    let died = std::sync::Arc::new(tokio::sync::Notify::new());
    let tell = std::sync::Arc::clone(&died);
    let fault: Fault = std::sync::Arc::new(move |point| {
        let dies = fault(point);
        if dies {
            tell.notify_one();
        }
        dies
    });
    tokio::select! {
        biased;
        ended = FAULTS.scope(fault, work) => Some(ended),
        () = died.notified() => None,
    }
}
