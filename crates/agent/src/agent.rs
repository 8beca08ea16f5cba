//! What the tasks of a running agent share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use certctl_connector_core::ConnectorError;

use crate::challenges::ChallengeSettings;
use crate::identity::Identity;
use crate::keys::Keys;
use crate::outbox::Outbox;
use crate::server::{Address, Server};
use crate::state::StateDir;
use crate::vitals::Pulse;

/// An enrolled agent, ready to run.
#[derive(Debug)]
pub struct Agent {
    pub(crate) identity: Identity,
    pub(crate) state: StateDir,
    pub(crate) server: Server,
    pub(crate) keys: Arc<Keys>,
    pub(crate) outbox: Outbox,
    pub(crate) pulse: Pulse,
    /// Where the deployment engine keeps its journals.
    pub(crate) journal: PathBuf,
    /// The file that decides which programs may run.
    pub(crate) allow_list: PathBuf,
    /// Where CAs that look at this host are answered.
    pub(crate) challenges: ChallengeSettings,
    pub(crate) timing: Timing,
}

/// What this host alone decides.
#[derive(Debug, Clone, Default)]
pub struct HostSettings {
    /// The file that decides which programs may run, if it is not in the state directory.
    pub allow_list: Option<PathBuf>,
    /// Where CAs that look at this host are answered.
    pub challenges: ChallengeSettings,
}

/// How patient the agent is.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Between two heartbeats; `None` leaves it to the server.
    pub heartbeat: Option<Duration>,
    /// How long the server may hold a question for work.
    pub poll_wait: Duration,
    /// The first wait after a failure.
    pub shortest_wait: Duration,
    /// The longest wait after many failures.
    pub longest_wait: Duration,
    /// Between two questions for work when the last one brought nothing new and was not held.
    pub idle_pace: Duration,
    /// Between two reports of a running job without news: well below the length of a lease.
    pub keep_alive: Duration,
    /// Between two reports of a running job with news.
    pub progress_pace: Duration,
    /// How long a deployment waits for a server that does not answer.
    pub patience: Duration,
    /// How long a deployment may take before it is given up; its next try finishes or undoes what was begun.
    pub deployment: Duration,
    /// How long running jobs may go on after the agent was told to stop.
    pub drain: Duration,
    /// How long results may be sent after that.
    pub farewell: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: None,
            poll_wait: Duration::from_secs(30),
            shortest_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
            idle_pace: Duration::from_secs(1),
            keep_alive: Duration::from_secs(10),
            progress_pace: Duration::from_secs(1),
            patience: Duration::from_secs(60),
            deployment: Duration::from_secs(30 * 60),
            drain: Duration::from_secs(15),
            farewell: Duration::from_secs(3),
        }
    }
}

impl Agent {
    /// Opens the state of an enrolled agent. Nothing is sent.
    ///
    /// # Errors
    /// When it is not enrolled, or its state or address cannot be used.
    pub fn open(state: &StateDir, host: HostSettings, timing: Timing) -> Result<Self, ConnectorError> {
        let identity = Identity::load(state)?.ok_or_else(|| not_enrolled(state))?;
        let address = Address { server: identity.server.clone(), ca_pem: identity.ca_pem(state)? };
        let server = Server::new(identity.agent_id.clone(), &identity.credential, &address, timing.poll_wait)
            .map_err(|e| ConnectorError::permanent("the server's address or CA in the state directory cannot be used").caused_by(e))?;
        Ok(Self {
            server,
            keys: Arc::new(Keys::open(state)?),
            outbox: Outbox::open(state)?,
            pulse: Pulse::start(state),
            journal: state.directory(JOURNAL)?,
            allow_list: host.allow_list.unwrap_or_else(|| state.join(ALLOW_LIST)),
            challenges: host.challenges,
            state: state.clone(),
            identity,
            timing,
        })
    }
}

/// The agent has no identity.
#[must_use]
pub fn not_enrolled(state: &StateDir) -> ConnectorError {
    ConnectorError::permanent(format!("this agent is not enrolled: there is no identity in {}", state.path().display()))
        .hint("mint a token on the server with `certctl agents token create`, then run `certctl-agent enroll`")
}

/// The file that decides which programs may run.
pub const ALLOW_LIST: &str = "allow.toml";
/// The directory of the deployment engine.
pub const JOURNAL: &str = "journal";
