//! Certificates from pebble, which looks at the hosts themselves: their agents answer, as the settings of each host say.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use certctl_testkit::acme::{Pebble, PebbleSetup};
use certctl_testkit::{Engine, both_databases, wait_for, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Agent, LONG, Nginx, Openssl, World, free_port, names_in};

const NAME: &str = "web.example.test";
const WEBROOT: &str = "CERTCTL_AGENT_ACME_WEBROOT";
const HTTP: &str = "CERTCTL_AGENT_ACME_HTTP01_LISTEN";
const TLS: &str = "CERTCTL_AGENT_ACME_TLS_ALPN01_LISTEN";
const FAULT: &str = "FAULT_AT";

/// Makes an issuer whose challenges agents answer.
async fn issuer(world: &World, pebble: &Pebble, further: Value) {
    let mut config = json!({"directory_url": pebble.directory_url(), "ca_bundle_pem": pebble.trust_pem(), "terms_of_service_agreed": true,
        "answered_by": "agent"});
    config.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    let file = world.home.write("issuer.json", json!({"name": "acme", "type": "ACME", "config": config}).to_string());
    world.cli.run(&["issuers", "create", "--from-file", file.to_str().unwrap()]).await.ok();
}

/// A target of plain files beside an agent.
async fn files(world: &World, name: &str, agent: &Agent) {
    let config = json!({"certificate_path": world.home.join(&format!("{name}.pem")), "key_path": world.home.join(&format!("{name}.key"))});
    world.target(name, agent, ("Files", &config)).await;
}

async fn request(world: &World, further: &[&str]) {
    world.cli.run(&[&["certs", "request", "--name", "web", "--san", NAME, "--issuer", "acme"], further].concat()).await.ok();
}

/// The newest job that brings a version, as soon as it is so.
async fn job(world: &World, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, LONG, async || {
        let jobs = world.cli.jobs("web").await;
        jobs.into_iter().find(|job| ["Issuance", "Renewal"].contains(&job["type"].as_str().unwrap())).filter(|job| is(job))
    })
    .await
}

async fn versions(world: &World) -> Value {
    world.cli.json(&["certs", "versions", "web"]).await["total"].clone()
}

/// A folder that a web server shows, as far as it is not the test's own.
struct Www {
    _folder: TempDir,
    root: PathBuf,
}

impl Www {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("certctl-www-").permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
        Self { root: folder.path().canonicalize().unwrap(), _folder: folder }
    }

    fn answers(&self) -> Vec<String> {
        names_in(&self.root.join(".well-known/acme-challenge"))
    }

    async fn is_empty(&self, agent: &Agent) {
        wait_until("answers to be taken back", LONG, async || self.answers().is_empty()).await;
        wait_until("notes of them to go", LONG, async || notes(agent).is_empty()).await;
    }
}

fn notes(agent: &Agent) -> Vec<String> {
    names_in(&agent.state.join("challenges"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Waits until the agent has said that it can answer these.
async fn can(world: &World, kinds: &[&str]) {
    wait_until("the agent to say what it can", LONG, async || {
        world.cli.json(&["agents", "get", "web-host"]).await["challenges"] == json!(kinds)
    })
    .await;
}

async fn is_closed(port: u16) {
    wait_until("the port to be closed", LONG, async || TcpStream::connect(("127.0.0.1", port)).await.is_err()).await;
}

both_databases! {
    async fn a_host_is_proven_by_files_that_its_own_nginx_shows(world: World) {
        let (www, port) = (Www::new(), free_port());
        let pebble = Pebble::start(PebbleSetup { http_port: port, ..PebbleSetup::default() }).await;
        let agent = world.agent_with("web-host", &[(WEBROOT, text(&www.root))]).await;
        can(&world, &["http-01"]).await;
        let nginx = Nginx::showing(&world.home, &[NAME], (&www.root, port)).await;
        nginx.allow(&agent).await;
        world.target("web", &agent, ("NGINX", &nginx.target(NAME))).await;
        issuer(&world, &pebble, json!({})).await;
        request(&world, &["--target", "web", "--wait"]).await;
        nginx.serves(NAME, world.cli.current_version("web").await["fingerprint_sha256"].as_str().unwrap()).await;
        www.is_empty(&agent).await;
        world.cli.run(&["certs", "renew", "web", "--wait"]).await.ok();
        nginx.serves(NAME, world.cli.current_version("web").await["fingerprint_sha256"].as_str().unwrap()).await;
        www.is_empty(&agent).await;
        assert_eq!((pebble.orders(), pebble.certificates(), versions(&world).await), (2, 2, json!(2)), "{}", pebble.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_proven_on_a_port_that_its_agent_opens_for_the_time_of_an_order() {
    let world = World::open(Engine::Sqlite).await;
    let (http, tls) = (free_port(), free_port());
    let pebble = Pebble::start(PebbleSetup { http_port: http, tls_port: tls, ..PebbleSetup::default() }).await;
    let addresses = [http, tls].map(|port| format!("127.0.0.1:{port}"));
    let agent = world.agent_with("web-host", &[(HTTP, &addresses[0]), (TLS, &addresses[1])]).await;
    can(&world, &["http-01", "tls-alpn-01"]).await;
    files(&world, "web", &agent).await;
    issuer(&world, &pebble, json!({})).await;
    is_closed(http).await;
    request(&world, &["--san", "127.0.0.1", "--target", "web", "--wait"]).await;
    is_closed(http).await;
    assert_eq!(versions(&world).await, 1);

    world.cli.run(&["issuers", "edit", "acme", "--config", "challenge=tls-alpn-01"]).await.ok();
    world.cli.run(&["certs", "renew", "web", "--wait"]).await.ok();
    is_closed(tls).await;
    let log = pebble.log();
    assert_eq!((pebble.orders(), versions(&world).await), (2, json!(2)), "{log}");
    let openssl = Openssl::new(&world.home);
    openssl.put("now.pem", world.cli.run(&["certs", "export", "web", "--part", "cert"]).await.ok());
    let names = openssl.run("x509 -in now.pem -noout -ext subjectAltName").await;
    assert!(names.contains("DNS:web.example.test") && names.contains("IP Address:127.0.0.1"), "{names}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_an_order_both_sides_go_on_with_it() {
    let mut world = World::with(Engine::Sqlite, |setup| setup.with("CERTCTL_SCHEDULER_JOB_LEASE", "5s")).await;
    let (www, port) = (Www::new(), free_port());
    let pebble = Pebble::start(PebbleSetup { http_port: port, ..PebbleSetup::default() }).await;
    let settings = [(WEBROOT, text(&www.root))];
    let mut agent = world.agent_with("web-host", &settings).await;
    let _nginx = Nginx::showing(&world.home, &[NAME], (&www.root, port)).await;
    issuer(&world, &pebble, json!({})).await;
    // A name of its own each time: now and then pebble takes the proof of an earlier order for the next one of that name.
    let request = async |world: &World, agent: &Agent, name: &str| {
        files(world, name, agent).await;
        let host = format!("{name}.example.test");
        world.cli.run(&["certs", "request", "--name", name, "--san", &host, "--issuer", "acme", "--target", name]).await.ok();
    };
    let done = async |world: &World, agent: &Agent, name: &str, orders: usize| {
        world.cli.run(&["certs", "wait", name, "--timeout", "2m"]).await.ok();
        www.is_empty(agent).await;
        assert_eq!((pebble.orders(), pebble.certificates()), (orders, orders), "{name}: {}", pebble.log());
    };
    for (number, point) in ["challenge.heard", "challenge.put_out", "challenge.told"].into_iter().enumerate() {
        let name = point.trim_start_matches("challenge.").replace('_', "-");
        assert!(agent.stop(LONG).await.success());
        agent.start_with(&[settings[0], (FAULT, point)]);
        request(&world, &agent, &name).await;
        let died = agent.process().ended(LONG).await;
        assert!(!died.success(), "{point}: {died}");
        // What it has put out is written down, so that it is taken back whatever happens.
        assert_eq!(notes(&agent).is_empty(), point == "challenge.heard", "{point}");
        agent.start_with(&settings);
        done(&world, &agent, &name, number + 1).await;
    }
    assert!(world.server.stop(LONG).await.success());
    world.server.setup.variables.insert(FAULT.to_owned(), "challenge.noted".to_owned());
    world.server.start_again().await;
    request(&world, &agent, "noted").await;
    assert!(!world.server.ended(LONG).await.success());
    world.server.setup.variables.remove(FAULT);
    world.server.start_again().await;
    done(&world, &agent, "noted", 4).await;
    assert_eq!(world.cli.json(&["audit", "verify"]).await["intact"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_cannot_answer_says_why_and_what_to_set() {
    let world = World::open(Engine::Sqlite).await;
    let port = free_port();
    let pebble = Pebble::start(PebbleSetup { http_port: port, ..PebbleSetup::default() }).await;
    let mut agent = world.agent("web-host").await;
    can(&world, &[]).await;
    files(&world, "web", &agent).await;
    issuer(&world, &pebble, json!({})).await;
    request(&world, &["--target", "web"]).await;
    let failed = job(&world, "a job that failed", |job| job["status"] == "Failed").await;
    assert!(failed["last_error"].as_str().unwrap().contains("agent `web-host` is not set up to answer http-01 challenges"), "{failed}");
    assert!(failed["hint"].as_str().unwrap().contains("acme_webroot or acme_http01_listen in the agent.toml"), "{failed}");
    assert_eq!(pebble.orders(), 0, "the CA's limits are not spent on it");

    // Set up, but another program has the port: when that goes, the order is gone on with.
    let other = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    assert!(agent.stop(LONG).await.success());
    agent.start_with(&[(HTTP, &format!("127.0.0.1:{port}"))]);
    can(&world, &["http-01"]).await;
    world.cli.run(&["certs", "renew", "web"]).await.ok();
    let failed = job(&world, "a job that failed for now", |job| job["status"] == "Pending" && job["last_error"].is_string()).await;
    assert!(failed["last_error"].as_str().unwrap().contains(&format!("cannot listen on 127.0.0.1:{port}")), "{failed}");
    assert!(failed["hint"].as_str().unwrap().contains("another program listens there: set acme_webroot"), "{failed}");
    drop(other);
    wait_until("a version", LONG, async || versions(&world).await == 1).await;
    assert_eq!(pebble.orders(), 1, "{}", pebble.log());
    is_closed(port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_away_is_waited_for_and_told_of() {
    let world = World::open(Engine::Sqlite).await;
    let port = free_port();
    let pebble = Pebble::start(PebbleSetup { http_port: port, ..PebbleSetup::default() }).await;
    let address = format!("127.0.0.1:{port}");
    let mut agent = world.agent_with("web-host", &[(HTTP, &address), (FAULT, "challenge.heard")]).await;
    files(&world, "web", &agent).await;
    issuer(&world, &pebble, json!({"agent_timeout": "2s"})).await;
    request(&world, &["--target", "web"]).await;
    assert!(!agent.process().ended(LONG).await.success());
    let late = job(&world, "a job that failed for now", |job| job["last_error"].is_string()).await;
    assert!(late["last_error"].as_str().unwrap().contains("agent `web-host` did not answer the CA's challenge within 2s"), "{late}");
    assert!(late["hint"].as_str().unwrap().contains("certctl agents get web-host"), "{late}");
    agent.start_with(&[(HTTP, &address)]);
    wait_until("a version", LONG, async || versions(&world).await == 1).await;
    assert_eq!(pebble.orders(), 1, "{}", pebble.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_nobody_wants_any_more_is_answered_no_more() {
    let world = World::open(Engine::Sqlite).await;
    let port = free_port();
    // It takes its time before it looks.
    let pebble = Pebble::start(PebbleSetup { http_port: port, slow: true, ..PebbleSetup::default() }).await;
    let agent = world.agent_with("web-host", &[(HTTP, &format!("127.0.0.1:{port}"))]).await;
    files(&world, "web", &agent).await;
    issuer(&world, &pebble, json!({})).await;
    request(&world, &["--target", "web"]).await;
    wait_until("the port to be open", LONG, async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
    let job = job(&world, "the job", |_| true).await;
    world.cli.run(&["jobs", "cancel", job["id"].as_str().unwrap()]).await.ok();
    is_closed(port).await;
    assert_eq!(versions(&world).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_of_its_hosts_a_name_leads_to_answers_for_all() {
    let world = World::open(Engine::Sqlite).await;
    let (www, port) = (Www::new(), free_port());
    let pebble = Pebble::start(PebbleSetup { http_port: port, ..PebbleSetup::default() }).await;
    // Nothing shows the files of the one; the CA always reaches the other.
    let one = world.agent_with("one", &[(WEBROOT, text(&www.root))]).await;
    let two = world.agent_with("two", &[(HTTP, &format!("127.0.0.1:{port}"))]).await;
    files(&world, "one", &one).await;
    files(&world, "two", &two).await;
    issuer(&world, &pebble, json!({})).await;
    request(&world, &["--target", "one", "--target", "two", "--wait"]).await;
    assert_eq!((versions(&world).await, pebble.orders()), (json!(2), 2), "{}", pebble.log());
    www.is_empty(&one).await;
    is_closed(port).await;
}
