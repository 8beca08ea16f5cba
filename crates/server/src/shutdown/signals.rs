//! SIGTERM and SIGINT.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Shutdown, StopReason};

/// Listens for the signals that ask a process to stop.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// A signal cannot be listened for.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for {name}")]
pub struct SignalError {
    name: &'static str,
    #[source]
    source: io::Error,
}

impl Signals {
    /// Takes the signals over; from now on they no longer kill the process. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> Result<Self, SignalError> {
        let listen = |kind, name| signal(kind).map_err(|source| SignalError { name, source });
        Ok(Self { terminate: listen(SignalKind::terminate(), TERMINATE)?, interrupt: listen(SignalKind::interrupt(), INTERRUPT)? })
    }

    /// Does `work` to its end while the signals are heeded: the first asks for a graceful stop, the second ends the waiting for it.
    pub async fn heed_during<T>(mut self, shutdown: &Shutdown, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            never = self.heed(shutdown) => match never {},
        }
    }

    async fn heed(&mut self, shutdown: &Shutdown) -> std::convert::Infallible {
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => TERMINATE,
                _ = self.interrupt.recv() => INTERRUPT,
            };
            if shutdown.stop_token().is_cancelled() {
                tracing::warn!(signal = name, "{name} received while stopping: not waiting any longer");
                shutdown.abort();
            } else {
                shutdown.request(StopReason::Signal(name));
            }
        }
    }
}

const TERMINATE: &str = "SIGTERM";
const INTERRUPT: &str = "SIGINT";
