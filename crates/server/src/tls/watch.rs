//! Notices that the pair was replaced: by SIGHUP, by a change in its directories, by looking now and then.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use certctl_engine::clock::Clock;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{ReloadOutcome, ReloadingTls, with_sources};

/// Reloads the pair whenever there may be a new one.
pub struct TlsWatcher {
    tls: Arc<ReloadingTls>,
    clock: Arc<dyn Clock>,
    poll_interval: Duration,
    hangup: Signal,
    changed: Arc<Notify>,
    // Dropping it ends the watch.
    _directories: Option<RecommendedWatcher>,
}

/// Nothing can tell the watcher about a hang-up.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for SIGHUP")]
pub struct WatchError(#[source] io::Error);

impl TlsWatcher {
    /// Listens for SIGHUP and for changes from now on; [`TlsWatcher::run`] acts upon them. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When SIGHUP cannot be listened for. Where directories cannot be watched, looking every `poll_interval` must do.
    pub fn start(tls: Arc<ReloadingTls>, clock: Arc<dyn Clock>, poll_interval: Duration) -> Result<Self, WatchError> {
        let hangup = signal(SignalKind::hangup()).map_err(WatchError)?;
        let changed = Arc::new(Notify::new());
        let directories = match watch_directories(&tls, Arc::clone(&changed)) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(error = %error, "cannot watch the directories of the TLS files; looking at them every {poll_interval:?} instead");
                None
            }
        };
        Ok(Self { tls, clock, poll_interval, hangup, changed, _directories: directories })
    }

    /// Reloads when told to, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = self.hangup.recv() => tracing::info!("SIGHUP: reading the TLS files again"),
                () = self.changed.notified() => self.settle().await,
                () = sleep(self.poll_interval) => {}
            }
            self.reload().await;
        }
    }

    /// Waits until nothing has changed for a moment: the pair is two files, and a writer needs a while for both.
    async fn settle(&self) {
        let end = Instant::now() + SETTLE_AT_MOST;
        while Instant::now() < end && timeout(QUIET, self.changed.notified()).await.is_ok() {}
    }

    async fn reload(&self) {
        let tls = Arc::clone(&self.tls);
        let now = self.clock.now();
        let failures_before = tls.status().failed;
        let Ok(outcome) = tokio::task::spawn_blocking(move || tls.reload(now)).await else {
            // It panicked, which the panic hook has logged; the old pair is still in use.
            return;
        };
        match outcome {
            Ok(ReloadOutcome::Unchanged) => tracing::debug!("the TLS files hold the pair that is in use"),
            Ok(ReloadOutcome::Replaced { fingerprint, not_after }) => {
                tracing::info!(tls.fingerprint = %fingerprint, tls.not_after = %not_after, "the server's own certificate was replaced");
            }
            // Told once, not at every look.
            Err(error) if self.tls.status().failed > failures_before => {
                let hint = error.hint().unwrap_or_default();
                tracing::error!(error = %with_sources(&error), hint, "the new TLS files are not usable; the old pair stays in use");
            }
            Err(_) => {}
        }
    }
}

impl fmt::Debug for TlsWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsWatcher").field("tls", &self.tls).field("poll_interval", &self.poll_interval).finish_non_exhaustive()
    }
}

/// Watches the directories instead of the files, because a file that is replaced by a rename is another file; so are the symbolic
/// links by which Kubernetes and certbot exchange both at once.
fn watch_directories(tls: &ReloadingTls, changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // An error may mean that events were lost, so it counts as a change.
        if event.map_or(true, |event| is_change(event.kind)) {
            changed.notify_one();
        }
    })?;
    let files = tls.files();
    let directories: BTreeSet<&Path> = [&files.cert, &files.key].into_iter().map(|file| directory(file)).collect();
    for directory in directories {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Our own reading makes events too; they must not make us read again.
const fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(kind) => matches!(kind, AccessKind::Close(AccessMode::Write)),
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

const QUIET: Duration = Duration::from_millis(250);
const SETTLE_AT_MOST: Duration = Duration::from_secs(3);
