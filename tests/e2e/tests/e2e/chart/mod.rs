//! The Helm chart: the real programs with exactly the arguments, variables and files that it renders for their pods.

mod kubelet;
mod pod;
mod scrape;

use std::path::PathBuf;
use std::sync::Arc;

use certctl_testkit::{OwnCluster, require_postgres_program, require_program, wait_until};
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinSet;

use self::pod::{Chart, Pod, Secrets};
use crate::harness::{Api, Cli, Home, LONG, Process, command, free_port, names_in, read, run, write};

/// A cluster of Kubernetes as far as these pods see one: a database, and Secrets.
struct Installation {
    home: Arc<Home>,
    secrets: Secrets,
    /// Where the server listens.
    port: u16,
    /// Where PostgreSQL listens.
    database: u16,
    ca: String,
    _postgres: OwnCluster,
    _wire: JoinSet<()>,
}

impl Installation {
    async fn new() -> Self {
        let home = Arc::new(Home::new());
        let postgres = OwnCluster::start();
        let socket = postgres.demand_password(PASSWORD);
        let mut wire = JoinSet::new();
        let database = forward_to(socket, &mut wire).await;
        let secrets = made_by_the_operator(&home);
        let ca = secrets.entry("certctl-server-tls", "ca.crt").to_owned();
        Self { home, secrets, port: free_port(), database, ca, _postgres: postgres, _wire: wire }
    }

    /// Renders an example, with an agent, for the ports of this installation.
    async fn chart(&self, example: &str, more: &[&str]) -> Chart {
        let (port, database) = (self.port, self.database);
        let sets = [
            format!("server.port={port}"),
            "agent.enabled=true".to_owned(),
            "agent.enrollment.existingSecret=certctl-agent-tokens".to_owned(),
            format!("agent.serverUrl=https://localhost:{port}"),
            "migrations.viaHook=true".to_owned(),
            format!("externalDatabase.port={database}"),
            format!("server.pki.port={}", free_port()),
        ];
        let more = more.iter().map(ToString::to_string);
        Chart::render(&self.home, example, &sets.into_iter().chain(more).collect::<Vec<_>>()).await
    }

    /// For a PostgreSQL that is there before the release.
    async fn external(&self, example: &str) -> Chart {
        self.chart(example, &EXTERNAL).await
    }

    fn api(&self) -> Api {
        Api::new(&format!("https://localhost:{}", self.port), &self.ca)
    }

    async fn ready(&self, server: &mut Process) {
        wait_until("a ready server", LONG, async || {
            server.must_run();
            self.api().try_send("GET", "/ready", &[], None).await.is_ok_and(|reply| reply.status == 200)
        })
        .await;
    }

    /// The first administrator's command line client.
    async fn administrator(&self, server: &Pod) -> Cli {
        let variables = self.administrator_variables(server).await;
        variables.iter().fold(Cli::new(&self.home, "cli"), |cli, (name, value)| cli.with(name, value))
    }

    /// What makes `certctl` the first administrator's: by the token that the operator chose, else by the key that the server made.
    async fn administrator_variables(&self, server: &Pod) -> Vec<(String, String)> {
        let made = self.api().post("/api/v1/auth/bootstrap", &json!({"token": TOKEN, "actor_name": "root"})).await;
        let key = match made.status {
            201 => made.json()["key_value"].as_str().unwrap().to_owned(),
            _ => read(&server.path(&self.home, "/var/lib/certctl/data/first-admin-token")).trim().to_owned(),
        };
        self.home.plant_key(&key);
        let ca = self.home.write("ca.pem", &self.ca);
        let url = format!("https://localhost:{}", self.port);
        let all = [("CERTCTL_SERVER_URL", url.as_str()), ("CERTCTL_API_KEY", &key), ("CERTCTL_CA_FILE", ca.to_str().unwrap())];
        all.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    fn start(&self, pod: &Pod) -> Process {
        pod.start(&self.home, &self.secrets)
    }
}

#[tokio::test]
async fn a_hook_then_servers_then_agents_run_as_the_chart_starts_them() {
    let mut installation = Installation::new().await;
    let chart = installation.external("small").await;
    let (server, hook) = (chart.pod("Deployment"), chart.pod("Job"));

    // Before the hook has run there is no schema, and servers that leave it to the hook wait.
    assert_eq!(server.variable("CERTCTL_MIGRATIONS_VIA_HOOK"), "true");
    let mut server = installation.start(&server);
    wait_until("a server that waits for the hook", LONG, async || {
        server.must_run();
        server.log().contains("waiting for `certctl-server migrate`")
    })
    .await;
    for _ in 0..2 {
        let ended = installation.start(&hook).ended(LONG).await;
        assert!(ended.success(), "the hook may run again at any time: {ended}");
    }
    installation.ready(&mut server).await;

    let made = installation.api().post("/api/v1/auth/bootstrap", &json!({"token": TOKEN, "actor_name": "root"})).await.is(201).json();
    let key = made["key_value"].as_str().unwrap().to_owned();
    installation.home.plant_key(&key);
    let admin = installation.api().with_token(&key);

    // The agent is named as its node, takes the token with that name, and stays the same agent when its pod is replaced.
    let agent = chart.pod("DaemonSet").called("node-1");
    let token = admin.post("/api/v1/agents/enrollment-tokens", &json!({"agent_name": "node-1"})).await.is(201).json();
    installation.secrets.add("certctl-agent-tokens", "node-1", token["token_value"].as_str().unwrap());
    let mut process = installation.start(&agent);
    let first = online(&admin, &mut process).await;
    let probe = agent.probe("readinessProbe");
    wait_until("an agent that its probe finds well", LONG, async || agent.run_beside(&installation.home, &probe).await.code == Some(0))
        .await;
    process.kill().await;
    assert_ne!(agent.run_beside(&installation.home, &probe).await.code, Some(0), "one that does not run is not well");
    installation.secrets.remove("certctl-agent-tokens");
    let mut process = installation.start(&agent);
    let second = online(&admin, &mut process).await;
    assert_eq!(first["id"], second["id"]);
    assert_eq!(second["name"], "node-1");
}

#[tokio::test]
async fn with_its_own_postgresql_a_first_installation_needs_no_hook_and_an_upgrade_has_one() {
    let installation = Installation::new().await;
    let first = installation.chart("small", &[]).await.at("127.0.0.1", installation.database);
    let server = first.pod("Deployment");
    assert_eq!(server.variable("CERTCTL_MIGRATIONS_VIA_HOOK"), "false");
    let mut running = installation.start(&server);
    installation.ready(&mut running).await;
    running.kill().await;

    let next = installation.chart("small", &["--is-upgrade"]).await.at("127.0.0.1", installation.database);
    assert!(installation.start(&next.pod("Job")).ended(LONG).await.success());
    let server = next.pod("Deployment");
    assert_eq!(server.variable("CERTCTL_MIGRATIONS_VIA_HOOK"), "true");
    let mut running = installation.start(&server);
    installation.ready(&mut running).await;
}

#[tokio::test]
async fn backups_run_as_the_chart_starts_them() {
    let installation = Installation::new().await;
    let sets = ["backup.enabled=true", "backup.keep.last=1", "backup.keep.daily=0", "backup.keep.weekly=0", "backup.keep.monthly=0"];
    let chart = installation.chart("small", &sets).await.at("127.0.0.1", installation.database);
    let server = chart.pod("Deployment");
    let mut running = installation.start(&server);
    installation.ready(&mut running).await;

    let (create, prune) = (chart.pod("CronJob").before(), chart.pod("CronJob"));
    let backups = create.path(&installation.home, &create.variable("CERTCTL_BACKUP_DIRECTORY"));
    let manifests = || names_in(&backups).into_iter().filter(|name| name.ends_with(".manifest.json")).count();
    for made in 1..=2 {
        assert!(installation.start(&create).ended(LONG).await.success());
        assert_eq!(manifests(), made);
    }
    assert!(installation.start(&prune).ended(LONG).await.success());
    assert_eq!(manifests(), 1, "one is kept: {:?}", names_in(&backups));
}

#[tokio::test]
async fn postgresql_can_begin_in_the_volume_that_it_is_given() {
    let home = Home::new();
    let chart = Chart::render(&home, "small", &[]).await;
    let pod = chart.pod("StatefulSet");
    // The kubelet makes the volume for root and the group of the pod.
    let volume = home.join("volume");
    std::fs::create_dir(&volume).unwrap();
    let password = write(&home.join("password"), PASSWORD);
    let mount = pod.mounts().into_iter().find(|(path, _)| pod.variable("PGDATA").starts_with(path.as_str())).unwrap().0;
    let inside = pod.variable("PGDATA").strip_prefix(&mount).unwrap().trim_start_matches('/').to_owned();
    assert!(!inside.is_empty(), "the folder of the volume itself belongs to root, and initdb would not take it");

    let script = format!(
        "chown root:postgres {0} {1} && chmod 2775 {0} && chmod 640 {1} && chmod 711 {2}",
        volume.display(),
        password.display(),
        home.path().display()
    );
    let root = nix::unistd::geteuid().is_root();
    let mut words = Vec::new();
    if root {
        run(command(&home, require_program("sh")).args(["-ec", &script])).await.ok();
        words.extend(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"].map(str::to_owned));
    }
    words.push(require_postgres_program("initdb").to_str().unwrap().to_owned());
    words.extend(pod.variable("POSTGRES_INITDB_ARGS").split(' ').map(str::to_owned));
    words.extend([format!("--username={}", pod.variable("POSTGRES_USER")), format!("--pwfile={}", password.display())]);
    words.push(format!("--pgdata={}", volume.join(inside).display()));
    let made = run(command(&home, require_program("setpriv")).args(&words)).await.ok();
    assert!(made.contains("Success"), "{made}");
}

#[tokio::test]
async fn every_example_gives_servers_settings_that_they_take() {
    for example in EXAMPLES {
        let home = Home::new();
        let mut secrets = made_by_the_operator(&home);
        let chart = Chart::render(&home, example, &[]).await;
        chart.fill(&mut secrets);
        let server = chart.pod("Deployment");
        server.ask(&home, &secrets, &["config", "check"]).await.ok();
        let shown = server.ask(&home, &secrets, &["config", "show"]).await.ok();
        assert!(shown.contains("[redacted]") && !shown.contains(PASSWORD), "{example}: {shown}");
    }
}

#[tokio::test]
async fn every_example_serves_enrolls_an_agent_and_issues() {
    for example in EXAMPLES {
        let mut installation = Installation::new().await;
        let chart = installation.external(example).await;
        chart.fill(&mut installation.secrets);
        if example == "dev" {
            // Helm made it.
            installation.ca = installation.secrets.entry("rel-certctl-server-ca", "ca.crt").to_owned();
        }
        assert!(installation.start(&chart.pod("Job")).ended(LONG).await.success(), "{example}");
        let pod = chart.pod("Deployment");
        let mut server = installation.start(&pod);
        installation.ready(&mut server).await;
        let cli = installation.administrator(&pod).await;

        let kind = if example == "dev" { "StatefulSet" } else { "DaemonSet" };
        let agent = chart.pod(kind).called("here-0");
        let token = cli.json(&["agents", "token", "create", "--name", "here-0"]).await["token_value"].as_str().unwrap().to_owned();
        installation.home.plant_key(&token);
        installation.secrets.add("certctl-agent-tokens", "here-0", &token);
        let mut process = installation.start(&agent);
        let probe = agent.probe("readinessProbe");
        wait_until("an agent that its probe finds well", LONG, async || {
            process.must_run();
            agent.run_beside(&installation.home, &probe).await.code == Some(0)
        })
        .await;

        let folder = "/var/lib/certctl-agent/placed";
        std::fs::create_dir(agent.path(&installation.home, folder)).unwrap();
        let config = json!({"config": {"certificate_path": format!("{folder}/site.pem"), "key_path": format!("{folder}/site.key")}});
        let file = installation.home.write("target.json", config.to_string());
        cli.run(&["targets", "create", "--name", "files", "--type", "Files", "--agent", "here-0", "--from-file", file.to_str().unwrap()])
            .await
            .ok();
        cli.run(&["certs", "request", "--name", "site", "--san", "site.example.test", "--target", "files", "--wait"]).await.ok();
        let placed = read(&agent.path(&installation.home, &format!("{folder}/site.pem")));
        assert!(placed.contains("BEGIN CERTIFICATE"), "{example}: {placed}");
    }
}

/// Waits until the only agent is online; gives it.
async fn online(admin: &Api, process: &mut Process) -> Value {
    let mut agent = Value::Null;
    wait_until("an agent that is online", LONG, async || {
        process.must_run();
        let agents = admin.get("/api/v1/agents").await.is(200).json();
        agent = agents["data"][0].clone();
        agent["status"] == "Online"
    })
    .await;
    agent
}

/// What the examples tell to make.
fn made_by_the_operator(home: &Home) -> Secrets {
    let pair = rcgen::generate_simple_self_signed(["localhost", "rel-certctl-server.tools.svc"].map(str::to_owned)).unwrap();
    let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    let mut secrets = Secrets::default();
    secrets.add("certctl-database", "password", PASSWORD);
    secrets.add("certctl-database-ca", "ca.crt", &certificate);
    secrets.add("certctl-encryption", "encryption-key", "Y2hhcnQgdGVzdHMgb2YgY2VydGN0bCwgYSBrZXkgISE=");
    secrets.add("certctl-bootstrap", "bootstrap-token", TOKEN);
    secrets.add("certctl-dns-hooks", "dns-hook", "#!/bin/sh\n");
    // That of cert-manager has the name that the chart gives it.
    for name in ["certctl-server-tls", "rel-certctl-server-tls"] {
        secrets.add(name, "tls.crt", &certificate);
        secrets.add(name, "ca.crt", &certificate);
        secrets.add(name, "tls.key", &key);
    }
    home.plant(PASSWORD);
    home.plant(TOKEN);
    secrets
}

/// A TCP port on this machine that leads to a socket in the file system.
pub(crate) async fn forward_to(socket: PathBuf, tasks: &mut JoinSet<()>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let socket = socket.clone();
            open.spawn(async move {
                if let Ok(mut server) = UnixStream::connect(socket).await {
                    // Either side may end it at any time.
                    tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
                }
            });
        }
    });
    port
}

/// What `openssl rand -base64` makes, and more: every character that a URL minds.
const PASSWORD: &str = "a/b+c@d:e%f?g#h&i=j k";
/// For a PostgreSQL that is there before the release.
const EXTERNAL: [&str; 6] = [
    "postgresql.enabled=false",
    "postgresql.auth.password=",
    "externalDatabase.host=127.0.0.1",
    "externalDatabase.database=postgres",
    "externalDatabase.existingSecret=certctl-database",
    "externalDatabase.sslMode=prefer",
];
const EXAMPLES: [&str; 5] = ["dev", "small", "external-db", "ha", "acme-dns01"];
const TOKEN: &str = "a-token-for-the-first-administrator";
