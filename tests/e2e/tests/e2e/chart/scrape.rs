//! A real Prometheus, set up as its Operator would from the rendered `ServiceMonitor` and `PrometheusRule`.

use std::path::PathBuf;

use certctl_testkit::{require_program, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::Installation;
use super::pod::Chart;
use crate::harness::{LONG, Process, command, free_port, run, write};

#[tokio::test]
async fn prometheus_scrapes_as_the_monitor_says_through_a_rotation_of_its_key() {
    let installation = Installation::new().await;
    let chart = installation.external("ha").await;
    assert!(installation.start(&chart.pod("Job")).ended(LONG).await.success());
    let pod = chart.pod("Deployment");
    let mut server = installation.start(&pod);
    installation.ready(&mut server).await;
    let cli = installation.administrator(&pod).await;
    cli.run(&["actors", "create", "--id", "actor-prometheus", "--name", "Prometheus scrape", "--role", "r-metrics-read"]).await.ok();
    let key = async |words: &[&str]| {
        let made = cli.json(words).await;
        let value = made["key_value"].as_str().unwrap().to_owned();
        installation.home.plant_key(&value);
        (made["id"].as_str().unwrap().to_owned(), value)
    };
    let (first_id, first) = key(&["keys", "create", "--actor", "actor-prometheus", "--name", "scrape", "--expires-in", "90d"]).await;

    let prometheus = Prometheus::start(&installation, &chart, &first).await;
    prometheus.target("up").await;
    // The other numbers are no business of a key that reads metrics.
    installation.api().with_token(&first).get("/api/v1/certificates").await.fails_with(403, "forbidden");
    assert_eq!(prometheus.query("certctl_agent_total").await["data"]["result"][0]["value"][1], "0");
    let rules = prometheus.get("/api/v1/rules").await;
    let groups = rules["data"]["groups"].as_array().unwrap();
    let alerts: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!(alerts.len() > 10 && alerts.iter().all(|alert| alert["health"] != "err"), "{alerts:#?}");

    // The new key works before the old one ends, and no scrape fails in between.
    let (second_id, second) = key(&["keys", "rotate", &first_id, "--overlap", "1h"]).await;
    prometheus.give(&second);
    prometheus.scrapes(3).await;
    cli.run(&["keys", "delete", &first_id, "--yes"]).await.ok();
    prometheus.scrapes(3).await;
    // By what the server answered: a scrape that is late on a busy machine is none that was refused.
    let refused = "certctl_http_request_duration_seconds_count{route=\"/api/v1/metrics/prometheus\",status=\"4xx\"}";
    assert_eq!(prometheus.query(refused).await["data"]["result"], json!([]));
    installation.api().with_token(&first).get("/api/v1/metrics/prometheus").await.is(401);

    // A key that is gone is seen at once: this is what CertctlTargetDown wakes somebody up for.
    cli.run(&["keys", "delete", &second_id, "--yes"]).await.ok();
    let target = prometheus.target("down").await;
    assert!(target["lastError"].as_str().unwrap().contains("401"), "{target}");
}

/// A running Prometheus with one target.
struct Prometheus<'a> {
    installation: &'a Installation,
    port: u16,
    key: PathBuf,
    _process: Process,
}

impl<'a> Prometheus<'a> {
    /// Does what the Operator does with the two objects, and starts it.
    async fn start(installation: &'a Installation, chart: &Chart, key: &str) -> Self {
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
        let config = home.write("prometheus/prometheus.json", config.to_string());
        let port = free_port();
        let words = [
            require_program("prometheus").to_str().unwrap().to_owned(),
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", home.join("prometheus/data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let process = Process::start(home, "prometheus", &words, Signal::SIGKILL, |_| {});
        Self { installation, port, key, _process: process }
    }

    /// Puts another key in place, as the kubelet does with a changed Secret.
    fn give(&self, key: &str) {
        let beside = write(&self.key.with_extension("new"), key);
        std::fs::rename(beside, &self.key).unwrap();
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let ran = run(command(&self.installation.home, require_program("curl")).args(["--silent", "--globoff", &url])).await;
        serde_json::from_str(&ran.stdout).unwrap_or_default()
    }

    async fn query(&self, expression: &str) -> Value {
        let query = format!("query={expression}");
        let url = format!("http://127.0.0.1:{}/api/v1/query", self.port);
        let words = ["--silent", "--get", "--data-urlencode", &query, &url];
        let ran = run(command(&self.installation.home, require_program("curl")).args(words)).await;
        serde_json::from_str(&ran.stdout).unwrap_or_default()
    }

    /// Waits until its one target is that healthy; gives it.
    async fn target(&self, health: &str) -> Value {
        let mut target = Value::Null;
        wait_until("a target of Prometheus", LONG, async || {
            target = self.get("/api/v1/targets").await["data"]["activeTargets"][0].clone();
            target["health"] == health
        })
        .await;
        target
    }

    /// Waits for so many further scrapes, good or bad.
    async fn scrapes(&self, more: u64) {
        let count = async || {
            let answer = self.query("count_over_time(up[1h])").await;
            answer["data"]["result"][0]["value"][1].as_str().and_then(|count| count.parse::<u64>().ok()).unwrap_or_default()
        };
        let before = count().await;
        wait_until("scrapes", LONG, async || count().await >= before + more).await;
    }
}
