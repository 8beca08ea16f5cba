//! A certctl-server: started as its users start it, killed, stopped, started again on the same data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use certctl_testkit::{Database, wait_for};
use nix::sys::signal::Signal;
use tokio::process::Command;

use super::{Api, Home, LONG, Process, Ran, command, free_port, in_own_mounts, product, read, run, write};

/// With which settings a server starts.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// What it is called here.
    pub(crate) name: String,
    /// Its data directory.
    pub(crate) data: PathBuf,
    /// Where it listens.
    pub(crate) port: u16,
    /// Further variables.
    pub(crate) variables: BTreeMap<String, String>,
    /// Whom to trust to be it; the CA that it makes itself when nobody else is named.
    pub(crate) trusted: Option<PathBuf>,
    /// The program: that of this workspace, or of another release.
    pub(crate) program: PathBuf,
}

impl Setup {
    /// Nothing but a place and a port: SQLite in the data directory.
    pub(crate) fn plain(home: &Home, name: &str) -> Self {
        let (variables, program) = (BTreeMap::new(), product("certctl-server"));
        Self { name: name.to_owned(), data: home.join(name), port: free_port(), variables, trusted: None, program }
    }

    /// A server on a database of the test kit.
    pub(crate) fn on(home: &Home, name: &str, database: &Database) -> Self {
        Self::plain(home, name).with_postgres(database.url())
    }

    /// With a PostgreSQL, which needs a key that all replicas share.
    pub(crate) fn with_postgres(self, url: &str) -> Self {
        let key = self.data.with_file_name("encryption.key");
        write(&key, KEY);
        self.with("CERTCTL_DATABASE_URL", url).with("CERTCTL_ENCRYPTION_KEY_FILE", key.to_str().unwrap())
    }

    /// With one more variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With a certificate of its own that these authorities signed.
    pub(crate) fn trusting(mut self, authorities: &Path) -> Self {
        self.trusted = Some(authorities.to_owned());
        self
    }

    /// Runs the program to its end with these settings.
    pub(crate) async fn run(&self, home: &Home, words: &[&str]) -> Ran {
        let mut server = command(home, &self.program);
        self.apply(&mut server);
        run(server.args(words)).await
    }

    /// Runs a shell script with these settings, in mounts of its own; the program is its `$PROGRAM`.
    pub(crate) async fn run_in_own_mounts(&self, home: &Home, script: &str) -> Ran {
        let words = in_own_mounts("true", &["sh", "-ec", script]);
        let mut shell = command(home, &words[0]);
        self.apply(&mut shell);
        run(shell.args(&words[1..]).env("PROGRAM", product("certctl-server"))).await
    }

    /// Puts the settings into the environment of a command.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.env("CERTCTL_SERVER_LISTEN", format!("127.0.0.1:{}", self.port)).env("CERTCTL_SERVER_DATA_DIR", &self.data);
        command.envs(&self.variables);
    }
}

/// A running server.
pub(crate) struct Server {
    home: Arc<Home>,
    pub(crate) setup: Setup,
    process: Process,
}

impl Server {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(home: &Arc<Home>, setup: Setup) -> Self {
        let mut server = Self::begin(home, setup);
        server.ready().await;
        server
    }

    /// Starts it and does not wait.
    pub(crate) fn begin(home: &Arc<Home>, setup: Setup) -> Self {
        let process = Self::spawn(home, &setup);
        Self { home: Arc::clone(home), setup, process }
    }

    /// Starts it again, on the same port and data. It must have ended before.
    pub(crate) async fn start_again(&mut self) {
        self.process = Self::spawn(&self.home, &self.setup);
        self.ready().await;
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&mut self) {
        wait_for("a ready server", LONG, async || {
            self.process.must_run();
            let ca = std::fs::read_to_string(self.ca_file()).ok().filter(|ca| ca.ends_with("-----\n"))?;
            let reply = Api::new(&self.url(), &ca).try_send("GET", "/ready", &[], None).await.ok()?;
            (reply.status == 200).then_some(())
        })
        .await;
    }

    /// `https://127.0.0.1:port`
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.setup.port)
    }

    /// The CA of its own certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.setup.trusted.clone().unwrap_or_else(|| self.setup.data.join("tls/ca.pem"))
    }

    /// The first administrator's key, as the server keeps it.
    pub(crate) fn first_key_file(&self) -> PathBuf {
        self.setup.data.join("first-admin-token")
    }

    /// Raw HTTP to it, without a credential.
    pub(crate) fn api(&self) -> Api {
        Api::new(&self.url(), &read(&self.ca_file()))
    }

    /// Fails the test when it has ended.
    pub(crate) fn process_must_run(&mut self) {
        self.process.must_run();
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// The most memory that it had in use, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = read(Path::new(&format!("/proc/{}/status", self.process.pid())));
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Kills it as a power cut would.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(&mut self, within: Duration) -> ExitStatus {
        self.process.signal(Signal::SIGTERM);
        self.process.ended(within).await
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self, within: Duration) -> ExitStatus {
        self.process.ended(within).await
    }

    /// Starts it again in mounts of its own.
    pub(crate) async fn start_again_in_own_mounts(&mut self, script: &str) {
        let program = product("certctl-server");
        let words = in_own_mounts(script, &[program.to_str().unwrap()]);
        self.process = Self::spawn_as(&self.home, &self.setup, &words.iter().map(String::as_str).collect::<Vec<_>>());
        self.ready().await;
    }

    /// Its process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    fn spawn(home: &Home, setup: &Setup) -> Process {
        let program = &setup.program;
        Self::spawn_as(home, setup, &[program.to_str().unwrap()])
    }

    fn spawn_as(home: &Home, setup: &Setup, words: &[&str]) -> Process {
        Process::start(home, &setup.name, words, Signal::SIGKILL, |command| setup.apply(command))
    }
}

/// 32 bytes in base64.
const KEY: &str = "ZW5kLXRvLWVuZCB0ZXN0cyBvZiBjZXJ0Y3RsLCBrZXk=";
