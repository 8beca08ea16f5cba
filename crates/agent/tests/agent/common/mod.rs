//! What the agent's tests stand on: a small server that speaks the agent's side of the API, and an agent in front of it.

pub(crate) mod authority;
pub(crate) mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use certctl_agent::agent::{Agent, HostSettings, Timing};
use certctl_agent::enroll::{Anchor, Enrollment, enroll};
use certctl_agent::identity::Identity;
use certctl_agent::run::{Ended, Shutdown, run};
use certctl_agent::state::StateDir;
use certctl_connector_core::ConnectorError;
use certctl_domain::secret::Secret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

pub(crate) use self::server::FakeServer;

/// Longer than anything here takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A machine with an agent on it.
pub(crate) struct Host {
    _temporary: TempDir,
    pub(crate) root: PathBuf,
    pub(crate) state: StateDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        let state = StateDir::create(&root.join("state")).unwrap();
        Self { _temporary: temporary, root, state }
    }

    /// A machine whose agent is enrolled.
    pub(crate) async fn enrolled(server: &FakeServer) -> Self {
        let host = Self::new();
        let enrollment = host.enrollment(server, &server.token());
        host.enroll(enrollment).await.unwrap();
        host
    }

    pub(crate) fn enrollment(&self, server: &FakeServer, token: &str) -> Enrollment {
        Enrollment {
            server: server.url(),
            token: Secret::new(token.to_owned()),
            name: Some("web1".into()),
            anchor: Anchor::Pem(server.ca_pem()),
        }
    }

    pub(crate) async fn enroll(&self, enrollment: Enrollment) -> Result<Identity, ConnectorError> {
        let lock = self.state.lock().await.unwrap();
        enroll(&self.state, &lock, enrollment).await
    }

    /// Starts the agent in this process.
    pub(crate) async fn start(&self) -> Running {
        self.start_with(quick()).await
    }

    /// Starts the agent in this process, with other patience.
    pub(crate) async fn start_with(&self, timing: Timing) -> Running {
        self.start_as(HostSettings::default(), timing).await
    }

    /// Starts the agent in this process, on a host that is set up so.
    pub(crate) async fn start_as(&self, host: HostSettings, timing: Timing) -> Running {
        let lock = self.state.lock().await.unwrap();
        let agent = Agent::open(&self.state, host, timing).unwrap();
        let shutdown = Shutdown::default();
        let mut task = JoinSet::new();
        task.spawn(run(agent, lock, shutdown.clone()));
        Running { task, shutdown }
    }

    pub(crate) fn allow(&self, argv: &[&str]) {
        let argv = argv.iter().map(|&item| item.to_owned()).collect();
        certctl_agent::commands::allow::add(&self.state.join("allow.toml"), &[argv]).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn files_target(&self, name: &str) -> Value {
        json!({"certificate_path": self.path(&format!("{name}.pem")), "key_path": self.path(&format!("{name}.key"))})
    }
}

/// An agent that runs.
pub(crate) struct Running {
    task: JoinSet<Result<Ended, ConnectorError>>,
    pub(crate) shutdown: Shutdown,
}

impl Running {
    /// Tells it to stop, and waits.
    pub(crate) async fn stop(self) -> Ended {
        self.shutdown.stop.cancel();
        self.ended().await
    }

    pub(crate) async fn ended(mut self) -> Ended {
        tokio::time::timeout(LONG, self.task.join_next()).await.unwrap().unwrap().unwrap().unwrap()
    }

    /// Ends it as a power failure would.
    pub(crate) async fn kill(mut self) {
        self.task.shutdown().await;
    }
}

/// As patient as a test is.
pub(crate) fn quick() -> Timing {
    Timing {
        heartbeat: Some(Duration::from_millis(50)),
        poll_wait: Duration::from_secs(1),
        shortest_wait: Duration::from_millis(20),
        longest_wait: Duration::from_millis(100),
        idle_pace: Duration::from_millis(20),
        keep_alive: Duration::from_millis(100),
        progress_pace: Duration::from_millis(10),
        patience: Duration::from_secs(5),
        deployment: LONG,
        drain: Duration::from_secs(15),
        farewell: Duration::from_secs(3),
    }
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

pub(crate) fn files_in(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
