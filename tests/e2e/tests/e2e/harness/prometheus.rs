//! A real Prometheus with a configuration of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use certctl_testkit::{require_program, wait_until};
use nix::sys::signal::Signal;
use reqwest::RequestBuilder;
use serde_json::Value;

use super::{Home, LONG, Process, free_port, write};

/// A running Prometheus.
pub(crate) struct Prometheus {
    base: String,
    client: reqwest::Client,
    _process: Process,
}

impl Prometheus {
    /// Starts it in the folder of the test, with this configuration, in YAML or JSON.
    pub(crate) async fn start(home: &Arc<Home>, config: &str) -> Self {
        let (port, program) = (free_port(), require_program("prometheus"));
        let config = write(&home.join("prometheus.yml"), config);
        let flags = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", home.join("prometheus-data").display()),
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

    /// What its API answers.
    pub(crate) async fn get(&self, path: &str) -> Value {
        answer(self.client.get(format!("{}{path}", self.base))).await
    }

    /// The series of a query.
    pub(crate) async fn query(&self, expression: &str) -> Value {
        let asked = self.client.post(format!("{}/api/v1/query", self.base)).header("content-type", "application/x-www-form-urlencoded");
        answer(asked.body(format!("query={expression}"))).await["data"]["result"].take()
    }

    /// The value of the only series of a query; `None` when there is none.
    pub(crate) async fn value(&self, expression: &str) -> Option<f64> {
        let series = self.query(expression).await;
        let series = series.as_array().unwrap_or_else(|| panic!("{expression}: {series}"));
        assert!(series.len() < 2, "{expression}: {series:?}");
        series.first().map(|one| one["value"][1].as_str().unwrap().parse().unwrap())
    }

    /// Waits until its one target is that healthy and queries see the scrape that says so; gives it. Prometheus shows the health of a target before it
    /// has stored what the scrape brought.
    pub(crate) async fn target(&self, health: &str) -> Value {
        let up = if health == "up" { 1.0 } else { 0.0 };
        let mut target = Value::Null;
        wait_until("a target of Prometheus", LONG, async || {
            target = self.get("/api/v1/targets").await["data"]["activeTargets"][0].clone();
            target["health"] == health && self.value("up").await == Some(up)
        })
        .await;
        target
    }

    /// Waits for so many further scrapes and for one that is good, then sees that the server has refused none. A scrape that is late, as on a busy machine,
    /// is none that was refused.
    pub(crate) async fn loses_nothing(&self, more: f64) {
        self.scrapes(more).await;
        self.target("up").await;
        assert_eq!(self.refused().await, None);
    }

    /// How many scrapes the server has refused, by what it said at the last good one.
    pub(crate) async fn refused(&self) -> Option<f64> {
        self.value("certctl_http_request_duration_seconds_count{route=\"/api/v1/metrics/prometheus\",status=\"4xx\"}").await
    }

    /// Waits for so many further scrapes, good or bad.
    pub(crate) async fn scrapes(&self, more: f64) {
        let count = async || self.value("count_over_time(up[1h])").await.unwrap_or_default();
        let before = count().await;
        wait_until("scrapes", LONG, async || count().await >= before + more).await;
    }
}

async fn answer(asked: RequestBuilder) -> Value {
    serde_json::from_str(&asked.send().await.unwrap().text().await.unwrap()).unwrap()
}

/// The samples of a scrape by name with labels. Each must be a number, below a TYPE of its family.
pub(crate) fn samples(text: &str) -> BTreeMap<String, f64> {
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
