//! How the agent is, for `certctl-agent status` and for the log: last contact, trouble with the server, the clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certctl_api::client::ClientError;
use certctl_connector_core::ConnectorError;
use certctl_domain::agent::CLOCK_SKEW_LIMIT_MS;
use certctl_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::server::Verdict;
use crate::state::StateDir;

/// How the agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vitals {
    /// Version of its program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When that started.
    pub started_at: Timestamp,
    /// When it ended, if it could say so.
    pub stopped_at: Option<Timestamp>,
    /// When the server last answered.
    pub last_contact_at: Option<Timestamp>,
    /// How far this machine's clock is ahead, in milliseconds, as the server measured.
    pub clock_skew_ms: Option<i64>,
    /// What is wrong between it and the server.
    pub trouble: Option<Trouble>,
    /// How the last job ended.
    pub last_result: Option<LastResult>,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Of which kind.
    pub kind: TroubleKind,
    /// Since when.
    pub since: Timestamp,
    /// What.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Kinds of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// The server is not reached or cannot answer; the agent tries again.
    Unreachable,
    /// The server does not accept this agent; a person must act.
    Refused,
    /// The server has retired this agent.
    Retired,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastResult {
    /// The job.
    pub job_id: String,
    /// `Completed` or `Failed`, or `Requested` for a request that was made.
    pub status: String,
    /// What came out.
    pub detail: String,
    /// When.
    pub at: Timestamp,
}

/// Keeps the vitals, in memory and on disk.
#[derive(Debug)]
pub struct Pulse {
    state: StateDir,
    vitals: Mutex<Vitals>,
    changed: Notify,
}

impl Vitals {
    /// Those that a running or stopped agent left.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn load(state: &StateDir) -> Result<Option<Self>, ConnectorError> {
        state.read(FILE)
    }

    /// Whether the clock is so far off that it must be told.
    #[must_use]
    pub fn clock_is_off(&self) -> bool {
        self.clock_skew_ms.is_some_and(|skew| skew.abs() > CLOCK_SKEW_LIMIT_MS)
    }
}

impl Pulse {
    /// Of an agent that starts now.
    #[must_use]
    pub fn start(state: &StateDir) -> Self {
        let vitals = Vitals {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: clock::now(),
            stopped_at: None,
            last_contact_at: None,
            clock_skew_ms: None,
            trouble: None,
            last_result: None,
        };
        Self { state: state.clone(), vitals: Mutex::new(vitals), changed: Notify::new() }
    }

    /// The server answered.
    pub fn answered(&self) {
        let now = clock::now();
        let ended = {
            let mut vitals = self.lock();
            vitals.last_contact_at = Some(now);
            vitals.trouble.take()
        };
        if let Some(trouble) = ended {
            tracing::info!(outage_ms = %now.since(trouble.since).as_millis(), "the server answers again");
        }
        self.changed.notify_one();
    }

    /// A call failed in a way that says something about the agent's standing: told once, when it begins or changes.
    pub fn failed(&self, doing: &'static str, error: &ClientError) {
        let kind = match Verdict::of(error) {
            Verdict::Retired => TroubleKind::Retired,
            Verdict::Refused | Verdict::Superseded | Verdict::Rejected => TroubleKind::Refused,
            Verdict::Later => TroubleKind::Unreachable,
        };
        let what = error.to_string();
        let hint = match kind {
            TroubleKind::Refused => Some(REFUSED_HINT.to_owned()),
            TroubleKind::Unreachable | TroubleKind::Retired => error.hint().map(str::to_owned),
        };
        let news = {
            let mut vitals = self.lock();
            let since = vitals.trouble.as_ref().map_or_else(clock::now, |trouble| trouble.since);
            let news = vitals.trouble.as_ref().is_none_or(|trouble| trouble.kind != kind);
            vitals.trouble = Some(Trouble { kind, since, what: what.clone(), hint: hint.clone() });
            news
        };
        if news {
            match kind {
                TroubleKind::Refused => {
                    tracing::error!(doing, error = %what, hint = REFUSED_HINT, "the server does not accept this agent; asking now and then")
                }
                TroubleKind::Unreachable => tracing::warn!(doing, error = %what, hint, "the server cannot be reached; trying again"),
                TroubleKind::Retired => tracing::warn!(doing, "the server has retired this agent"),
            }
        } else {
            tracing::debug!(doing, error = %what, "still no answer");
        }
        self.changed.notify_one();
    }

    /// The server measured this machine's clock.
    pub fn clock_measured(&self, skew_ms: Option<i64>) {
        let (was_off, is_off) = {
            let mut vitals = self.lock();
            let was_off = vitals.clock_is_off();
            vitals.clock_skew_ms = skew_ms;
            (was_off, vitals.clock_is_off())
        };
        match (was_off, is_off) {
            (false, true) => {
                let hint = "set up time synchronization, e.g. systemctl enable --now systemd-timesyncd; timedatectl status";
                tracing::warn!(clock_skew_ms = skew_ms, hint, "this machine's clock is wrong by more than 30 seconds");
            }
            (true, false) => tracing::info!(clock_skew_ms = skew_ms, "this machine's clock is right again"),
            _ => {}
        }
        self.changed.notify_one();
    }

    /// A job ended.
    pub fn ended(&self, result: LastResult) {
        self.lock().last_result = Some(result);
        self.changed.notify_one();
    }

    /// The vitals now.
    #[must_use]
    pub fn now(&self) -> Vitals {
        self.lock().clone()
    }

    /// Writes them down whenever they change, at most once a second, until told to stop.
    pub async fn keep(&self, stop: CancellationToken) {
        self.write();
        while stop.run_until_cancelled(self.changed.notified()).await.is_some() {
            self.write();
            if stop.run_until_cancelled(tokio::time::sleep(PACE)).await.is_none() {
                break;
            }
        }
    }

    /// Writes down that the agent ends.
    pub fn stop(&self) {
        self.lock().stopped_at = Some(clock::now());
        self.write();
    }

    fn write(&self) {
        let vitals = self.now();
        if let Err(error) = self.state.write(FILE, &vitals) {
            tracing::warn!(error = %error.explain(), "the agent's status cannot be written");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vitals> {
        self.vitals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file of the vitals.
pub const FILE: &str = "status.json";

const PACE: Duration = Duration::from_secs(1);
const REFUSED_HINT: &str = "its credential was revoked, or the server's database is another one; \
    mint a token with `certctl agents token create`, stop the agent, and run `certctl-agent enroll --replace`";

#[cfg(test)]
mod tests {
    use certctl_api::problem::Problem;

    use super::*;

    fn refused(status: u16) -> ClientError {
        ClientError::Problem(Box::new(Problem { status, detail: format!("answer {status}"), ..Problem::default() }))
    }

    #[test]
    fn trouble_keeps_its_beginning_and_ends_with_an_answer() {
        let temporary = tempfile::tempdir().unwrap();
        let state = StateDir::create(temporary.path()).unwrap();
        let pulse = Pulse::start(&state);
        pulse.failed("heartbeat", &refused(503));
        let first = pulse.now().trouble.unwrap();
        assert_eq!(first.kind, TroubleKind::Unreachable);
        pulse.failed("heartbeat", &refused(401));
        let second = pulse.now().trouble.unwrap();
        assert_eq!((second.kind, second.since), (TroubleKind::Refused, first.since));
        assert!(second.hint.unwrap().contains("enroll --replace"));
        pulse.answered();
        assert!(pulse.now().trouble.is_none() && pulse.now().last_contact_at.is_some());
    }

    #[test]
    fn the_clock_is_off_beyond_thirty_seconds_either_way() {
        let temporary = tempfile::tempdir().unwrap();
        let pulse = Pulse::start(&StateDir::create(temporary.path()).unwrap());
        for (skew, off) in [(None, false), (Some(30_000), false), (Some(30_001), true), (Some(-40_000), true), (Some(5), false)] {
            pulse.clock_measured(skew);
            assert_eq!(pulse.now().clock_is_off(), off, "{skew:?}");
        }
    }

    #[tokio::test]
    async fn what_was_written_last_is_what_is_read() {
        let temporary = tempfile::tempdir().unwrap();
        let state = StateDir::create(temporary.path()).unwrap();
        let pulse = Pulse::start(&state);
        let stop = CancellationToken::new();
        stop.cancel();
        pulse.keep(stop).await;
        assert_eq!(Vitals::load(&state).unwrap().unwrap().stopped_at, None);
        pulse.stop();
        assert!(Vitals::load(&state).unwrap().unwrap().stopped_at.is_some());
    }
}
