//! An agent that is killed in the middle of its work, and a server that is away while the result is due.

use std::time::Duration;

use certctl_testkit::{Engine, both_databases, wait_until};
use serde_json::{Value, json};

use crate::harness::{Agent, Gate, LONG, Nginx, World, names_in, read};

#[tokio::test]
async fn an_agent_killed_anywhere_between_key_and_reload_ends_with_one_version_deployed() {
    let world = World::open(Engine::Sqlite).await;
    let names = ["key.example.test", "check.example.test", "reload.example.test"];
    let nginx = Nginx::start(&world.home, &names).await;
    let (check, reload) =
        (Gate::before(&world.home, "check-gate", &nginx.program), Gate::before(&world.home, "reload-gate", &nginx.program));
    let mut agents = Vec::new();
    for name in names {
        let short = name.split('.').next().unwrap();
        let agent = world.agent(short).await;
        nginx.allow(&agent).await;
        let mut config = nginx.target(name);
        for (field, gate) in
            [("test_command", (short == "check").then_some(&check)), ("reload_command", (short == "reload").then_some(&reload))]
        {
            if let Some(gate) = gate {
                config[field][0] = json!(gate.script);
                let allowed: Vec<String> =
                    config[field].as_array().unwrap().iter().map(|word| word.as_str().unwrap().replace("{config}", "*")).collect();
                agent.allow(&allowed.iter().map(String::as_str).collect::<Vec<_>>()).await;
            }
        }
        world.target(short, &agent, ("NGINX", &config)).await;
        agents.push(agent);
    }
    for name in names {
        let short = name.split('.').next().unwrap();
        world.cli.run(&["certs", "request", "--name", short, "--san", name, "--target", short]).await.ok();
        if short == "key" {
            // The earliest point at which there is something to lose.
            wait_until("a key on the disk", LONG, async || !keys_of(&agents[0]).is_empty()).await;
            agents[0].kill().await;
        }
    }
    check.reached().await;
    agents[1].kill().await;
    reload.reached().await;
    agents[2].kill().await;
    check.open();
    reload.open();
    for agent in &mut agents {
        agent.start();
    }
    for (name, agent) in names.iter().zip(&agents) {
        let short = name.split('.').next().unwrap();
        world.cli.run(&["certs", "wait", short, "--timeout", "3m"]).await.ok();
        let version = world.cli.current_version(short).await;
        assert_eq!(world.cli.json(&["certs", "versions", short]).await["total"], 1, "{short}: issued once");
        nginx.serves(name, version["fingerprint_sha256"].as_str().unwrap()).await;
        let jobs = world.cli.jobs(short).await;
        let of = |kind: &str| jobs.iter().filter(|job| job["type"] == kind && job["status"] == "Completed").count();
        assert_eq!((of("Issuance"), of("Deployment")), (1, 1), "{jobs:#?}");
        assert_eq!(keys_of(agent).len(), 1, "{short}: no key is made in vain");
        assert_eq!(read(&nginx.key(name)), read(&agent.state.join(&keys_of(agent)[0])), "{short}");
    }
}

both_databases! {
    async fn a_result_is_told_when_the_server_is_back(world: World) {
        let mut world = world;
        let name = "web.example.test";
        let agent = world.agent("web-host").await;
        let nginx = Nginx::start(&world.home, &[name]).await;
        nginx.allow(&agent).await;
        let gate = Gate::before(&world.home, "gate", &nginx.program);
        let mut config = nginx.target(name);
        config["reload_command"][0] = json!(gate.script);
        agent.allow(&[gate.script.to_str().unwrap(), "-s", "reload", "-c", nginx.config().to_str().unwrap()]).await;
        world.target("web", &agent, ("NGINX", &config)).await;
        world.cli.run(&["certs", "request", "--name", "web", "--san", name, "--target", "web"]).await.ok();
        gate.reached().await;

        world.server.kill().await;
        gate.open();
        let outbox = agent.state.join("outbox");
        wait_until("a result that waits", LONG, async || !names_in(&outbox).is_empty()).await;
        let letter = read(&outbox.join(&names_in(&outbox)[0]));
        assert!(letter.contains("Completed"), "{letter}");
        // Without its server the agent has brought the deployment to its end.
        let placed = nginx.placed(name).await;
        nginx.serves(name, &placed).await;

        world.server.start_again().await;
        wait_until("an empty outbox", LONG, async || names_in(&outbox).is_empty()).await;
        world.cli.run(&["certs", "wait", "web"]).await.ok();
        let jobs = world.cli.jobs("web").await;
        let deployments: Vec<&Value> = jobs.iter().filter(|job| job["type"] == "Deployment").collect();
        assert_eq!(deployments.len(), 1, "{jobs:#?}");
        assert_eq!((&deployments[0]["status"], &deployments[0]["attempts"]), (&json!("Completed"), &json!(1)));
        assert_eq!(world.cli.current_version("web").await["fingerprint_sha256"], placed);
    }
}

#[tokio::test]
async fn a_stop_lets_a_deployment_finish_and_its_result_is_not_lost() {
    let world = World::open(Engine::Sqlite).await;
    let mut agent = world.agent("web-host").await;
    let placed = world.home.join("placed");
    std::fs::create_dir(&placed).unwrap();
    let gate = Gate::before(&world.home, "gate", &certctl_testkit::require_program("true"));
    agent.allow(&[gate.script.to_str().unwrap()]).await;
    let config = json!({"certificate_path": placed.join("site.pem"), "key_path": placed.join("site.key"), "reload_command": [gate.script]});
    world.target("files", &agent, ("Files", &config)).await;
    world.cli.run(&["certs", "request", "--name", "web", "--san", "web.example.test", "--target", "files"]).await.ok();
    gate.reached().await;
    let process = agent.process();
    process.signal(nix::sys::signal::Signal::SIGTERM);
    wait_until("the stop to begin", LONG, async || process.log().contains("a second signal ends at once")).await;
    gate.open();
    assert!(process.ended(Duration::from_secs(30)).await.success());
    // Told on the way out, or when it is started again.
    agent.start();
    world.cli.run(&["certs", "wait", "web"]).await.ok();
    let jobs = world.cli.jobs("web").await;
    let deployment = jobs.iter().find(|job| job["type"] == "Deployment").unwrap();
    assert_eq!(deployment["attempts"], 1, "{deployment}");
}

/// The key files of an agent, below its state directory.
fn keys_of(agent: &Agent) -> Vec<String> {
    let keys = agent.state.join("keys");
    let of = |folder: String| names_in(&keys.join(&folder)).into_iter().map(move |name| format!("keys/{folder}/{name}"));
    names_in(&keys).into_iter().flat_map(of).filter(|name| name.ends_with(".key")).collect()
}
