//! What stands between a server and its PostgreSQL: a pooler, and the database's own death and return.

use std::time::{Duration, Instant};

use certctl_testkit::{OwnCluster, Pooler, database::postgres, wait_until};
use serde_json::json;

use crate::harness::{LONG, Server, Setup, Site, World, read};

const NAME: &str = "web.example.test";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_behind_a_pooler_do_the_main_job_and_hear_of_each_other() {
    let database = postgres().await;
    let pooler = Pooler::before(&database).await;
    let world = World::on(Some(database), |setup| setup.with("CERTCTL_DATABASE_URL", pooler.url())).await;
    let setup = Setup::on(&world.home, "other", world.database.as_ref().unwrap()).with("CERTCTL_DATABASE_URL", pooler.url());
    let other = Server::start(&world.home, setup).await;
    // The agent waits at the first replica for what the second is asked to do.
    let site = Site::open(&world, NAME).await;
    let api = other.api().with_token(read(&world.server.first_key_file()).trim());
    world.cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web", "--wait"]).await.ok();
    let first = world.cli.current_version("web").await;
    let id = first["certificate_id"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        let before = world.cli.current_version("web").await;
        api.post(&format!("/api/v1/certificates/{id}/renew"), &json!({})).await.is(202);
        world.cli.run(&["certs", "wait", "web"]).await.ok();
        let renewed = world.cli.current_version("web").await;
        assert_ne!(renewed["id"], before["id"]);
        site.nginx.serves(NAME, renewed["fingerprint_sha256"].as_str().unwrap()).await;
    }
    for log in [world.server.log(), other.log()] {
        assert!(!log.contains("panicked") && !log.contains(" ERROR "), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_database_interrupts_goes_on_when_it_is_back() {
    let cluster = OwnCluster::start();
    let url = cluster.url();
    let world = World::on(None, |setup| setup.with_postgres(&url)).await;
    let site = Site::open(&world, NAME).await;
    world.cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web", "--wait"]).await.ok();
    let first = world.cli.current_version("web").await;
    world.cli.run(&["certs", "renew", "web"]).await.ok();
    cluster.stop();
    wait_until("the server to say that it is not ready", LONG, async || world.api.get("/ready").await.status == 503).await;
    let refused = world.api.get("/api/v1/certificates").await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    refused.problem();
    // Longer than anything waits for a connection: what was under way has failed by then.
    let down = Instant::now();
    wait_until("half a minute without a database", LONG, async || {
        assert_eq!(world.api.get("/ready").await.status, 503);
        down.elapsed() >= Duration::from_secs(30)
    })
    .await;
    cluster.start_again();
    wait_until("the server to be ready again", LONG, async || world.api.get("/ready").await.status == 200).await;
    world.cli.run(&["certs", "wait", "web", "--timeout", "3m"]).await.ok();
    let second = world.cli.current_version("web").await;
    assert_ne!(first["id"], second["id"]);
    assert_eq!(world.cli.json(&["certs", "versions", "web"]).await["total"], 2);
    site.nginx.serves(NAME, second["fingerprint_sha256"].as_str().unwrap()).await;
    assert_eq!(world.cli.json(&["audit", "verify"]).await["intact"], true);
    assert!(!world.server.log().contains("panicked"));
}
