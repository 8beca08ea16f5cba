//! What is measured: a small installation, a large one, the bare server beside them, and the database under all.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::PgConnection;
use tempfile::TempDir;

use crate::compare::{Measured, Pace, Subject, alternate};
use crate::failure::{Context as _, Failure, Result};
use crate::files;
use crate::http::request;
use crate::load::Work;
use crate::postgres::Cluster;
use crate::process::{capture, command};
use crate::server::{BareServer, Server, Setup};
use crate::tls::Pair;
use crate::{say, seed};

/// Everything that runs. Servers end before the cluster, the cluster before its folder.
pub(crate) struct World {
    pub(crate) large: Server,
    pub(crate) small: Server,
    pub(crate) bare: BareServer,
    pub(crate) cluster: Cluster,
    pub(crate) setup: Setup,
    pub(crate) pace: Pace,
    /// A certificate that the large installation issued.
    pub(crate) issued: Issued,
    /// How many certificates were seeded into the large installation up to now.
    pub(crate) certificates: u64,
    _home: TempDir,
}

/// A certificate of the product with what it came from.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) chain_pem: String,
    pub(crate) csr_pem: String,
}

impl World {
    /// Starts everything and seeds the small installation and the first part of the large one.
    pub(crate) async fn open(program: PathBuf, pace: Pace) -> Result<Self> {
        let begun = Instant::now();
        let home = tempfile::Builder::new().prefix("certctl-bench-").tempdir().context("no temporary folder")?;
        // The user who runs PostgreSQL has to pass through.
        files::set_mode(home.path(), 0o711)?;
        let setup = Setup { program, home: home.path().to_owned(), pair: Pair::make(home.path())? };
        let cluster = Cluster::start(&home.path().join("pg")).await?;
        for database in [SMALL, LARGE] {
            cluster.create(database).await?;
        }
        let small = Server::start(&setup, SMALL, &cluster.url("certctl", SMALL)).await?;
        let large = Server::start(&setup, LARGE, &cluster.url("certctl", LARGE)).await?;
        let of_small = issue_first(&small, &setup).await?;
        let issued = issue_first(&large, &setup).await?;
        seed::agents(&mut cluster.connect(SMALL).await?, FEW_AGENTS).await?;
        seed::certificates(&cluster, SMALL, (1, FEW), FEW_AGENTS, &of_small).await?;
        seed::agents(&mut cluster.connect(LARGE).await?, AGENTS).await?;
        seed::certificates(&cluster, LARGE, (1, FLEET), AGENTS, &issued).await?;
        seed::bare_tables(&mut cluster.connect(LARGE).await?, AGENTS).await?;
        let bare = BareServer::start(&setup, &cluster.url("bare", LARGE)).await?;
        say::progress(format_args!("{FEW} and {FLEET} certificates, {AGENTS} agents: seeded in {:.0} s", begun.elapsed().as_secs_f64()));
        Ok(Self { large, small, bare, cluster, setup, pace, issued, certificates: FLEET, _home: home })
    }

    /// Adds certificates to the large installation up to a number.
    pub(crate) async fn grow(&mut self, to: u64) -> Result<()> {
        if to <= self.certificates {
            return Ok(());
        }
        let begun = Instant::now();
        seed::certificates(&self.cluster, LARGE, (self.certificates + 1, to), AGENTS, &self.issued).await?;
        self.certificates = to;
        say::progress(format_args!("{to} certificates: seeded in {:.0} s", begun.elapsed().as_secs_f64()));
        Ok(())
    }

    /// A second server on the database of the large installation.
    pub(crate) async fn replica(&self) -> Result<Server> {
        self.large.replica(&self.setup, &self.cluster.url("certctl", LARGE)).await
    }

    /// A connection to the database of the large installation.
    pub(crate) async fn sql(&self) -> Result<PgConnection> {
        self.cluster.connect(LARGE).await
    }

    /// The large installation, asked for this.
    pub(crate) fn product(&self, work: Work) -> Subject<'_> {
        subject(&self.large, work)
    }

    /// The small installation, asked for this.
    pub(crate) fn small(&self, work: Work) -> Subject<'_> {
        subject(&self.small, work)
    }

    /// The bare server, asked for this.
    pub(crate) fn limit(&self, work: Work) -> Subject<'_> {
        Subject { target: &self.bare.target, pid: self.bare.process.pid(), account: ("bare", LARGE), work }
    }

    /// A path of the product, asked for by the administrator, and one of the bare server, in turn.
    pub(crate) async fn compare_paths(&self, connections: usize, product: &str, limit: &str) -> Result<[Measured; 2]> {
        let product = self.product(Work::one(request("GET", product, Some(&self.large.token), None), 200));
        let limit = self.limit(Work::one(request("GET", limit, None, None), 200));
        self.compare(connections, &product, &limit).await
    }

    /// Two subjects in turn.
    pub(crate) async fn compare(&self, connections: usize, product: &Subject<'_>, limit: &Subject<'_>) -> Result<[Measured; 2]> {
        alternate(&self.cluster, self.pace, connections, [product, limit]).await
    }
}

fn subject(server: &Server, work: Work) -> Subject<'_> {
    Subject { target: &server.target, pid: server.process.pid(), account: ("certctl", &server.database), work }
}

/// Lets the server issue a certificate, from the request to the chain.
async fn issue_first(server: &Server, setup: &Setup) -> Result<Issued> {
    let name = "first.example.test";
    let csr_pem = csr(setup, name)?;
    let draft = json!({"name": "first", "common_name": name, "sans": [name]}).to_string();
    let made = server.ask("POST", "/api/v1/certificates", Some(("application/json", draft.as_bytes()))).await?.json(201)?;
    let id = made.get("id").and_then(|id| id.as_str()).context("a certificate without an id")?.to_owned();
    let body = json!({"csr_pem": csr_pem}).to_string();
    let path = format!("/api/v1/certificates/{id}");
    server.ask("POST", &format!("{path}/csr"), Some(("application/json", body.as_bytes()))).await?.is(202)?;
    let end = Instant::now() + Duration::from_secs(30);
    while Instant::now() < end {
        let reply = server.ask("GET", &format!("{path}/export/pem"), None).await?;
        if reply.status == 200 {
            let chain =
                reply.json(200)?.get("full_pem").and_then(|pem| pem.as_str()).context("a certificate without its chain")?.to_owned();
            return Ok(Issued { chain_pem: chain, csr_pem });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(Failure::new("the first certificate was not issued within half a minute"))
}

/// A request for a new key (ECDSA P-256) and this name.
pub(crate) fn csr(setup: &Setup, name: &str) -> Result<String> {
    let mut openssl = command("openssl");
    openssl.args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    openssl.args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName=DNS:{name}")]);
    let said = capture(openssl.arg("-keyout").arg(setup.home.join("csr.key")))?;
    String::from_utf8(said).context("openssl wrote no text")
}

/// The database of the small installation.
pub(crate) const SMALL: &str = "small";
const LARGE: &str = "large";
/// Certificates of the small installation.
pub(crate) const FEW: u64 = 1_000;
const FEW_AGENTS: u64 = 100;
/// Certificates of the large one at first.
pub(crate) const FLEET: u64 = 50_000;
/// Certificates of the large one at last.
pub(crate) const MANY: u64 = 1_000_000;
/// Agents of the large one.
pub(crate) const AGENTS: u64 = 10_000;
