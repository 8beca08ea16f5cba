//! What a kubelet does with the probes of a server whose migrations take their time: it looks, counts, and kills.

use std::time::Duration;

use serde_json::Value;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

use super::pod::Pod;
use super::{EXTERNAL, Installation, PASSWORD};

/// One probe of a pod, as the kubelet keeps it.
struct Probe {
    name: &'static str,
    path: String,
    period: Duration,
    threshold: u64,
    /// Looks in a row that failed.
    failed: u64,
}

impl Probe {
    fn of(pod: &Pod, name: &'static str) -> Self {
        let period = Duration::from_secs(pod.probe_number(name, "periodSeconds"));
        Self { name, path: pod.probe_path(name), period, threshold: pod.probe_number(name, "failureThreshold"), failed: 0 }
    }

    /// Takes in what a look has found; whether the container is killed for it.
    fn kills(&mut self, well: bool) -> bool {
        self.failed = if well { 0 } else { self.failed + 1 };
        self.failed >= self.threshold
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_not_killed_while_its_migrations_wait() {
    let installation = Installation::new().await;
    // As the chart has it, with seconds in the place of minutes.
    let sets = [
        "migrations.viaHook=false",
        "server.startupProbe.periodSeconds=1",
        "server.livenessProbe.periodSeconds=1",
        "server.livenessProbe.failureThreshold=2",
    ];
    let chart = installation.external("small").await;
    let pod = chart.pod("Deployment");
    let deadline = pod.probe_number("startupProbe", "periodSeconds") * pod.probe_number("startupProbe", "failureThreshold");
    let shown = pod.ask(&installation.home, &installation.secrets, &["config", "show", "--output", "json"]).await.json();
    let patience =
        shown.as_array().unwrap().iter().find(|setting| setting["key"] == "database.start_timeout").map(|setting| &setting["value"]);
    // What is in the way may stay for as long as this, and one statement may then take as long.
    assert_eq!(patience, Some(&Value::from("5m")), "{shown}");
    assert!(deadline >= 2 * 300, "the kubelet kills after {deadline} s");
    let job = chart.object("Job")["spec"]["activeDeadlineSeconds"].as_u64().unwrap();
    assert!(job >= 2 * 300, "the Job ends after {job} s");

    let all: Vec<&str> = EXTERNAL.into_iter().chain(sets).collect();
    let chart = installation.chart("small", &all).await;
    let pod = chart.pod("Deployment");
    let database = PgConnectOptions::new().host("127.0.0.1").port(installation.database).username("certctl").password(PASSWORD);
    let mut somebody = database.database("postgres").connect().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(1667592820, 1835624306)").execute(&mut somebody).await.unwrap();
    let mut server = installation.start(&pod);

    let (mut startup, mut liveness) = (Probe::of(&pod, "startupProbe"), Probe::of(&pod, "livenessProbe"));
    let (mut alone, mut looks, mut well_since) = (Probe::of(&pod, "livenessProbe"), 0, 0);
    let mut without_startup = false;
    let mut period = tokio::time::interval(startup.period);
    while well_since < 3 {
        period.tick().await;
        server.must_run();
        let probe = if well_since == 0 { &mut startup } else { &mut liveness };
        let reply = installation.api().try_send("GET", &probe.path, &[], None).await;
        let well = reply.is_ok_and(|reply| (200..400).contains(&reply.status));
        assert!(!probe.kills(well), "killed by its {} after {} looks:\n{}", probe.name, probe.failed, server.log());
        without_startup |= alone.kills(well);
        looks += 1;
        well_since += u64::from(well);
        if looks == 5 {
            assert_eq!(well_since, 0, "it serves on a schema that is not there");
            sqlx::query("SELECT pg_advisory_unlock(1667592820, 1835624306)").execute(&mut somebody).await.unwrap();
        }
        assert!(looks < 100, "{}", server.log());
    }
    assert!(without_startup, "the probe of living servers would have killed it meanwhile");
    assert_eq!(server.log().matches("holds the migration lock").count(), 1, "{}", server.log());
}
