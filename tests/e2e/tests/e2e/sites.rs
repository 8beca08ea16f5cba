//! nginx with several names on one address: each is served its own certificate, and a deployment that goes wrong is taken back.

use certctl_testkit::{Engine, both_databases};
use serde_json::{Value, json};

use crate::harness::{Nginx, Ran, Site, World, read, verified, write};

const NAME: &str = "web.example.test";

both_databases! {
    async fn each_of_two_names_on_one_address_is_served_its_own_certificate(world: World) {
        let names = ["one.example.test", "two.example.test"];
        let agent = world.agent("web-host").await;
        let nginx = Nginx::start(&world.home, &names).await;
        nginx.allow(&agent).await;
        let authority = world.home.write("ca.pem", world.cli.run(&["issuers", "ca", "iss-local"]).await.ok());
        for name in names {
            let short = name.split('.').next().unwrap();
            world.target(short, &agent, ("NGINX", &nginx.target(name))).await;
            world.cli.run(&["certs", "request", "--name", short, "--san", name, "--target", short]).await.ok();
        }
        let mut fingerprints = Vec::new();
        for name in names {
            let short = name.split('.').next().unwrap();
            world.cli.run(&["certs", "wait", short]).await.ok();
            let version = world.cli.current_version(short).await;
            let fingerprint = version["fingerprint_sha256"].as_str().unwrap().to_owned();
            nginx.serves(name, &fingerprint).await;
            verified(&world.home, nginx.port, name, &authority).await.unwrap();
            fingerprints.push(fingerprint);
        }
        assert_ne!(fingerprints[0], fingerprints[1]);
        // What is done to the one does not touch the other.
        world.cli.run(&["certs", "renew", "one", "--wait"]).await.ok();
        let renewed = world.cli.current_version("one").await;
        nginx.serves(names[0], renewed["fingerprint_sha256"].as_str().unwrap()).await;
        nginx.serves(names[1], &fingerprints[1]).await;
        assert_eq!(world.cli.current_version("two").await["fingerprint_sha256"], fingerprints[1]);
    }

    async fn what_the_services_own_test_refuses_is_not_put_in_place(world: World) {
        let site = Site::open(&world, NAME).await;
        let before = Before::of(&site).await;
        let whole = read(&site.nginx.config());
        write(&site.nginx.config(), whole.replace("worker_processes 1;", "worker_processes 1; no_such_directive on;"));
        let refused = request(&world).await.ends(8);
        let job = rolled_back(&world, &site, &before).await;
        assert!(job["reason"].as_str().unwrap().contains("no_such_directive"), "{job}");
        told(&refused, &job);
        assert_eq!(job["status"], "Pending", "the deployment is planned again");

        // With the configuration mended it is deployed.
        write(&site.nginx.config(), whole);
        world.cli.run(&["certs", "deploy", "web", "--wait"]).await.ok();
        site.nginx.serves(NAME, world.cli.current_version("web").await["fingerprint_sha256"].as_str().unwrap()).await;
    }

    async fn a_reload_that_keeps_the_old_pair_is_noticed_and_taken_back(world: World) {
        let agent = world.agent("web-host").await;
        let nginx = Nginx::start(&world.home, &[NAME]).await;
        nginx.allow(&agent).await;
        agent.allow(&["/bin/true"]).await;
        let mut config = nginx.target(NAME);
        config["reload_command"] = json!(["/bin/true"]);
        config["observe"] = json!({"address": format!("127.0.0.1:{}", nginx.port), "server_names": [NAME], "attempts": 3});
        world.target("web", &agent, ("NGINX", &config)).await;
        let site = Site { agent, nginx };
        let before = Before::of(&site).await;
        let refused = request(&world).await.ends(8);
        let job = rolled_back(&world, &site, &before).await;
        assert!(job["reason"].as_str().unwrap().contains("observe: "), "{job}");
        told(&refused, &job);
        // Put back means put back for the service too.
        site.nginx.reload().await;
        site.nginx.serves(NAME, &before.fingerprint).await;
        drop(site.agent);
    }
}

#[tokio::test]
async fn a_command_that_the_machine_does_not_allow_is_named_with_the_lines_to_add() {
    let world = World::open(Engine::Sqlite).await;
    let agent = world.agent("web-host").await;
    let nginx = Nginx::start(&world.home, &[NAME]).await;
    world.target("web", &agent, ("NGINX", &nginx.target(NAME))).await;
    let site = Site { agent, nginx };
    let before = Before::of(&site).await;
    let refused = request(&world).await.ends(8);
    let job = rolled_back(&world, &site, &before).await;
    assert!(job["reason"].as_str().unwrap().contains("is not among the commands"), "{job}");
    told(&refused, &job);
    let hint = job["hint"].as_str().unwrap();
    let allowed = site.agent.state.join("allow.toml");
    assert!(hint.contains(allowed.to_str().unwrap()), "{hint}");
    let (_, blocks) = hint.split_once("\n\n").unwrap();
    assert_eq!(blocks.matches("[[command]]").count(), 2, "{blocks}");

    // The lines are right as they stand.
    write(&allowed, format!("{}\n{blocks}", read(&allowed)));
    world.cli.run(&["certs", "deploy", "web", "--wait"]).await.ok();
    site.nginx.serves(NAME, world.cli.current_version("web").await["fingerprint_sha256"].as_str().unwrap()).await;
}

/// How the site was before a deployment.
struct Before {
    certificate: String,
    key: String,
    fingerprint: String,
}

impl Before {
    async fn of(site: &Site) -> Self {
        Self {
            certificate: read(&site.nginx.certificate(NAME)),
            key: read(&site.nginx.key(NAME)),
            fingerprint: site.nginx.placed(NAME).await,
        }
    }
}

/// Asks for a certificate and waits less long than the first pause after a failure.
async fn request(world: &World) -> Ran {
    world.cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web", "--wait", "--timeout", "25s"]).await
}

/// Fails unless everything is as it was and the deployment's job says why; gives the job.
async fn rolled_back(world: &World, site: &Site, before: &Before) -> Value {
    assert_eq!(read(&site.nginx.certificate(NAME)), before.certificate);
    assert_eq!(read(&site.nginx.key(NAME)), before.key);
    site.nginx.serves(NAME, &before.fingerprint).await;
    let jobs = world.cli.jobs("web").await;
    let job = jobs.iter().find(|job| job["type"] == "Deployment").unwrap_or_else(|| panic!("no deployment among {jobs:#?}")).clone();
    assert_eq!(job["status"], "Pending");
    assert!(!job["reason"].as_str().unwrap().is_empty() && !job["hint"].as_str().unwrap().is_empty(), "{job}");
    let explained = world.cli.json(&["certs", "explain", "web"]).await;
    assert_eq!(explained["hint"], job["hint"], "{explained}");
    // The certificate itself was issued, and is not lost.
    assert!(world.cli.current_version("web").await["fingerprint_sha256"] != before.fingerprint.as_str());
    job
}

/// Whoever waited was told the reason and the hint.
fn told(waited: &Ran, job: &Value) {
    let first_line = |field: &str| job[field].as_str().unwrap().lines().next().unwrap().to_owned();
    for words in [first_line("last_error"), format!("hint: {}", first_line("hint")), "next try".to_owned()] {
        assert!(waited.stderr.contains(&words), "`{words}` is not in: {}", waited.stderr);
    }
}
