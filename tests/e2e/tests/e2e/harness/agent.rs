//! A certctl-agent on a machine of its own: a state directory.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use certctl_testkit::wait_until;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Cli, Home, LONG, Process, Ran, Server, command, in_own_mounts, product, read, run, run_with_input};

/// An agent; it runs or it does not.
pub(crate) struct Agent {
    home: Arc<Home>,
    /// Its name.
    pub(crate) name: String,
    /// Its state directory.
    pub(crate) state: PathBuf,
    process: Option<Process>,
}

impl Agent {
    /// A machine without an agent.
    pub(crate) fn new(home: &Arc<Home>, name: &str) -> Self {
        Self { home: Arc::clone(home), name: name.to_owned(), state: home.join(&format!("agent-{name}")), process: None }
    }

    /// A machine whose agent is enrolled and runs.
    pub(crate) async fn running(home: &Arc<Home>, name: &str, (server, cli): (&Server, &Cli)) -> Self {
        let mut agent = Self::new(home, name);
        let token = token(home, cli, name).await;
        agent.enroll(server, &token).await.ok();
        agent.start();
        agent.online(cli).await;
        agent
    }

    /// Enrolls it.
    pub(crate) async fn enroll(&self, server: &Server, token: &str) -> Ran {
        self.enroll_at(&server.url(), server, token).await
    }

    /// Enrolls it by way of another address.
    pub(crate) async fn enroll_at(&self, url: &str, server: &Server, token: &str) -> Ran {
        let ca = server.ca_file();
        let words = ["enroll", "--server", url, "--ca", ca.to_str().unwrap(), "--token-file", "-"];
        let mut program = command(&self.home, product("certctl-agent"));
        program.env("CERTCTL_AGENT_STATE_DIR", &self.state).args(words);
        let ran = run_with_input(&mut program, token).await;
        if ran.code == Some(0) {
            self.home.plant_key(&self.credential());
        }
        ran
    }

    /// Runs another of its commands to the end.
    pub(crate) async fn command(&self, words: &[&str]) -> Ran {
        run(command(&self.home, product("certctl-agent")).env("CERTCTL_AGENT_STATE_DIR", &self.state).args(words)).await
    }

    /// Allows a command on its machine.
    pub(crate) async fn allow(&self, argv: &[&str]) {
        self.command(&[&["allow", "--"], argv].concat()).await.ok();
    }

    /// Starts it.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts it with further variables.
    pub(crate) fn start_with(&mut self, variables: &[(&str, &str)]) {
        self.start_as(|words| words.iter().map(ToString::to_string).collect(), variables);
    }

    /// Starts it in mounts of its own.
    pub(crate) fn start_in_own_mounts(&mut self, script: &str) {
        self.start_as(|words| in_own_mounts(script, words), &[]);
    }

    fn start_as(&mut self, words: impl FnOnce(&[&str]) -> Vec<String>, variables: &[(&str, &str)]) {
        let program = product("certctl-agent");
        let words = words(&[program.to_str().unwrap(), "run", "--log-level", "debug"]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let name = format!("agent-{}", self.name);
        self.process = Some(Process::start(&self.home, &name, &words, Signal::SIGKILL, |command| {
            command.env("CERTCTL_AGENT_STATE_DIR", &self.state).envs(variables.iter().copied());
        }));
    }

    /// Waits until the server hears of it.
    pub(crate) async fn online(&mut self, cli: &Cli) {
        let process = self.process.as_mut().unwrap();
        wait_until("an agent that is online", LONG, async || {
            process.must_run();
            let shown = cli.run(&["agents", "get", &self.name, "--output", "json"]).await;
            shown.code == Some(0) && shown.json()["status"] == "Online"
        })
        .await;
    }

    /// The process that runs.
    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    /// Kills it as a power cut would.
    pub(crate) async fn kill(&mut self) {
        self.process.take().unwrap().kill().await;
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(&mut self, within: Duration) -> ExitStatus {
        let mut process = self.process.take().unwrap();
        process.signal(Signal::SIGTERM);
        process.ended(within).await
    }

    /// Its id.
    pub(crate) fn id(&self) -> String {
        self.identity()["agent_id"].as_str().unwrap().to_owned()
    }

    /// What it shows to the server.
    pub(crate) fn credential(&self) -> String {
        self.identity()["credential"].as_str().unwrap().to_owned()
    }

    fn identity(&self) -> Value {
        serde_json::from_str(&read(&self.state.join("identity.json"))).unwrap()
    }
}

/// A one-time token for an agent with this name.
pub(crate) async fn token(home: &Home, cli: &Cli, name: &str) -> String {
    let made = cli.json(&["agents", "token", "create", "--name", name]).await;
    let token = made["token_value"].as_str().unwrap().to_owned();
    home.plant_key(&token);
    token
}
