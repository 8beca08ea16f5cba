//! A real Prometheus, set up as its Operator would from the rendered `ServiceMonitor` and `PrometheusRule`.

use std::path::{Path, PathBuf};

use certctl_testkit::require_program;
use serde_json::{Value, json};

use super::Installation;
use super::pod::Chart;
use crate::harness::{LONG, Prometheus, block_with, command, mode_of, product, read, run, write};

#[tokio::test]
async fn the_runbook_makes_and_rotates_the_key_with_which_prometheus_scrapes_as_the_monitor_says() {
    let installation = Installation::new().await;
    let chart = installation.external("ha").await;
    assert!(installation.start(&chart.pod("Job")).ended(LONG).await.success());
    let pod = chart.pod("Deployment");
    let mut server = installation.start(&pod);
    installation.ready(&mut server).await;
    let runbook = Runbook { administrator: installation.administrator_variables(&pod).await, installation: &installation };

    runbook.follow("certctl keys create").await;
    let first = runbook.key();
    let (prometheus, key_file) = prometheus(&installation, &chart, &first).await;
    prometheus.target("up").await;
    // The other numbers are no business of a key that reads metrics.
    installation.api().with_token(&first).get("/api/v1/certificates").await.fails_with(403, "forbidden");
    assert_eq!(prometheus.value("certctl_agent_total").await, Some(0.0));
    let rules = prometheus.get("/api/v1/rules").await;
    let groups = rules["data"]["groups"].as_array().unwrap();
    let alerts: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!(alerts.len() > 10 && alerts.iter().all(|alert| alert["health"] != "err"), "{alerts:#?}");

    // The new key works before the old one ends, and no scrape fails in between.
    runbook.follow("certctl keys rotate").await;
    let second = runbook.key();
    give(&key_file, &second);
    prometheus.loses_nothing(3.0).await;
    runbook.follow("certctl keys delete").await;
    prometheus.loses_nothing(3.0).await;
    installation.api().with_token(&first).get("/api/v1/metrics/prometheus").await.is(401);

    // A key that is gone is seen at once: this is what CertctlTargetDown wakes somebody up for.
    runbook.run("certctl keys delete \"$(cat api-key.id)\" --yes").await;
    let target = prometheus.target("down").await;
    assert!(target["lastError"].as_str().unwrap().contains("401"), "{target}");
}

/// The page that an operator follows, and who that is.
struct Runbook<'a> {
    installation: &'a Installation,
    administrator: Vec<(String, String)>,
}

impl Runbook<'_> {
    /// Runs the block of the page that has these words, as it stands there.
    async fn follow(&self, words: &str) {
        self.run(&block_with("docs/operator/runbooks/prometheus-bearer-token.md", "sh", words)).await;
    }

    async fn run(&self, lines: &str) {
        require_program("jq");
        let programs = product("certctl").parent().unwrap().to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&path))).unwrap();
        let mut bash = command(&self.installation.home, require_program("bash"));
        run(bash.args(["-euo", "pipefail", "-c", lines]).env("PATH", path).envs(self.administrator.iter().cloned())).await.ok();
    }

    /// The key that the last block left in its file; nobody else could read it there.
    fn key(&self) -> String {
        let file = self.installation.home.join("api-key");
        assert_eq!(mode_of(&file), 0o600);
        let key = read(&file);
        assert_eq!(key, key.trim(), "a line end would become part of a header");
        self.installation.home.plant_key(&key);
        key
    }
}

/// Does what the Operator does with the two objects, and starts a Prometheus; gives it and the file of its key.
async fn prometheus(installation: &Installation, chart: &Chart, key: &str) -> (Prometheus, PathBuf) {
    let home = &installation.home;
    let monitor = chart.object("ServiceMonitor");
    let endpoint = &monitor["spec"]["endpoints"][0];
    let ca = &endpoint["tlsConfig"]["ca"]["secret"];
    let ca = installation.secrets.entry(ca["name"].as_str().unwrap(), ca["key"].as_str().unwrap());
    assert_eq!(endpoint["authorization"]["credentials"], json!({"name": "certctl-prometheus-key", "key": "api-key"}));
    let rules = home.write("prometheus/rules.json", chart.object("PrometheusRule")["spec"].to_string());
    let key = home.write("prometheus/api-key", key);
    let config = json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [rules],
        "scrape_configs": [{
            "job_name": "rel-certctl-server",
            "scheme": endpoint["scheme"],
            "metrics_path": endpoint["path"],
            "authorization": {"type": endpoint["authorization"]["type"], "credentials_file": key},
            "tls_config": {"ca_file": home.write("prometheus/ca.pem", ca), "server_name": endpoint["tlsConfig"]["serverName"]},
            "static_configs": [{"targets": [format!("localhost:{}", installation.port)], "labels": {"namespace": "tools"}}],
        }],
    });
    (Prometheus::start(home, &config.to_string()).await, key)
}

/// Puts another key in place, as the kubelet does with a changed Secret.
fn give(file: &Path, key: &str) {
    let beside = write(&file.with_extension("new"), key);
    std::fs::rename(beside, file).unwrap();
}
