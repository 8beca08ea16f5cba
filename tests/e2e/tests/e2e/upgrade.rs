//! From one release to the next and back, two replicas under traffic, one after the other. `cargo xtask upgrade` builds the older programs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use certctl_testkit::Engine;
use serde_json::json;

use crate::harness::{Agent, Api, Cli, Haproxy, LONG, Nginx, Server, Setup, Tables, World, older, product, read};
use crate::traffic::Load;

const NAME: &str = "web.example.test";

/// What the phases share.
struct Fleet {
    world: World,
    other: Server,
    /// A client of the balancer.
    cli: Cli,
    agent: Agent,
    nginx: Nginx,
    load: Load,
    retries: Arc<AtomicUsize>,
    rows: Vec<String>,
}

impl Fleet {
    /// Issues one certificate and renews another while requests go on; a client may repeat an idempotent call once.
    async fn phase(&mut self, what: &str) {
        let (began, seen) = (std::time::Instant::now(), self.retries.load(Ordering::Acquire));
        self.load.goes_on(40).await;
        let before = self.cli.current_version("web").await;
        self.cli.run(&["certs", "renew", "web", "--wait"]).await.ok();
        let renewed = self.cli.current_version("web").await;
        assert_ne!(renewed["id"], before["id"], "{what}");
        self.nginx.serves(NAME, renewed["fingerprint_sha256"].as_str().unwrap()).await;
        let name = format!("new-{}", self.rows.len());
        let place = |end: &str| self.world.home.join(&format!("{name}.{end}"));
        let config = json!({"config": {"certificate_path": place("pem"), "key_path": place("key")}});
        let file = self.world.home.write("target.json", config.to_string());
        let words = ["targets", "create", "--name", &name, "--type", "Files", "--agent", &self.agent.name, "--from-file"];
        self.cli.run(&[&words[..], &[file.to_str().unwrap()]].concat()).await.ok();
        self.cli.run(&["certs", "request", "--name", &name, "--san", NAME, "--target", &name, "--wait"]).await.ok();
        assert!(read(&place("pem")).contains("BEGIN CERTIFICATE"));
        self.load.goes_on(40).await;
        let repeated = self.retries.load(Ordering::Acquire) - seen;
        let row = format!("{what:<44} {:>8} s   issued 1, renewed 1   repeated {repeated}", began.elapsed().as_secs());
        println!("{row}");
        self.rows.push(row);
    }

    /// Stops a replica and starts the other program in its place.
    async fn replace(&mut self, first: Which, program: &std::path::Path) {
        let server = match first {
            Which::One => &mut self.world.server,
            Which::Other => &mut self.other,
        };
        let ended = server.stop(LONG).await;
        assert!(ended.success(), "{ended}");
        self.load.goes_on(20).await;
        program.clone_into(&mut server.setup.program);
        server.start_again().await;
        self.load.goes_on(20).await;
    }
}

#[derive(Clone, Copy)]
enum Which {
    One,
    Other,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_are_upgraded_and_taken_back_and_no_request_fails() {
    let (before, after) = (older("certctl-server"), product("certctl-server"));
    let database = certctl_testkit::Database::empty(Engine::Postgres).await;
    let world = World::on(Some(database), |setup| Setup { program: before.clone(), ..setup }).await;
    let other = Setup { program: before.clone(), ..Setup::on(&world.home, "other", world.database.as_ref().unwrap()) };
    let other = Server::start(&world.home, other).await;
    let schema = async |world: &World| Tables::of(&world.server.setup, "test").await.schema().await;
    let schema_before = schema(&world).await;

    let balancer = Haproxy::balancing(&world.home, &[world.server.setup.port, other.setup.port]).await;
    let url = format!("https://127.0.0.1:{}", balancer.port);
    let both = format!("{}{}", read(&world.server.ca_file()), read(&other.ca_file()));
    let key = read(&world.server.first_key_file()).trim().to_owned();
    let api = Api::new(&url, &both).with_token(&key);
    let ca = world.home.write("both.pem", &both);
    let cli = [("CERTCTL_SERVER_URL", url.as_str()), ("CERTCTL_API_KEY", &key), ("CERTCTL_CA_FILE", ca.to_str().unwrap())]
        .iter()
        .fold(Cli::new(&world.home, "balanced"), |cli, (name, value)| cli.with(name, value));
    let mut agent = Agent::new(&world.home, "web-host");
    agent.enroll_at(&url, &world.server, &world.token("web-host").await).await.ok();
    agent.start();
    agent.online(&cli).await;
    let nginx = Nginx::start(&world.home, &[NAME]).await;
    nginx.allow(&agent).await;
    world.target("web", &agent, ("NGINX", &nginx.target(NAME))).await;
    cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web", "--wait"]).await.ok();

    let (load, retries) = Load::of_api_calls(&api).await;
    let mut fleet = Fleet { world, other, cli, agent, nginx, load, retries, rows: Vec::new() };
    fleet.phase("two older").await;
    let migrate = Setup { program: after.clone(), ..fleet.world.server.setup.clone() };
    migrate.run(&fleet.world.home, &["--migrate-only"]).await.ok();
    let schema_after = schema(&fleet.world).await;
    assert!(schema_after > schema_before, "there is nothing to upgrade: {schema_before}");
    fleet.phase(&format!("two older, the schema from {schema_before} to {schema_after}")).await;
    fleet.replace(Which::One, &after).await;
    fleet.phase("one newer, one older").await;
    fleet.replace(Which::Other, &after).await;
    fleet.phase("two newer").await;
    fleet.replace(Which::Other, &before).await;
    fleet.phase("the way back: one newer, one older").await;
    fleet.replace(Which::One, &before).await;
    fleet.phase("the way back: two older on the newer schema").await;
    assert_eq!(fleet.cli.json(&["audit", "verify"]).await["intact"], true);
    let (done, retries) = (fleet.load.stop().await, fleet.retries.load(Ordering::Acquire));
    println!("{} requests in all, none failed, {retries} were repeated", done * 3);
    // One of each connection that a stopping replica closes at most.
    assert!(retries * 20 < done, "a repeated request is the exception: {retries} in {done} rounds");
}
