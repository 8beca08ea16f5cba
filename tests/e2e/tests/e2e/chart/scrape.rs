//! A real Prometheus, set up as its Operator would from the rendered `ServiceMonitor` and `PrometheusRule`.

use std::path::{Path, PathBuf};

use certctl_testkit::{require_program, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::Installation;
use super::pod::Chart;
use crate::harness::{LONG, Process, command, free_port, mode_of, product, read, run, write};

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
    runbook.follow("certctl keys rotate").await;
    let second = runbook.key();
    prometheus.give(&second);
    prometheus.scrapes(3).await;
    runbook.follow("certctl keys delete").await;
    prometheus.scrapes(3).await;
    // By what the server answered: a scrape that is late on a busy machine is none that was refused.
    let refused = "certctl_http_request_duration_seconds_count{route=\"/api/v1/metrics/prometheus\",status=\"4xx\"}";
    assert_eq!(prometheus.query(refused).await["data"]["result"], json!([]));
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
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operator/runbooks/prometheus-bearer-token.md");
        let page = read(&page);
        let mut blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
        self.run(blocks.find(|block| block.contains(words)).unwrap_or_else(|| panic!("no block of the runbook has `{words}`"))).await;
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
