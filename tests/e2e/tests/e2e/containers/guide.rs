//! The pages on images and Docker Compose, line by line. What an engine would do is done here as it would: services in the order in which they
//! wait for each other, those of a profile only where it is named, one-off containers with their arguments, volumes that stay until they are removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use certctl_testkit::require_program;
use nix::sys::signal::Signal;

use super::container::Container;
use super::image::images;
use super::project::{Project, Service};
use super::{Issue, Postgres, healthy, issue, open_to_all, production};
use crate::harness::{Home, LONG, Process, blocks, command, free_port, in_repository, read, run};

const DEMO: &str = "compose.demo.yaml";

#[tokio::test]
async fn the_guide_works_line_by_line() {
    let mut engine = Engine::new().await;
    let mut page = blocks("docs/operator/compose.md", "sh");
    engine.follow(&page.next_with(DEMO)).await;
    engine.follow(&page.next_with("make-secrets.sh")).await;
    engine.follow(&page.next_with("login")).await;
    engine.follow(&page.next_with("agents token")).await;
    let (port, ca) = (engine.port.clone(), engine.production.secret("server-ca").to_owned());
    let key = read(&engine.home.join("volumes/server/first-admin-token"));
    issue(&Issue { home: &engine.home, port: &port, ca: &ca, key: key.trim(), agent: "compose" }).await;
    engine.follow(&page.next_with("compose.tls.yaml")).await;
    engine.follow(&page.next_with("backup-prune")).await;
    engine.follow(&page.next_with("backup verify")).await;
    engine.follow(&page.next_with("run --rm restore")).await;
    // What was in the backup is there again, in a database that was empty.
    let listed = engine.container("cli").run(&engine.home, &["certs", "list", "--output", "json"]).await.json();
    assert_eq!(listed["total"], 1, "{listed}");
    engine.follow(&page.next_with("pull")).await;
    engine.follow(&page.next_with("down --volumes")).await;
    assert!(engine.running.is_empty() && !engine.home.join("volumes").exists());
}

#[test]
fn images_are_built_as_the_page_says() {
    let stages = images();
    let dockerfile = read(&in_repository("deploy/docker/Dockerfile"));
    for block in blocks("docs/operator/docker.md", "sh") {
        for line in block.replace("\\\n", " ").lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["docker", "buildx", "imagetools", "inspect", base, ..] = words[..] {
                assert!(dockerfile.contains(&format!("={base}\n")), "{base} is no base of the Dockerfile");
                continue;
            }
            let ["docker", "build", options @ .., "."] = &words[..] else { panic!("nobody knows how to do this here: {line}") };
            for option in options.chunks(2) {
                match option {
                    ["--file", path] => assert!(in_repository(path).is_file(), "{line}"),
                    ["--target", stage] => assert!(stages.contains_key(*stage), "{line}"),
                    ["--tag", name] => assert!(name.ends_with(&format!(":{}", env!("CARGO_PKG_VERSION"))), "{line}"),
                    ["--build-arg", argument] => {
                        let name = argument.split_once('=').unwrap().0;
                        assert!(dockerfile.contains(&format!("ARG {name}=")), "{line}: there is no {name}");
                    }
                    other => panic!("{line}: {other:?}"),
                }
            }
        }
    }
}

/// Docker, as far as the page needs it.
struct Engine {
    home: Arc<Home>,
    production: Project,
    demo: Project,
    postgres: Postgres,
    port: String,
    /// Whether the last command was about the demo.
    in_demo: bool,
    running: BTreeMap<String, Process>,
}

/// A command of `docker compose`.
struct Command<'a> {
    files: Vec<&'a str>,
    profiles: Vec<&'a str>,
    verb: &'a str,
    rest: Vec<&'a str>,
}

impl<'a> Command<'a> {
    fn read(words: &[&'a str]) -> Self {
        assert_eq!(words[..2], ["docker", "compose"], "nobody knows how to do this here: {words:?}");
        let options = words[2..].chunks(2).take_while(|pair| ["--file", "--profile"].contains(&pair[0])).count();
        let (given, rest) = words[2..].split_at(2 * options);
        let of = |option: &str| given.chunks(2).filter(|pair| pair[0] == option).map(|pair| pair[1]).collect();
        Self { files: of("--file"), profiles: of("--profile"), verb: rest[0], rest: rest[1..].to_vec() }
    }
}

impl Engine {
    async fn new() -> Self {
        let home = Arc::new(Home::new());
        let demo = Project::read(&home, &[DEMO], &[]).await;
        let production = production(&home, &[]).await;
        let postgres = Postgres::with_password_of(&home, &production).await;
        Self { home, production, demo, postgres, port: free_port().to_string(), in_demo: false, running: BTreeMap::new() }
    }

    /// Carries out the lines of a block.
    async fn follow(&mut self, block: &str) {
        for line in block.lines() {
            self.carry_out(line).await;
        }
    }

    async fn carry_out(&mut self, line: &str) {
        let folder = self.home.join("compose");
        match line {
            // The files of the project are in a folder of the test, and filled in.
            "cd deploy/compose" | "$EDITOR .env" => {}
            "cp .env.example .env" => assert!(in_repository("deploy/compose/.env.example").is_file()),
            "./make-secrets.sh" => drop(run(command(&self.home, require_program("sh")).current_dir(&folder).arg(line)).await.ok()),
            "docker volume rm certctl_database" => {
                assert!(self.running.is_empty(), "a volume that is used cannot be removed");
                self.postgres = Postgres::with_password_of(&self.home, &self.production).await;
            }
            _ => {
                let (line, file) = line.split_once(" >").map_or((line, None), |(line, file)| (line, Some(file)));
                let mut said = None;
                for part in line.split(" | ") {
                    let words: Vec<&str> = part.split_whitespace().collect();
                    said = Some(self.compose(&Command::read(&words), said.as_deref()).await);
                }
                if let Some(file) = file {
                    std::fs::write(folder.join(file), said.unwrap_or_default()).unwrap();
                    open_to_all(&folder.join(file));
                }
            }
        }
    }

    /// What it writes to standard output.
    async fn compose(&mut self, asked: &Command<'_>, input: Option<&str>) -> String {
        self.in_demo = asked.files == [DEMO];
        if asked.files.len() > 1 {
            // A certificate of the operator's own is shown by a test of its own; here the files fit together.
            Project::read(&self.home, &asked.files, &[("CERTCTL_PUBLIC_URL", "https://localhost:8443")]).await;
            return String::new();
        }
        match (asked.verb, &asked.rest[..]) {
            ("up", ["--detach", "--wait"]) => self.up(&asked.profiles).await,
            ("down", volumes) => self.down(volumes).await,
            // There is no registry.
            ("pull", ["--policy", "missing"]) => {}
            ("exec", ["-T", service, words @ ..] | [service, words @ ..]) => {
                assert!(self.running.contains_key(*service), "{service} does not run");
                return self.container(service).execute(&self.home, words).await.ok();
            }
            ("run", ["--rm", "-T", service, words @ ..] | ["--rm", service, words @ ..]) => {
                let container = self.container(service);
                let ran = match input {
                    Some(input) => container.run_with(&self.home, words, input).await,
                    None => container.run(&self.home, words).await,
                };
                return ran.ok();
            }
            (verb, rest) => panic!("nobody knows how to do this here: {verb} {rest:?}"),
        }
        String::new()
    }

    /// Starts what has no profile or one that is named, each when what it waits for is there.
    async fn up(&mut self, profiles: &[&str]) {
        let wanted =
            |service: &Service| service.profiles.is_empty() || service.profiles.iter().any(|profile| profiles.contains(&profile.as_str()));
        let services = self.project().services.clone();
        let mut left: Vec<(String, Service)> =
            services.into_iter().filter(|(name, service)| wanted(service) && name != "postgres").collect();
        while !left.is_empty() {
            let ready = left.iter().position(|(_, service)| !left.iter().any(|(other, _)| service.depends_on.contains_key(other)));
            let (name, service) = left.remove(ready.expect("services wait for each other in a circle"));
            let container = self.container(&name);
            if service.healthcheck.test.len() < 2 {
                container.run(&self.home, &[]).await.ok();
            } else if !self.running.contains_key(&name) {
                let mut process = container.start(&self.home);
                healthy(&container, &mut process, &self.home).await;
                self.running.insert(name, process);
            }
        }
    }

    async fn down(&mut self, volumes: &[&str]) {
        for (name, mut process) in std::mem::take(&mut self.running) {
            process.signal(Signal::SIGTERM);
            assert!(process.ended(LONG).await.success(), "{name} does not end well");
        }
        match volumes {
            [] => {}
            ["--volumes"] => std::fs::remove_dir_all(self.home.join("volumes")).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn project(&self) -> &Project {
        if self.in_demo { &self.demo } else { &self.production }
    }

    fn container(&self, name: &str) -> Container {
        let port = format!(":{}", self.port);
        let ports = [(":8443", &*port), ("postgres:5432/certctl", &self.postgres.place)];
        let container = Container::of(self.project(), name, &images(), &ports);
        if self.in_demo && name == "server" {
            container.with("CERTCTL_SERVER_LISTEN", &format!("127.0.0.1:{}", self.port))
        } else {
            container
        }
    }
}
