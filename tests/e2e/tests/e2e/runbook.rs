//! The operators' runbook for a metrics key, with the tools that it names: curl and jq.

use certctl_testkit::{Engine, both_databases, require_program, wait_until};
use serde_json::json;

use crate::harness::{LONG, Prometheus, Ran, Server, Setup, World, blocks, command, read, run, run_with_input, samples};

both_databases! {
    async fn the_calls_work_word_for_word(world: World) {
        let page = Page::read();
        let scraped = script(&world, &page.mint).await.ok();
        let first_key = scraped.lines().last().unwrap().to_owned();
        assert!(first_key.starts_with("ck_"), "the last line is the key: {scraped}");
        world.home.plant_key(&first_key);
        let minted: serde_json::Value = serde_json::from_str(&read(&world.home.join("prom-key.json"))).unwrap();
        assert_eq!((&minted["actor_id"], &minted["name"]), (&json!("actor-prometheus"), &json!("prometheus-scrape-token")));
        let first_id = minted["id"].as_str().unwrap();
        script(&world, &page.keep).await.ok();
        assert_eq!(script(&world, &page.look).await.ok().trim(), "200");

        let weak = world.key_of("weak", json!(["r-agent"])).await;
        script(&world, &page.rotate).await.ok();
        let second_key = read(&world.home.join("certctl.key")).trim().to_owned();
        world.home.plant_key(&second_key);
        assert_eq!((status(&world, Some(&first_key)).await, status(&world, Some(&second_key)).await), ("200".to_owned(), "200".to_owned()));
        script(&world, &page.revoke.replace("<OLD_KEY_ID>", first_id)).await.ok();
        assert_eq!(script(&world, &page.look).await.ok().trim(), "200");

        let unknown = format!("ck_0123456789ab_{}", "A".repeat(43));
        for (key, expected) in
            [(None, "401"), (Some(unknown.as_str()), "401"), (Some(&first_key), "401"), (Some(&weak), "403"), (Some(&second_key), "200")]
        {
            assert_eq!(status(&world, key).await, expected);
        }
    }

    async fn what_is_scraped_is_what_happened(world: World) {
        let key = world.key_of("scraper", json!(["r-metrics-read"])).await;
        let scraper = world.server.api().with_token(&key);
        world.cli.run(&["certs", "request", "--name", "waits", "--san", "waits.example.test"]).await.ok();
        let reply = scraper.get("/api/v1/metrics/prometheus").await.is(200);
        assert!(reply.header("content-type").starts_with("text/plain"), "{:?}", reply.headers);
        let samples = samples(&reply.text);
        for (name, value) in
            [("certctl_certificate_total", 1.0), ("certctl_certificates{status=\"Pending\"}", 1.0), ("certctl_agent_total", 0.0)]
        {
            assert_eq!(samples.get(name), Some(&value), "{name}: {}", reply.text);
        }
        let open = scraper
            .send("GET", "/api/v1/metrics/prometheus", &[("accept", "application/openmetrics-text; version=1.0.0")], None)
            .await
            .is(200);
        assert!(open.header("content-type").starts_with("application/openmetrics-text"), "{:?}", open.headers);
        assert!(open.text.ends_with("# EOF\n"));
        // Two gauges have names that existing scripts ask for; nothing else is amiss.
        let mut promtool = command(&world.home, require_program("promtool"));
        let judged = run_with_input(promtool.args(["check", "metrics"]), &reply.text).await;
        let said: Vec<&str> = judged.stdout.lines().chain(judged.stderr.lines()).filter(|line| !line.is_empty()).collect();
        let known = |line: &str| ["certctl_agent_total ", "certctl_certificate_total "].iter().any(|name| line.starts_with(name));
        assert!(said.iter().copied().all(known) && said.len() == 2, "{said:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_scrapes_and_loses_nothing_when_its_key_changes() {
    let world = World::open(Engine::Sqlite).await;
    let page = Page::read();
    world.cli.run(&["certs", "request", "--name", "waits", "--san", "waits.example.test"]).await.ok();
    let first_key = script(&world, &page.mint).await.ok().lines().last().unwrap().to_owned();
    world.home.plant_key(&first_key);
    let minted: serde_json::Value = serde_json::from_str(&read(&world.home.join("prom-key.json"))).unwrap();
    script(&world, &page.keep).await.ok();
    let address = world.server.url().trim_start_matches("https://").to_owned();
    let config = page.config.replace("certctl.your-org.example", &address).replace("30s", "1s");
    let prometheus = Prometheus::start(&world.home, &config).await;
    prometheus.target("up").await;
    assert_eq!(prometheus.value("certctl_certificate_total").await, Some(1.0));

    script(&world, &page.rotate).await.ok();
    world.home.plant_key(&read(&world.home.join("certctl.key")));
    prometheus.loses_nothing(2.0).await;
    script(&world, &page.revoke.replace("<OLD_KEY_ID>", minted["id"].as_str().unwrap())).await.ok();
    prometheus.loses_nothing(2.0).await;
    assert_eq!(status(&world, Some(&first_key)).await, "401");
    wait_until("Prometheus to see that refusal", LONG, async || prometheus.refused().await == Some(1.0)).await;
}

#[tokio::test]
async fn a_deleted_key_is_dead_at_once_on_every_replica() {
    let world = World::open(Engine::Postgres).await;
    let database = world.database.as_ref().unwrap();
    let other = Server::start(&world.home, Setup::on(&world.home, "replica", database)).await;
    assert!(!other.first_key_file().exists(), "there is one first administrator, not one of each replica");
    let key = world.key_of("scraper", json!(["r-metrics-read"])).await;
    let everywhere = [world.server.api().with_token(&key), other.api().with_token(&key)];
    for replica in &everywhere {
        replica.get("/api/v1/metrics/prometheus").await.is(200);
    }
    let keys = world.cli.json(&["keys", "list", "--actor", "actor-scraper"]).await;
    world.cli.run(&["keys", "delete", keys["data"][0]["id"].as_str().unwrap(), "--yes"]).await.ok();
    for replica in everywhere.iter().rev() {
        let reply = replica.get("/api/v1/metrics/prometheus").await;
        assert!(reply.header("www-authenticate").starts_with("Bearer"), "{:?}", reply.headers);
        reply.fails_with(401, "credential_revoked");
    }
}

/// The blocks of the runbook that operators run.
struct Page {
    mint: String,
    keep: String,
    look: String,
    rotate: String,
    revoke: String,
    config: String,
}

impl Page {
    fn read() -> Self {
        let blocks = |language| blocks("docs/operator/runbooks/prometheus-by-rest.md", language).collect::<Vec<_>>();
        let Ok([mint, keep, look, rotate, revoke]) = <[String; 5]>::try_from(blocks("sh")) else { panic!("the runbook has other blocks") };
        let Ok([config]) = <[String; 1]>::try_from(blocks("yaml")) else { panic!("the runbook has other configurations") };
        Self { mint, keep, look, rotate, revoke, config }
    }
}

/// Runs lines of the runbook. Only the host is changed, and the folder for scratch files; the CA lies where the runbook has it.
async fn script(world: &World, lines: &str) -> Ran {
    for program in ["curl", "jq", "tee", "shred"] {
        require_program(program);
    }
    world.home.write("ca.crt", read(&world.server.ca_file()));
    let lines = lines.replace("https://certctl.your-org.example", &world.server.url()).replace("/tmp/", "./");
    let key = read(&world.server.first_key_file());
    let mut shell = command(&world.home, require_program("bash"));
    run(shell.args(["-euo", "pipefail", "-c", &lines]).env("ADMIN_API_KEY", key.trim())).await
}

/// The HTTP status with which curl is answered on the metrics route.
async fn status(world: &World, key: Option<&str>) -> String {
    let url = format!("{}/api/v1/metrics/prometheus", world.server.url());
    let mut curl = command(&world.home, require_program("curl"));
    curl.args(["-sS", "--cacert"]).arg(world.server.ca_file()).args(["-o", "/dev/null", "-w", "%{http_code}"]);
    if let Some(key) = key {
        curl.args(["-H", &format!("Authorization: Bearer {key}")]);
    }
    run(curl.arg(url)).await.ok()
}
