//! The real server, started as its users start it, and the bare one beside it.

use std::fs::DirBuilder;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::failure::{Context as _, Failure, Result};
use crate::files;
use crate::http::{Connection, Reply, Target, request};
use crate::process::Process;
use crate::tls::Pair;

/// Where servers come from.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The program.
    pub(crate) program: PathBuf,
    /// Where its files go.
    pub(crate) home: PathBuf,
    /// What it shows.
    pub(crate) pair: Pair,
}

/// A running `certctl-server`.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) target: Target,
    /// Its database.
    pub(crate) database: String,
    /// The first administrator's key.
    pub(crate) token: String,
    /// From its start until it was ready.
    pub(crate) took: Duration,
}

impl Server {
    /// Starts one on a database and waits until it is ready.
    pub(crate) async fn start(setup: &Setup, database: &str, url: &str) -> Result<Self> {
        let data = setup.home.join(database);
        let mut server = Self::begin(setup, &data, (database, url)).await?;
        files::read(data.join("first-admin-token"))?.trim().clone_into(&mut server.token);
        Ok(server)
    }

    /// Starts a second one on the same database: a process in which nothing has happened yet.
    pub(crate) async fn replica(&self, setup: &Setup, url: &str) -> Result<Self> {
        let server = Self::begin(setup, &setup.home.join("replica"), (&self.database, url)).await?;
        Ok(Self { token: self.token.clone(), ..server })
    }

    async fn begin(setup: &Setup, data: &Path, (database, url): (&str, &str)) -> Result<Self> {
        if !data.exists() {
            DirBuilder::new().mode(0o700).create(data).context("cannot make a data directory")?;
        }
        let address = free_address()?;
        let program = setup.program.display().to_string();
        let begun = Instant::now();
        let log = data.with_extension("log");
        let mut process = Process::start("certctl-server", &[&program], &log, Signal::SIGKILL, |command| {
            command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", data).current_dir(data);
            command.env("CERTCTL_SERVER_LISTEN", address.to_string()).env("CERTCTL_SERVER_DATA_DIR", data);
            command.env("CERTCTL_TLS_CERT_FILE", &setup.pair.certificate).env("CERTCTL_TLS_KEY_FILE", &setup.pair.key);
            command.env("CERTCTL_DATABASE_URL", url).env("CERTCTL_ENCRYPTION_KEY", ENCRYPTION_KEY);
            command.envs(SETTINGS);
        })?;
        let target = Target { address, tls: setup.pair.client()? };
        wait(&mut process, &target).await?;
        let took = begun.elapsed();
        Ok(Self { process, target, database: database.to_owned(), token: String::new(), took })
    }

    /// One request by the administrator, over a connection of its own.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<(&str, &[u8])>) -> Result<Reply> {
        let answer = Connection::open(&self.target).await?.ask(&request(method, path, Some(&self.token), body)).await;
        answer.context(format_args!("{method} {path}"))
    }

    /// As [`Server::ask`], for what is answered with JSON and 200.
    pub(crate) async fn get(&self, path: &str) -> Result<serde_json::Value> {
        self.ask("GET", path, None).await?.json(200).context(format_args!("GET {path}"))
    }
}

/// The bare server.
#[derive(Debug)]
pub(crate) struct BareServer {
    pub(crate) process: Process,
    pub(crate) target: Target,
}

impl BareServer {
    /// Starts this program a second time, in its other role.
    pub(crate) async fn start(setup: &Setup, url: &str) -> Result<Self> {
        let address = free_address()?;
        let program = std::env::current_exe().context("cannot find this program")?.display().to_string();
        let (certificate, key) = (setup.pair.certificate.display().to_string(), setup.pair.key.display().to_string());
        let listen = address.to_string();
        let words = [&program, "bare", "--listen", &listen, "--database", url, "--certificate", &certificate, "--key", &key];
        let mut process = Process::start("the bare server", &words, &setup.home.join("bare.log"), Signal::SIGKILL, |_| ())?;
        let target = Target { address, tls: setup.pair.client()? };
        wait(&mut process, &target).await?;
        Ok(Self { process, target })
    }
}

/// Waits until it answers `/ready`, or that there is no such thing.
async fn wait(process: &mut Process, target: &Target) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    let question = request("GET", "/ready", None, None);
    while Instant::now() < end {
        if let Ok(mut connection) = Connection::open(target).await
            && matches!(connection.ask(&question).await, Ok(Reply { status: 200 | 404, .. }))
        {
            return Ok(());
        }
        process.must_run()?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Err(Failure::new("a server was not ready within a minute"))
}

fn free_address() -> Result<SocketAddr> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("there is no free port")?;
    socket.local_addr().context("there is no free port")
}

/// The size of the program without what only a debugger reads.
pub(crate) fn stripped_size(program: &Path, home: &Path) -> Result<u64> {
    let stripped = home.join("stripped");
    crate::process::capture(crate::process::command("strip").arg("-o").arg(&stripped).arg(program))?;
    files::size(&stripped)
}

/// 32 bytes in base64.
const ENCRYPTION_KEY: &str = "YmVuY2htYXJrIG9mIGNlcnRjdGwsIG5vIHNlY3JldCE=";

/// What differs from a server with nothing configured, and why.
const SETTINGS: [(&str, &str); 7] = [
    // A line for each request is a matter of the log, not of the server.
    ("CERTCTL_LOG_LEVEL", "warn"),
    // Ten thousand parked agents, and the others.
    ("CERTCTL_SERVER_MAX_CONNECTIONS", "15000"),
    ("CERTCTL_AGENTS_POLL_WAIT", "55s"),
    // Seeded agents are silent; that they go offline is not what is measured.
    ("CERTCTL_AGENTS_OFFLINE_AFTER", "1d"),
    // Only how long one waits for the beginning of what is measured.
    ("CERTCTL_SCHEDULER_RENEWAL_INTERVAL", "1s"),
    ("CERTCTL_PKI_CRL_DELAY", "5s"),
    // Answers must not grow old while they are asked for.
    ("CERTCTL_PKI_OCSP_LIFETIME", "7d"),
];
