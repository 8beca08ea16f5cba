//! Killed as by a power cut, and stopped in good order: what was promised stays, and agents find their way back.

use std::time::Duration;

use certctl_testkit::{Engine, both_databases, wait_for, wait_until};
use serde_json::json;

use crate::harness::{LONG, World, read};

both_databases! {
    async fn a_killed_server_comes_back_with_its_ca_and_its_agents(world: World) {
        let mut world = world;
        let mut agent = world.agent("web-host").await;
        let placed = world.home.join("placed");
        std::fs::create_dir(&placed).unwrap();
        let config = json!({"certificate_path": placed.join("site.pem"), "key_path": placed.join("site.key")});
        world.target("files", &agent, ("Files", &config)).await;
        let authorities = world.cli.run(&["issuers", "ca", "iss-local"]).await.ok();
        let platform = read(&world.server.ca_file());
        world.cli.run(&["certs", "request", "--name", "before", "--san", "before.example.test"]).await.ok();

        world.server.kill().await;
        world.server.start_again().await;
        assert_eq!(world.cli.run(&["issuers", "ca", "iss-local"]).await.ok(), authorities);
        assert_eq!(read(&world.server.ca_file()), platform);
        assert_eq!(world.cli.json(&["certs", "get", "before"]).await["status"], "Pending");
        // The agent's parked question was cut off; it asks again by itself.
        world.cli.run(&["certs", "request", "--name", "after", "--san", "after.example.test", "--target", "files", "--wait"]).await.ok();
        agent.process().must_run();
        assert!(read(&placed.join("site.pem")).contains("BEGIN CERTIFICATE"));
        let verification = world.cli.json(&["audit", "verify"]).await;
        assert_eq!(verification["intact"], true, "{verification}");
    }

    async fn a_stop_answers_what_is_parked_and_ends_within_its_budget(world: World) {
        let mut world = world;
        let budget = Duration::from_secs(30);
        let mut agent = world.agent("web-host").await;
        world.cli.run(&["certs", "request", "--name", "waits", "--san", "waits.example.test"]).await.ok();
        let job = world.cli.jobs("waits").await[0].clone();
        let path = format!("/api/v1/jobs/{}?wait=50&since={}", job["id"].as_str().unwrap(), job["updated_at"].as_str().unwrap());
        let addresses = world.server.setup.data.join("addresses");
        assert!(read(&addresses).contains(&world.server.setup.port.to_string()));
        let (answer, status) = tokio::join!(world.api.try_send("GET", &path, &[], None), async {
            // The agent and the caller above hold a request each.
            wait_until("two parked requests", LONG, async || parked(&world.api).await >= 2.0).await;
            let began = tokio::time::Instant::now();
            let status = world.server.stop(budget).await;
            assert!(began.elapsed() < budget / 2, "nothing was left to wait for, and it took {:?}", began.elapsed());
            status
        });
        assert!(status.success(), "{status}");
        // It was answered, if only with what there was.
        assert!(answer.is_ok_and(|answer| [200, 503].contains(&answer.status)));
        assert!(!addresses.exists(), "nobody is sent to a server that has gone");
        assert!(world.server.log().contains("SIGTERM received"), "{}", world.server.log());
        world.server.start_again().await;
        agent.online(&world.cli).await;
    }
}

#[tokio::test]
async fn a_second_signal_ends_the_waiting() {
    let mut world = World::with(Engine::Sqlite, |setup| setup.with("CERTCTL_SERVER_SHUTDOWN_TIMEOUT", "10m")).await;
    // A client that has begun a request and does not go on holds up a stop, but not for ever.
    let mut slow = slow_request(&world).await;
    world.server.signal(nix::sys::signal::Signal::SIGTERM);
    wait_until("the stop to begin", LONG, async || world.server.log().contains("SIGTERM received")).await;
    world.server.signal(nix::sys::signal::Signal::SIGINT);
    let status = world.server.ended(Duration::from_secs(60)).await;
    assert!(status.success(), "{status}");
    assert!(slow.try_wait().unwrap().is_some() || slow.kill().await.is_ok());
}

/// How many requests the server holds, as it counts them; that of the question itself left out.
async fn parked(api: &crate::harness::Api) -> f64 {
    let scrape = api.get("/api/v1/metrics/prometheus").await.is(200).text;
    let line = scrape.lines().find(|line| line.starts_with("certctl_http_requests_in_flight"));
    line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default() - 1.0
}

/// curl that sends the head of a request and then a byte of its body a second.
async fn slow_request(world: &World) -> tokio::process::Child {
    let mut curl = crate::harness::command(&world.home, certctl_testkit::require_program("curl"));
    let body = world.home.write("body", vec![b'x'; 10_000]);
    let key = read(&world.server.first_key_file());
    let header = format!("Authorization: Bearer {}", key.trim());
    curl.args(["-sS", "--limit-rate", "1", "-X", "POST", "-H", &header, "-H", "Content-Type: application/json", "--cacert"]);
    curl.arg(world.server.ca_file()).arg("--data-binary").arg(format!("@{}", body.display()));
    let child = curl.arg(format!("{}/api/v1/owners", world.server.url())).spawn().unwrap();
    wait_for("the request to have begun", LONG, async || (parked(&world.api).await >= 1.0).then_some(())).await;
    child
}
