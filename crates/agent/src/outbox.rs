//! What the server has not taken yet: signing requests and results. On disk before it is sent, gone when the server has
//! taken or refused it; so a server that is away loses nothing.

mod letter;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use certctl_connector_core::{ConnectorError, fault};
use certctl_domain::ids::JobId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use self::letter::{Contents, Letter};
use crate::backoff::Backoff;
use crate::server::{Server, Verdict};
use crate::state::{StateDir, entries, read_json, read_private, remove_private, write_json};

/// Letters to the server.
#[derive(Debug)]
pub struct Outbox {
    root: PathBuf,
    /// A letter is replaced, or removed after sending: not both at once.
    turn: Mutex<()>,
    posted: Notify,
}

/// How a round of sending went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Nothing is left.
    Empty,
    /// Something is left, to be tried again.
    Left,
}

impl Outbox {
    /// The outbox of a state directory.
    ///
    /// # Errors
    /// When its directory cannot be made or used.
    pub fn open(state: &StateDir) -> Result<Self, ConnectorError> {
        Ok(Self { root: state.directory(DIRECTORY)?, turn: Mutex::default(), posted: Notify::new() })
    }

    /// Keeps a letter, in the place of an older one of the same kind for the same job, and has it sent.
    ///
    /// # Errors
    /// When the disk refuses; the letter is then not sent either.
    pub fn post(&self, letter: &Letter) -> Result<(), ConnectorError> {
        {
            let _turn = self.turn();
            write_json(&self.root.join(letter.file_name()), letter)?;
        }
        self.posted.notify_one();
        Ok(())
    }

    /// Whether an answer to this hand-out of a job waits here.
    #[must_use]
    pub fn holds(&self, job: &JobId, fence: i64) -> bool {
        Letter::file_names(job).iter().any(|name| {
            let letter: Result<Option<Letter>, _> = read_json(&self.root.join(name));
            letter.is_ok_and(|letter| letter.is_some_and(|letter| letter.fence == fence))
        })
    }

    /// How many letters wait.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn waiting(state: &StateDir) -> Result<usize, ConnectorError> {
        Ok(entries(&state.join(DIRECTORY))?.iter().filter(|path| is_letter(path)).count())
    }

    /// Sends what waits and what is posted, until told to stop.
    pub async fn deliver(&self, server: &Server, backoff: &mut Backoff, stop: &CancellationToken) {
        loop {
            let round = stop.run_until_cancelled(self.send_all(server)).await;
            let wait = match round {
                None => return,
                Some(Round::Empty) => {
                    backoff.reset();
                    None
                }
                Some(Round::Left) => Some(backoff.after_failure()),
            };
            let pause = async {
                match wait {
                    None => self.posted.notified().await,
                    // Something new is worth a try at once: the server may be back.
                    Some(wait) => tokio::select! { () = tokio::time::sleep(wait) => {}, () = self.posted.notified() => {} },
                }
            };
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// Tries each letter once.
    pub async fn send_all(&self, server: &Server) -> Round {
        let mut round = Round::Empty;
        let paths = entries(&self.root).unwrap_or_else(|error| {
            tracing::error!(error = %error.explain(), "the outbox cannot be read");
            Vec::new()
        });
        for path in paths.into_iter().filter(|path| is_letter(path)) {
            let letter: Letter = match read_private(&path).map(|bytes| bytes.map(|bytes| serde_json::from_slice(&bytes))) {
                Ok(Some(Ok(letter))) => letter,
                Ok(None) => continue,
                Ok(Some(Err(error))) => {
                    tracing::error!(letter = %path.display(), line = error.line(), column = error.column(), "a letter is damaged and is given up");
                    self.remove(&path);
                    continue;
                }
                Err(error) => {
                    tracing::error!(error = %error.explain(), "a letter cannot be read for now");
                    round = Round::Left;
                    continue;
                }
            };
            match self.send(server, &letter).await {
                Sent::Settled => self.remove_if_unchanged(&path, &letter),
                Sent::Later => round = Round::Left,
                // Nobody is there: the other letters would only wait for their time-outs.
                Sent::Unreachable => return Round::Left,
            }
        }
        round
    }

    async fn send(&self, server: &Server, letter: &Letter) -> Sent {
        let (job, kind) = (&letter.job_id, letter.kind());
        let answer = match &letter.contents {
            Contents::Request(request) => server.submit(request).await,
            Contents::Report(report) => server.report(job, report).await,
        };
        let Err(error) = answer else {
            fault::point(if kind == "request" { "csr.sent" } else { "report.sent" });
            tracing::info!(job.id = %job, kind, "the server took the {kind}");
            return Sent::Settled;
        };
        match Verdict::of(&error) {
            Verdict::Superseded | Verdict::Retired => {
                tracing::warn!(job.id = %job, kind, %error, "the server no longer wants the {kind}; dropped");
                Sent::Settled
            }
            Verdict::Rejected => {
                tracing::error!(job.id = %job, kind, %error, hint = error.hint(), "the server rejects the {kind}");
                // A request that is not acceptable ends its job, in words; a report that is not has nothing to fall back on.
                match letter.rejected(&error) {
                    Some(report) => self.post(&report).map_or_else(
                        |error| {
                            tracing::error!(error = %error.explain(), "a result cannot be written down");
                            Sent::Later
                        },
                        |()| Sent::Settled,
                    ),
                    None => Sent::Settled,
                }
            }
            Verdict::Later if error.status().is_none() => {
                tracing::debug!(job.id = %job, kind, %error, "the {kind} waits");
                Sent::Unreachable
            }
            Verdict::Later | Verdict::Refused => {
                tracing::warn!(job.id = %job, kind, %error, "the {kind} waits");
                Sent::Later
            }
        }
    }

    /// A newer letter may have taken the place while the older one was on its way: that one is still to be sent.
    fn remove_if_unchanged(&self, path: &Path, sent: &Letter) {
        let _turn = self.turn();
        let now: Result<Option<Letter>, _> = read_json(path);
        if now.is_ok_and(|now| now.as_ref() == Some(sent)) {
            self.remove(path);
        }
    }

    fn remove(&self, path: &Path) {
        if let Err(error) = remove_private(path) {
            tracing::error!(error = %error.explain(), "a letter cannot be removed and will be sent again");
        }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The directory of the outbox.
pub const DIRECTORY: &str = "outbox";

enum Sent {
    Settled,
    Later,
    Unreachable,
}

fn is_letter(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}
