//! Images and Docker Compose: the real programs with exactly the user, arguments, variables, secrets, volumes and health checks that the
//! Dockerfile and the compose files give them. `docker-compose config` reads those files, as it would before it starts anything.

mod container;
mod guide;
mod image;
mod project;

use std::path::Path;
use std::sync::Arc;

use certctl_testkit::{OwnCluster, require_program, wait_until};
use serde_json::json;
use tokio::task::JoinSet;

use self::container::Container;
use self::image::{OURS, images};
use self::project::{Project, Service};
use crate::chart::forward_to;
use crate::harness::{Api, Cli, Home, LONG, Process, command, free_port, in_repository, names_in, read, run};

#[tokio::test]
async fn the_project_migrates_serves_enrolls_an_agent_issues_and_backs_up() {
    let home = Arc::new(Home::new());
    let project = production(&home, &[]).await;
    let postgres = Postgres::with_password_of(&home, &project).await;
    let port = free_port().to_string();
    let ports = [(":8443", &*format!(":{port}")), ("postgres:5432/certctl", &postgres.place)];
    let container = |name: &str| Container::of(&project, name, &images(), &ports);

    // The server waits for the migration, and gives up without it.
    let server = container("server");
    let impatient = container("server").with("CERTCTL_DATABASE_START_TIMEOUT", "1s");
    assert_eq!(impatient.start(&home).ended(LONG).await.code(), Some(1));
    assert_ne!(server.health(&home).await.code, Some(0), "one that does not run is not healthy");
    container("migrate").run(&home, &[]).await.ok();
    let mut process = server.start(&home);
    healthy(&server, &mut process, &home).await;
    server.health_of_image(&home).await.ok();
    let environment = std::fs::read(format!("/proc/{}/environ", process.pid())).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    for name in ["database-password", "encryption-key"] {
        assert!(!environment.contains(read(project.secret(name)).trim()), "{name} is in the environment");
    }

    // What the guide tells to fetch: the CA, the first administrator's key, a token for the agent.
    let data = home.join("volumes/server");
    let ca = std::fs::copy(data.join("tls/ca.pem"), project.secret("server-ca")).map(|_| project.secret("server-ca")).unwrap();
    open_to_all(ca);
    let key = read(&data.join("first-admin-token"));
    home.plant_key(key.trim());
    let cli = container("cli").with("CERTCTL_API_KEY", key.trim());
    let token = cli.run(&home, &["agents", "token", "create", "--name", "compose"]).await.ok();
    home.plant_key(token.trim());
    std::fs::write(project.secret("agent-token"), &token).unwrap();
    open_to_all(project.secret("agent-token"));

    let agent = container("agent");
    assert_ne!(agent.health(&home).await.code, Some(0), "one that does not run is not healthy");
    let mut beside = agent.start(&home);
    healthy(&agent, &mut beside, &home).await;
    agent.health_of_image(&home).await.ok();
    issue(&Issue { home: &home, port: &port, ca, key: key.trim(), agent: "compose" }).await;

    // Backups while it serves; the newest is read again, one too many goes, and a database that is in use is not overwritten.
    let (backup, prune) = (container("backup"), container("backup-prune"));
    backup.run(&home, &[]).await.ok();
    backup.run(&home, &["backup", "verify", "latest"]).await.ok();
    prune.run(&home, &[]).await.ok();
    let kept = names_in(&home.join("volumes/backups")).iter().filter(|name| name.ends_with(".manifest.json")).count();
    assert_eq!(kept, 1);
    container("restore").run(&home, &[]).await.ends(1).says(&["not empty"]);

    // Without its database it is alive and not ready, and it comes back by itself.
    postgres.cluster.stop();
    wait_until("a server that is not ready", LONG, async || server.health(&home).await.code == Some(1)).await;
    server.health_of_image(&home).await.ok();
    postgres.cluster.start_again();
    healthy(&server, &mut process, &home).await;

    // It ends when it is told to, within the grace that it is given.
    process.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(process.ended(LONG).await.success());
}

#[tokio::test]
async fn the_demo_needs_nothing_beforehand() {
    let home = Arc::new(Home::new());
    let project = Project::read(&home, &["compose.demo.yaml"], &[]).await;
    assert!(project.secrets.is_empty());
    let port = free_port().to_string();
    let ports = [(":8443", &*format!(":{port}"))];
    let container = |name: &str| Container::of(&project, name, &images(), &ports);

    let server = container("server").with("CERTCTL_SERVER_LISTEN", &format!("127.0.0.1:{port}"));
    let mut process = server.start(&home);
    healthy(&server, &mut process, &home).await;
    for _ in 0..2 {
        container("invite").run(&home, &[]).await.ok();
    }
    home.plant_key(read(&home.join("volumes/demo/token")).trim());
    let agent = container("agent");
    let mut beside = agent.start(&home);
    healthy(&agent, &mut beside, &home).await;
    let key = read(&home.join("volumes/server/first-admin-token"));
    home.plant_key(key.trim());
    issue(&Issue { home: &home, port: &port, ca: &home.join("volumes/server/tls/ca.pem"), key: key.trim(), agent: "demo" }).await;
}

#[tokio::test]
async fn a_certificate_of_the_operator_is_shown() {
    let home = Arc::new(Home::new());
    let project = production(&home, &["compose.tls.yaml"]).await;
    let postgres = Postgres::with_password_of(&home, &project).await;
    let port = free_port().to_string();
    let ports = [(":8443", &*format!(":{port}")), ("postgres:5432/certctl", &postgres.place)];
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned(), "server".to_owned()]).unwrap();
    for (name, text) in [("server-certificate", pair.cert.pem()), ("server-key", pair.signing_key.serialize_pem())] {
        std::fs::write(project.secret(name), text).unwrap();
        open_to_all(project.secret(name));
    }
    Container::of(&project, "migrate", &images(), &ports).run(&home, &[]).await.ok();
    let server = Container::of(&project, "server", &images(), &ports);
    let mut process = server.start(&home);
    healthy(&server, &mut process, &home).await;
    Api::new(&format!("https://localhost:{port}"), &pair.cert.pem()).get("/ready").await.is(200);
}

#[tokio::test]
async fn services_have_no_rights_that_they_do_not_need() {
    let home = Home::new();
    let projects = [production(&home, &[]).await, Project::read(&home, &["compose.demo.yaml"], &[]).await];
    for project in &projects {
        for (name, service) in &project.services {
            let says = |what: &str| panic!("{name} {what}: {service:#?}");
            let once = service.restart == "no" || name == "invite";
            let checks = [
                (service.read_only, "has a root that can be written"),
                (service.cap_drop == ["ALL"], "keeps capabilities"),
                (service.security_opt == ["no-new-privileges:true"], "can gain privileges"),
                (!service.user.is_empty() && !service.user.starts_with('0'), "runs as root"),
                (service.image.starts_with("docker.io/") || service.user == OURS, "runs as another user than its image"),
                (service.healthcheck.disable || name == "cli" || !service.healthcheck.test.is_empty(), "says nothing about its health"),
                (once || service.healthcheck.test.len() > 1, "is never found unhealthy"),
                (!service.image.ends_with(":latest") && service.image.contains(':'), "has an image that changes under its name"),
            ];
            checks.iter().filter(|(holds, _)| !holds).for_each(|(_, what)| says(what));
            for (waits_for, how) in &service.depends_on {
                let other = project.service(waits_for);
                match how.condition.as_str() {
                    "service_healthy" => assert!(!other.healthcheck.test.is_empty(), "{name} waits for the health of {waits_for}"),
                    "service_completed_successfully" => {
                        assert_ne!(other.restart, "unless-stopped", "{name} waits for the end of {waits_for}")
                    }
                    other => panic!("{name} waits for {other}"),
                }
            }
        }
    }
    let production = &projects[0];
    for (name, service) in &production.services {
        secrets_are_files(name, service);
        let lasting = service.restart == "unless-stopped";
        assert_eq!(lasting, service.deploy.pointer("/resources/limits/memory").is_some(), "{name}: what runs for long has a limit");
    }
    // Who gets what. The agent and the client see no secret of the server.
    let granted = |name: &str| production.service(name).secrets.iter().map(|granted| granted.source.clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(granted("postgres"), "database-password");
    assert_eq!(granted("server"), "database-password encryption-key");
    assert_eq!(granted("agent"), "agent-token server-ca");
    assert_eq!(granted("cli"), "server-ca");
    for name in ["migrate", "backup", "backup-prune"] {
        assert_eq!(granted(name), "database-password");
    }
    // Nobody but those who need it reaches the database, and only the server is reached from outside.
    let near = |name: &str| production.service(name).networks.contains_key("database");
    assert!(!near("agent") && !near("cli") && near("server"));
    let published: Vec<_> = production.services.iter().filter(|(_, service)| !service.ports.is_empty()).map(|(name, _)| name).collect();
    assert_eq!(published, ["server"]);
    // Unset variables are told, not taken as empty.
    let mut compose = command(&home, require_program("docker-compose"));
    compose.current_dir(home.join("compose")).args(["--file", "compose.yaml", "config"]);
    run(&mut compose).await.ends(1).says(&["cp .env.example .env"]);
}

#[test]
fn images_are_small_in_rights_and_start_what_they_have() {
    let all = images();
    for name in ["server", "agent", "cli"] {
        let image = &all[name];
        assert_eq!(image.user, OURS, "{name}");
        assert!(image.own_folders.contains(&image.folder) && image.volumes.contains(&image.folder), "{name}: {image:#?}");
        assert!(image.volumes.iter().all(|volume| image.own_folders.contains(volume)), "{name}: a volume that it cannot write");
        let has = |program: &String| image.programs.contains(&format!("/usr/local/bin/{program}"));
        assert!(has(&image.entrypoint[0]), "{name}");
        assert!(name == "cli" || has(&image.health[0]), "{name}: {:?}", image.health);
        assert!(name == "cli" || image.stop_signal == "SIGTERM");
        assert!(!image.base.contains("latest") && (image.base.contains(':') || image.base.contains('@')), "{}", image.base);
        let version = &image.labels["org.opencontainers.image.version"];
        assert!(version == "${VERSION}" || version == env!("CARGO_PKG_VERSION"), "{version}");
        assert!(image.variables.keys().all(|name| !name.contains("TOKEN") && !name.contains("PASSWORD") && !name.contains("KEY")));
    }
    // Built by the Rust that the repository names, with glibc no newer than where it runs.
    let toolchain = read(&in_repository("rust-toolchain.toml"));
    let rust = all["build"].base.split_once("rust:").unwrap().1.split_once('-').unwrap();
    assert!(toolchain.contains(&format!("\"{}\"", rust.0)), "{rust:?}");
    assert_eq!(rust.1, "slim-bookworm");
    // The client programs are not older than the PostgreSQL of chart and project.
    let dockerfile = read(&in_repository("deploy/docker/Dockerfile"));
    let client: u32 = after(&dockerfile, "POSTGRES_MAJOR=").parse().unwrap();
    for (file, before) in [("deploy/helm/rendered/small.yaml", "library/postgres:"), ("deploy/compose/compose.yaml", "library/postgres:")] {
        let server: u32 = after(&read(&in_repository(file)), before).parse().unwrap();
        assert!(client >= server, "{file}: PostgreSQL {server}, dumped by {client}");
    }
}

#[tokio::test]
async fn the_dockerfile_and_the_scripts_have_no_faults_that_linters_know() {
    let home = Home::new();
    let at = |path: &str| in_repository(path).canonicalize().unwrap();
    let lint = async |program: &str, words: &[&str], file: &str| {
        let ran = run(command(&home, require_program(program)).args(words).arg(at(file))).await;
        assert_eq!(ran.code, Some(0), "{file}: {}{}", ran.stdout, ran.stderr);
    };
    lint("hadolint", &["--no-color"], "deploy/docker/Dockerfile").await;
    lint("shellcheck", &[], "deploy/compose/make-secrets.sh").await;
    // They find faults: a root user that was left, a variable without quotes.
    let bad = home.write("Dockerfile", "FROM debian:latest\nRUN cd /tmp && sudo ls\n");
    run(command(&home, require_program("hadolint")).arg(&bad)).await.ends(1);
    let bad = home.write("bad.sh", "#!/bin/sh\nrm -rf $1\n");
    run(command(&home, require_program("shellcheck")).arg(&bad)).await.ends(1);
}

#[tokio::test]
async fn what_a_build_sees_is_enough_and_holds_nothing_else() {
    let home = Home::new();
    let allowed = read(&in_repository("deploy/docker/Dockerfile.dockerignore"));
    let seen: Vec<&str> = allowed.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(allowed.lines().any(|line| line == "*"), "everything that is not named stays out");
    let context = home.join("context");
    std::fs::create_dir(&context).unwrap();
    for name in &seen {
        let target = in_repository(name).canonicalize().unwrap();
        std::os::unix::fs::symlink(target, context.join(name)).unwrap();
    }
    let mut cargo = command(&home, require_program("cargo"));
    for name in ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
        if let Some(value) = std::env::var_os(name) {
            cargo.env(name, value);
        }
    }
    cargo.env("HOME", std::env::home_dir().unwrap()).current_dir(&context);
    let shown = run(cargo.args(["metadata", "--locked", "--no-deps", "--format-version", "1"])).await.json();
    let packages: Vec<&str> = shown["packages"].as_array().unwrap().iter().filter_map(|package| package["name"].as_str()).collect();
    for name in ["certctl-server", "certctl-agent", "certctl-cli"] {
        assert!(packages.contains(&name), "{packages:?}");
    }
}

/// A certificate for an agent's volume.
struct Issue<'a> {
    home: &'a Arc<Home>,
    port: &'a str,
    ca: &'a Path,
    key: &'a str,
    agent: &'a str,
}

async fn issue(what: &Issue<'_>) {
    let url = format!("https://localhost:{}", what.port);
    let cli = Cli::new(what.home, "cli").with("CERTCTL_SERVER_URL", &url);
    let cli = cli.with("CERTCTL_API_KEY", what.key).with("CERTCTL_CA_FILE", what.ca.to_str().unwrap());
    let folder = "/var/lib/certctl-certificates";
    let config = json!({"config": {"certificate_path": format!("{folder}/site.pem"), "key_path": format!("{folder}/site.key")}});
    let file = what.home.write("target.json", config.to_string());
    let file = file.to_str().unwrap();
    cli.run(&["targets", "create", "--name", "files", "--type", "Files", "--agent", what.agent, "--from-file", file]).await.ok();
    cli.run(&["certs", "request", "--name", "site", "--san", "site.example.test", "--target", "files", "--wait"]).await.ok();
    assert!(read(&what.home.join("volumes/certificates/site.pem")).contains("BEGIN CERTIFICATE"));
}

/// `compose.yaml`, with what `make-secrets.sh` makes.
async fn production(home: &Home, more: &[&str]) -> Project {
    let files = [&["compose.yaml"], more].concat();
    let example = read(&in_repository("deploy/compose/.env.example"));
    let variables: Vec<(&str, &str)> =
        example.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect();
    let variables: Vec<(&str, &str)> = variables
        .into_iter()
        .map(|(name, value)| if name == "CERTCTL_PUBLIC_URL" { (name, "https://localhost:8443") } else { (name, value) })
        .collect();
    let project = Project::read(home, &files, &variables).await;
    let script = home.join("compose/make-secrets.sh");
    std::fs::copy(in_repository("deploy/compose/make-secrets.sh"), &script).unwrap();
    for _ in 0..2 {
        run(&mut command(home, &script)).await.ok();
    }
    for name in ["database-password", "encryption-key"] {
        let secret = read(project.secret(name));
        home.plant(&secret);
        assert!(!project.text.contains(secret.trim()));
    }
    project
}

/// What is secret comes by a file: no variable that could hold one does.
fn secrets_are_files(name: &str, service: &Service) {
    for (variable, value) in &service.environment {
        let secret = ["PASSWORD", "TOKEN", "SECRET", "_KEY", "IDENTITY"].iter().any(|word| variable.contains(word));
        let by_file = variable.ends_with("_FILE") && value.starts_with("/run/secrets/");
        assert!(!secret || by_file, "{name}: {variable} stands in the environment");
        if by_file {
            let granted = service.secrets.iter().any(|granted| value.ends_with(&granted.source));
            assert!(granted, "{name}: {value} is not among its secrets");
        }
    }
}

/// A PostgreSQL that asks for the project's password.
struct Postgres {
    /// Host, port and database as a URL has them.
    place: String,
    cluster: OwnCluster,
    _wire: JoinSet<()>,
}

impl Postgres {
    async fn with_password_of(home: &Home, project: &Project) -> Self {
        let cluster = OwnCluster::start();
        let password = read(project.secret("database-password"));
        home.plant(&password);
        let socket = cluster.demand_password(password.trim());
        let mut wire = JoinSet::new();
        let port = forward_to(socket, &mut wire).await;
        Self { place: format!("postgres:{port}/postgres"), cluster, _wire: wire }
    }
}

async fn healthy(container: &Container, process: &mut Process, home: &Home) {
    wait_until("a healthy container", LONG, async || {
        process.must_run();
        container.health(home).await.code == Some(0)
    })
    .await;
}

/// As the guide has it: the folder above keeps others away.
fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o444)).unwrap();
}

/// The number behind a word.
fn after<'a>(text: &'a str, word: &str) -> &'a str {
    let rest = text.split_once(word).unwrap_or_else(|| panic!("`{word}` is not there")).1;
    rest.split_once(|c: char| !c.is_ascii_digit()).unwrap().0
}
