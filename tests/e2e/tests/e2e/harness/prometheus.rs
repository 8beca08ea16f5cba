//! A real Prometheus with a configuration of its own.

use std::sync::Arc;
use std::time::Duration;

use certctl_testkit::{require_program, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Home, LONG, Process, free_port, write};

/// A running Prometheus.
pub(crate) struct Prometheus {
    base: String,
    client: reqwest::Client,
    _process: Process,
}

impl Prometheus {
    /// Starts it in the folder of the test, with this configuration.
    pub(crate) async fn start(home: &Arc<Home>, config: &str) -> Self {
        let (port, program) = (free_port(), require_program("prometheus"));
        let config = write(&home.join("prometheus.yml"), config);
        let flags = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", home.join("prometheus").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let words: Vec<&str> = std::iter::once(program.to_str().unwrap()).chain(flags.iter().map(String::as_str)).collect();
        let mut process = Process::start(home, "prometheus", &words, Signal::SIGTERM, |_| {});
        let base = format!("http://127.0.0.1:{port}");
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        wait_until("Prometheus to be ready", LONG, async || {
            process.must_run();
            client.get(format!("{base}/-/ready")).send().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        Self { base, client, _process: process }
    }

    /// The value of the only series of a query; `None` when there is none.
    pub(crate) async fn value(&self, query: &str) -> Option<f64> {
        let asked = self.client.post(format!("{}/api/v1/query", self.base)).header("content-type", "application/x-www-form-urlencoded");
        let answer = asked.body(format!("query={query}")).send().await.unwrap();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let series = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{query}: {answer}"));
        assert!(series.len() < 2, "{query}: {answer}");
        series.first().map(|one| one["value"][1].as_str().unwrap().parse().unwrap())
    }
}
