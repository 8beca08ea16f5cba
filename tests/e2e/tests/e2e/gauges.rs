//! The numbers of an installation of 1 200 certificates, scraped from the real server, beside those that SQL gives by itself; and the dashboard
//! over them in a real Prometheus.

use std::collections::{BTreeMap, BTreeSet};

use certctl_testkit::{Engine, both_databases, require_program};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Api, LONG, Prometheus, Setup, World, command, free_port, in_repository, read, run, run_with_input, samples};

both_databases! {
    async fn every_gauge_of_the_installation_is_what_sql_counts(world: World) {
        let early = truth(&world).await;
        fill(&world).await;
        let key = world.key_of("scraper", json!(["r-metrics-read"])).await;
        let scraper = world.server.api().with_token(&key);
        // Those that the spread has: the last scrape may be a second old.
        let settled = certctl_testkit::wait_for("the spread in a scrape", LONG, async || {
            let text = scraper.get("/api/v1/metrics/prometheus").await.is(200).text;
            (samples(&text).get("certctl_certificates{status=\"Failed\"}") == Some(&30.0)).then_some(())
        });
        settled.await;
        let before = truth(&world).await;
        let text = scraper.get("/api/v1/metrics/prometheus").await.is(200).text;
        let after = truth(&world).await;
        let scraped = samples(&text);
        for (series, low) in &before {
            let high = after[series];
            let seen = scraped.get(series).unwrap_or_else(|| panic!("{series} is not scraped"));
            // The instants of tasks go on; everything else stands still. A scrape that has the spread is younger than all of `early`, and the
            // process that ran a task knows its end a moment later than it wrote it.
            let moves = ["certctl_task_last", "certctl_audit_"].iter().any(|name| series.starts_with(name));
            let (low, slack) = if moves { (early.get(series).unwrap_or(&0.0), 1.5) } else { (low, 0.001) };
            assert!((low - 0.001..=high + slack).contains(seen), "{series}: {seen} is scraped, SQL has {low} to {high}");
        }
        // Nothing of the installation is left out, but ages, which another second makes another number.
        let told: BTreeSet<&str> = before.keys().map(|series| series.split('{').next().unwrap()).collect();
        let left: Vec<String> = gauges_of_the_installation().into_iter().filter(|name| !told.contains(name.as_str())).collect();
        assert_eq!(left, ["certctl_job_queue_age_seconds", "certctl_job_oldest_age_seconds"]);
        let oldest = scraped["certctl_job_oldest_age_seconds{status=\"AwaitingCSR\"}"];
        assert!(oldest > 0.0 && oldest < 600.0, "{oldest}");
        let mut promtool = command(&world.home, require_program("promtool"));
        let judged = run_with_input(promtool.args(["check", "metrics"]), &text).await;
        let said: Vec<&str> = judged.stdout.lines().chain(judged.stderr.lines()).filter(|line| !line.is_empty()).collect();
        let known = |line: &str| ["certctl_agent_total ", "certctl_certificate_total "].iter().any(|name| line.starts_with(name));
        assert!(said.iter().copied().all(known) && said.len() == 2, "{said:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_understands_every_panel_of_the_dashboard_over_the_port_for_scrapers() {
    let port = free_port();
    let world = World::with(Engine::Postgres, |setup: Setup| setup.with("CERTCTL_METRICS_LISTEN", &format!("127.0.0.1:{port}"))).await;
    world.cli.run(&["certs", "request", "--name", "waits", "--san", "waits.example.test"]).await.ok();
    // Nothing else is served there, and nobody is served without a key.
    let key = world.key_of("scraper", json!(["r-metrics-read"])).await;
    let at_port = Api::new(&format!("https://127.0.0.1:{port}"), &read(&world.server.ca_file()));
    for path in ["/metrics", "/api/v1/metrics/prometheus"] {
        at_port.get(path).await.fails_with(401, "credential_missing");
        at_port.with_token(&key).get(path).await.is(200);
    }
    for path in ["/health", "/ready", "/api/v1/certificates", "/api/v1/version"] {
        at_port.with_token(&key).get(path).await.is(404);
    }
    let weak = world.key_of("weak", json!(["r-agent"])).await;
    at_port.with_token(&weak).get("/metrics").await.is(403);

    let config = json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{
            "job_name": "certctl", "scheme": "https",
            "authorization": {"credentials_file": world.home.write("prometheus/api-key", &key)},
            "tls_config": {"ca_file": world.server.ca_file()},
            "static_configs": [{"targets": [format!("127.0.0.1:{port}")]}],
        }],
    });
    let prometheus = Prometheus::start(&world.home, &config.to_string()).await;
    prometheus.target("up").await;
    prometheus.scrapes(3.0).await;
    let mut empty = BTreeSet::new();
    for (title, expression) in panels() {
        let asked = expression.replace("$job", "certctl").replace("$namespace", ".*").replace("$__rate_interval", "10s");
        assert!(!asked.contains('$'), "{title}: {asked}");
        // A query that Prometheus does not understand has no result at all.
        let series = prometheus.query(&asked).await;
        let series = series.as_array().unwrap_or_else(|| panic!("{title}: {asked}: {series}"));
        if series.is_empty() {
            empty.insert(title);
        }
    }
    // What a fresh installation has nothing of.
    let wanted = ["Clocks", "Last verified", "Newest backup", "Next end", "Silent agents"];
    assert!(empty.iter().all(|title| wanted.contains(&title.as_str())), "nothing is shown by {empty:?}");
}

/// 1 200 certificates that the server took, and their statuses and ends as they might have become.
async fn fill(world: &World) {
    let mut asked = JoinSet::new();
    for lane in 0..8 {
        let api = world.api.clone();
        asked.spawn(async move {
            for n in (lane..CERTIFICATES).step_by(8) {
                let name = format!("c-{n:04}");
                api.post("/api/v1/certificates", &json!({"name": name, "sans": [format!("{name}.example.test")]})).await.is(201);
            }
        });
    }
    while let Some(done) = asked.join_next().await {
        done.unwrap();
    }
    for n in 0..60 {
        world.api.delete(&format!("/api/v1/certificates/c-{n:04}")).await.is(204);
    }
    for name in ["one", "two", "three"] {
        world.api.post("/api/v1/agents", &json!({"name": name})).await.is(201);
    }
    let mut from = 60;
    let mut statements = Vec::new();
    for (status, many, days) in SPREAD {
        let to = from + many;
        let ends = instant(world, &format!("{days}"));
        statements.push(format!(
            "UPDATE certificates SET status = '{status}', expires_at = {ends}, next_try_at = NULL WHERE name >= 'c-{from:04}' AND name < 'c-{to:04}'"
        ));
        // As the transactions of the server do.
        statements.push(format!(
            "INSERT INTO counter_deltas (name, delta) VALUES ('certificates.status.Pending', -{many}), ('certificates.status.{status}', {many})"
        ));
        from = to;
    }
    sql(world, &statements.join("; ")).await;
}

/// So many days from now, as the database writes instants.
fn instant(world: &World, days: &str) -> String {
    match world.database {
        Some(_) => format!("now() + interval '{days} days'"),
        None => format!("(CAST(strftime('%s', 'now') AS INTEGER) + {days} * 86400) * 1000000"),
    }
}

/// Every series of the installation that SQL can tell.
async fn truth(world: &World) -> BTreeMap<String, f64> {
    let seconds = |column: &str| match world.database {
        Some(_) => format!("EXTRACT(EPOCH FROM {column})"),
        None => format!("{column} / 1000000.0"),
    };
    let member = |name: &str| match world.database {
        Some(_) => format!("EXTRACT(EPOCH FROM (value::jsonb->>'{name}')::timestamptz)"),
        None => format!("(julianday(json_extract(value, '$.{name}')) - 2440587.5) * 86400.0"),
    };
    let mut parts = Vec::new();
    let mut each = |name: &str, label: &str, values: &[&str], count: &str| {
        for value in values {
            parts.push(format!("SELECT '{name}{{{label}=\"{value}\"}}', ({})", count.replace('?', value)));
        }
    };
    let statuses = ["Pending", "Active", "Expiring", "Expired", "RenewalInProgress", "Failed", "Revoked", "Archived"];
    each("certctl_certificates", "status", &statuses, "SELECT count(*) FROM certificates WHERE status = '?'");
    let agents = "SELECT count(*) FROM agents WHERE status = '?' AND retired_at IS NULL";
    each("certctl_agents", "status", &["Online", "Offline", "Degraded"], agents);
    let jobs = ["Pending", "AwaitingCSR", "AwaitingApproval", "Running", "Completed", "Failed", "Cancelled"];
    each("certctl_jobs", "status", &jobs, "SELECT count(*) FROM jobs WHERE status = '?'");
    for (name, status) in [("active", "Active"), ("expiring_soon", "Expiring"), ("expired", "Expired"), ("revoked", "Revoked")] {
        parts.push(format!("SELECT 'certctl_certificate_{name}', (SELECT count(*) FROM certificates WHERE status = '{status}')"));
    }
    let list = "FROM crls";
    for (name, select) in [
        ("certctl_certificate_total", "SELECT count(*) FROM certificates WHERE status <> 'Archived'".to_owned()),
        ("certctl_agent_total", "SELECT count(*) FROM agents WHERE retired_at IS NULL".to_owned()),
        ("certctl_agent_online", "SELECT count(*) FROM agents WHERE retired_at IS NULL AND status <> 'Offline'".to_owned()),
        ("certctl_targets", "SELECT count(*) FROM targets".to_owned()),
        ("certctl_job_pending", "SELECT count(*) FROM jobs WHERE status = 'Pending'".to_owned()),
        ("certctl_crl_lists", format!("SELECT count(*) {list}")),
        ("certctl_crl_unpublished", format!("SELECT count(*) {list} WHERE number IS NULL")),
        ("certctl_crl_entries", format!("SELECT COALESCE(sum(revoked_count), 0) {list}")),
        ("certctl_crl_next_update_timestamp_seconds", format!("SELECT COALESCE(min({}), 0) {list}", seconds("next_update"))),
        (
            "certctl_certificate_next_expiry_timestamp_seconds",
            format!("SELECT min({}) FROM certificates WHERE status NOT IN ('Expired', 'Revoked', 'Archived')", seconds("expires_at")),
        ),
        (
            "certctl_audit_chain_broken",
            "SELECT count(*) FROM meta WHERE name = 'audit.verified' AND value NOT LIKE '%\"broken\":null%'".to_owned(),
        ),
        (
            "certctl_audit_last_verified_timestamp_seconds",
            format!("SELECT {} FROM meta WHERE name = 'audit.verified'", member("verified_at")),
        ),
        (
            "certctl_audit_whole_verified_timestamp_seconds",
            format!("SELECT {} FROM meta WHERE name = 'audit.verified'", member("whole_at")),
        ),
        ("certctl_backup_last_success_timestamp_seconds", "SELECT count(*) FROM backup_runs".to_owned()),
        ("certctl_backup_size_bytes", "SELECT count(*) FROM backup_runs".to_owned()),
        ("certctl_backup_duration_seconds", "SELECT count(*) FROM backup_runs".to_owned()),
        ("certctl_backup_last_verified_timestamp_seconds", "SELECT count(*) FROM backup_runs".to_owned()),
    ] {
        parts.push(format!("SELECT '{name}', ({select})"));
    }
    let number = "CASE WHEN enabled THEN 1 ELSE 0 END";
    parts.push(format!("SELECT 'certctl_issuer_enabled{{issuer=\"' || id || '\"}}', {number} FROM issuers"));
    let cas = "FROM authorities WHERE purpose = 'issuing' AND retired_at IS NULL";
    parts.push(format!("SELECT 'certctl_ca_expiry_timestamp_seconds{{issuer=\"' || issuer_id || '\"}}', {} {cas}", seconds("not_after")));
    let tasks = "FROM leases WHERE succeeded_at IS NOT NULL";
    let task = "certctl_task_last_success_timestamp_seconds";
    parts.push(format!("SELECT '{task}{{task=\"' || name || '\"}}', {} {tasks}", seconds("succeeded_at")));
    let mut truth = BTreeMap::new();
    // SQLite bounds how many selects one statement may join.
    for part in parts {
        for line in sql(world, &part).await.lines() {
            let (series, value) = line.rsplit_once('|').unwrap_or_else(|| panic!("{part}: {line}"));
            // Of nothing there is no first.
            if value.is_empty() {
                continue;
            }
            truth.insert(series.to_owned(), value.parse().unwrap_or_else(|_| panic!("{part}: {line}")));
        }
    }
    truth
}

/// Runs SQL by the database's own program; gives its rows, columns apart by `|`.
async fn sql(world: &World, statement: &str) -> String {
    match &world.database {
        Some(database) => {
            let mut psql = command(&world.home, require_program("psql"));
            run(psql.args(["--no-psqlrc", "-qAt", "-F", "|", "--set", "ON_ERROR_STOP=1", "-c", statement, database.url()])).await.ok()
        }
        None => {
            let mut sqlite = command(&world.home, require_program("sqlite3"));
            sqlite.args(["-bail", "-batch", "-cmd", ".timeout 10000", "-separator", "|"]);
            run(sqlite.arg(world.server.setup.data.join("certctl.db")).arg(statement)).await.ok()
        }
    }
}

/// The gauges of the installation in the reference, but those about agents that are silent or have wrong clocks, of which there are none here.
fn gauges_of_the_installation() -> Vec<String> {
    let reference = read(&in_repository("docs/reference/metrics.md"));
    let installation = reference.split("## The process").next().unwrap();
    let rows = installation.lines().filter(|line| line.contains("` | gauge |"));
    let names = rows.map(|line| line.split('`').nth(1).unwrap().to_owned());
    names.filter(|name| !name.starts_with("certctl_agent_last") && !name.starts_with("certctl_agent_clock")).collect()
}

/// The expressions of the dashboard, with the titles of their panels.
fn panels() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read(&in_repository("deploy/grafana/certctl.json"))).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let of = |panel: &Value| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |target| (title.clone(), target["expr"].as_str().unwrap().to_owned()))
    };
    let all: Vec<_> = panels.iter().flat_map(of).collect();
    assert!(all.len() > 40, "{} expressions", all.len());
    all
}

const CERTIFICATES: u32 = 1_200;

/// Status, how many, and in how many days the version in use ends. Those that are left over stay as they are.
const SPREAD: [(&str, u32, i32); 6] =
    [("Active", 500, 60), ("Expiring", 150, 20), ("Expired", 70, -3), ("RenewalInProgress", 50, 9), ("Failed", 30, 5), ("Revoked", 40, 2)];
