//! The operators' runbook for a metrics key, with the tools that it names: curl and jq.

use std::collections::BTreeMap;

use certctl_testkit::{Engine, both_databases, require_program};
use serde_json::json;

use crate::harness::{Ran, Server, Setup, World, command, read, run};

both_databases! {
    async fn the_calls_work_word_for_word(world: World) {
        let scraped = script(&world, MINT).await.ok();
        let first_key = scraped.lines().last().unwrap().to_owned();
        assert!(first_key.starts_with("ck_"), "the last line is the key: {scraped}");
        world.home.plant_key(&first_key);
        let minted: serde_json::Value = serde_json::from_str(&read(&world.home.join("prom-key.json"))).unwrap();
        assert_eq!((&minted["actor_id"], &minted["name"]), (&json!("actor-prometheus"), &json!("prometheus-scrape-token")));
        let first_id = minted["id"].as_str().unwrap();
        assert_eq!(status(&world, Some(&first_key)).await, "200");

        let weak = world.key_of("weak", json!(["r-agent"])).await;
        script(&world, ROTATE).await.ok();
        let second: serde_json::Value = serde_json::from_str(&read(&world.home.join("prom-key-new.json"))).unwrap();
        let second_key = second["key_value"].as_str().unwrap();
        world.home.plant_key(second_key);
        assert_eq!((status(&world, Some(&first_key)).await, status(&world, Some(second_key)).await), ("200".to_owned(), "200".to_owned()));
        script(&world, &REVOKE.replace("<OLD_KEY_ID>", first_id)).await.ok();

        let unknown = format!("ck_0123456789ab_{}", "A".repeat(43));
        for (key, expected) in
            [(None, "401"), (Some(unknown.as_str()), "401"), (Some(&first_key), "401"), (Some(&weak), "403"), (Some(second_key), "200")]
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
    }
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

/// Runs lines of the runbook. Only the host is changed, and the folder for scratch files; the CA lies where the runbook has it.
async fn script(world: &World, lines: &str) -> Ran {
    for program in ["curl", "jq", "tee"] {
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

/// The samples of a scrape by name with labels. Each must be a number, below a TYPE of its family.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut families = Vec::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            families.push(family.split(' ').next().unwrap());
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            assert!(families.last().is_some_and(|family| name.starts_with(family)), "{line} stands below {families:?}");
            let fresh = samples.insert(name.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}")));
            assert_eq!(fresh, None, "{line} is there twice");
        }
    }
    samples
}

const MINT: &str = r#"
# 2. Create a role with only metrics.read.
curl -sS --cacert ./ca.crt -X POST \
  -H "Authorization: Bearer ${ADMIN_API_KEY}" \
  -H "Content-Type: application/json" \
  https://certctl.your-org.example/api/v1/auth/roles \
  -d '{"id":"r-prometheus-scrape","name":"Prometheus scrape","permissions":["metrics.read"]}'

# 3. Create an actor that holds the role.
curl -sS --cacert ./ca.crt -X POST \
  -H "Authorization: Bearer ${ADMIN_API_KEY}" \
  -H "Content-Type: application/json" \
  https://certctl.your-org.example/api/v1/auth/actors \
  -d '{"id":"actor-prometheus","name":"Prometheus scrape","roles":["r-prometheus-scrape"]}'

# 4. Mint an API key for the actor. The response includes a
#    `key_value` field that's only returned ONCE — capture it.
curl -sS --cacert ./ca.crt -X POST \
  -H "Authorization: Bearer ${ADMIN_API_KEY}" \
  -H "Content-Type: application/json" \
  https://certctl.your-org.example/api/v1/auth/apikeys \
  -d '{"actor_id":"actor-prometheus","name":"prometheus-scrape-token"}' \
  | tee /tmp/prom-key.json

# Extract just the secret material:
echo
jq -r '.key_value' /tmp/prom-key.json
"#;

const ROTATE: &str = r#"
# 1. Mint a new key (same actor + role)
curl -sS --cacert ./ca.crt -X POST \
  -H "Authorization: Bearer ${ADMIN_API_KEY}" \
  -H "Content-Type: application/json" \
  https://certctl.your-org.example/api/v1/auth/apikeys \
  -d '{"actor_id":"actor-prometheus","name":"prometheus-scrape-token-v2"}' \
  | tee /tmp/prom-key-new.json
"#;

const REVOKE: &str = r#"
# 4. Revoke the old key
curl -sS --cacert ./ca.crt -X DELETE \
  -H "Authorization: Bearer ${ADMIN_API_KEY}" \
  https://certctl.your-org.example/api/v1/auth/apikeys/<OLD_KEY_ID>
"#;
