//! What a scraper is given: well formed, what the table says and nothing else, the same on every replica where it says so, and true.

pub(crate) mod openmetrics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use certctl_engine::scheduler::{self, TASKS};
use certctl_engine::{Ctx, renewal};
use certctl_server::api::RequestSeen;
use certctl_server::metrics::{Metric, RequestMetrics};
use certctl_server::rate_limit::{RateLimiter, Rates};
use certctl_server::state::Requests as _;
use certctl_store::Who;
use certctl_store::db::sql;
use certctl_testkit::{Engine, both_databases};
use serde_json::json;
use tower::ServiceExt as _;

use self::openmetrics::{Family, Sample, parse};
use crate::support::{Caller, Given, Reply, TestServer};

both_databases! {
    async fn the_scrape_is_what_the_table_says_and_the_table_is_what_the_scrape_gives(server: TestServer) {
        server.seed().await;
        server.issue("web").await;
        crate::pki::published(&server).await;
        agent(&server, "silent").await.speaks(0).await;
        server.clock.advance(time::Duration::hours(1));
        run_task(&server, "agent_health").await;
        agent(&server, "hasty").await.speaks(31_000).await;
        let families = scrape(&server.admin()).await;
        let scraped: BTreeSet<String> = families.iter().map(sample_name).collect();
        let table: BTreeSet<String> = Metric::ALL.iter().map(|metric| metric.name().to_owned()).collect();
        assert_eq!(scraped, table);
        for (metric, family) in Metric::ALL.iter().zip(&families) {
            assert_eq!((sample_name(family).as_str(), family.kind.as_str()), (metric.name(), metric.kind().as_str()));
            assert_eq!((family.help.as_str(), family.unit.as_deref()), (metric.help(), metric.unit().map(|unit| unit.as_str())));
            assert!(!family.samples.is_empty(), "{} has no sample", metric.name());
            let labels: BTreeSet<&str> = metric.labels().iter().copied().collect();
            for sample in &family.samples {
                let used: BTreeSet<&str> = sample.labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
                assert_eq!(used, labels, "{sample:?}");
            }
        }
    }

    async fn gauges_are_the_fleet_as_it_is(server: TestServer) {
        server.seed().await;
        let web = server.issue("web").await;
        server.issue("mail").await;
        server.admin().post("/api/v1/certificates", &json!({"name": "late", "sans": ["late.example.test"]})).await.is(201);
        server.admin().post(&format!("/api/v1/certificates/{web}/revoke"), &json!({"reason": "keyCompromise"})).await.is(200);
        let now = scrape(&server.admin()).await;
        for (name, labels, value) in [
            ("certctl_certificate_total", &[][..], 3.0),
            ("certctl_certificate_active", &[], 1.0),
            ("certctl_certificate_revoked", &[], 1.0),
            ("certctl_certificate_expired", &[], 0.0),
            ("certctl_certificates", &[("status", "Pending")], 1.0),
            ("certctl_certificates", &[("status", "Archived")], 0.0),
            ("certctl_certificate_versions_issued_total", &[], 2.0),
            ("certctl_certificate_versions_revoked_total", &[], 1.0),
            ("certctl_job_completed_total", &[], 2.0),
            ("certctl_job_failed_total", &[], 0.0),
            ("certctl_jobs_ended_total", &[("type", "Issuance"), ("status", "Completed")], 2.0),
            ("certctl_jobs", &[("status", "AwaitingCSR")], 1.0),
            ("certctl_issuance_total", &[("issuer_type", "GenericCA"), ("outcome", "success")], 2.0),
            ("certctl_issuance_failures_total", &[("issuer_type", "GenericCA"), ("error_class", "transient")], 0.0),
            ("certctl_issuance_duration_seconds_count", &[("issuer_type", "GenericCA")], 2.0),
            ("certctl_job_queue_age_seconds", &[], 0.0),
            ("certctl_agent_total", &[], 0.0),
            ("certctl_targets", &[], 0.0),
        ] {
            assert_eq!(value_of(&now, name, labels), value, "{name} {labels:?}");
        }
    }

    async fn agents_that_fall_silent_are_not_online(server: TestServer) {
        for name in ["one", "two"] {
            let minted = server.admin().post("/api/v1/agents/enrollment-tokens", &json!({"agent_name": name})).await.is(201).json();
            let body = json!({"token": minted["token_value"], "secret_sha256": "a".repeat(64)});
            server.nobody().post("/api/v1/agents/enroll", &body).await.is(201);
        }
        let online = async || {
            let families = scrape(&server.admin()).await;
            (value_of(&families, "certctl_agent_total", &[]), value_of(&families, "certctl_agent_online", &[]))
        };
        assert_eq!(online().await, (2.0, 2.0));
        server.clock.advance(time::Duration::hours(1));
        run_task(&server, "agent_health").await;
        assert_eq!(online().await, (2.0, 0.0));
    }

    async fn agents_that_need_a_look_are_named(server: TestServer) {
        let (one, two) = (agent(&server, "one").await, agent(&server, "two").await);
        one.speaks(0).await;
        let heard = server.engine.now().unix_seconds() as f64;
        two.speaks(-45_500).await;
        let named = async |metric| {
            let families = scrape(&server.admin()).await;
            let samples = families.into_iter().flat_map(|family| family.samples).filter(|sample| sample.name == metric);
            samples.map(|sample| (sample.labels["agent"].clone(), sample.value)).collect::<Vec<_>>()
        };
        assert_eq!(named("certctl_agent_clock_skew_seconds").await, [("two".to_owned(), -45.5)]);
        assert_eq!(named("certctl_agent_last_heartbeat_timestamp_seconds").await, []);
        server.clock.advance(time::Duration::hours(1));
        // One that is registered ahead and has never spoken is not silent.
        server.admin().post("/api/v1/agents", &json!({"name": "to-come"})).await.is(201);
        two.speaks(0).await;
        run_task(&server, "agent_health").await;
        assert_eq!(named("certctl_agent_clock_skew_seconds").await, []);
        assert_eq!(named("certctl_agent_last_heartbeat_timestamp_seconds").await, [("one".to_owned(), heard)]);
        server.admin().delete(&format!("/api/v1/agents/{}", one.id)).await.is(200);
        assert_eq!(named("certctl_agent_last_heartbeat_timestamp_seconds").await, []);
    }

    async fn what_is_oldest_and_what_ends_first_are_told(server: TestServer) {
        server.seed().await;
        assert_eq!(value_of(&scrape(&server.admin()).await, "certctl_certificate_next_expiry_timestamp_seconds", &[]), 0.0);
        let first = server.issue("first").await;
        let ends = async |id: &str| -> f64 {
            let text = server.admin().get(&format!("/api/v1/certificates/{id}")).await.is(200).json()["expires_at"].as_str().unwrap().to_owned();
            text.parse::<certctl_domain::time::Timestamp>().unwrap().unix_micros() as f64 / 1e6
        };
        server.clock.advance(time::Duration::hours(2));
        let second = server.issue("second").await;
        let next = async || value_of(&scrape(&server.admin()).await, "certctl_certificate_next_expiry_timestamp_seconds", &[]);
        assert_eq!(next().await, ends(&first).await);
        server.admin().post(&format!("/api/v1/certificates/{first}/revoke"), &json!({"reason": "superseded"})).await.is(200);
        assert_eq!(next().await, ends(&second).await, "nobody waits for a revoked one");
        server.admin().post("/api/v1/certificates", &json!({"name": "waits", "sans": ["waits.example.test"]})).await.is(201);
        server.clock.advance(time::Duration::hours(30));
        let families = scrape(&server.admin()).await;
        let oldest = |status| value_of(&families, "certctl_job_oldest_age_seconds", &[("status", status)]);
        assert_eq!((oldest("AwaitingCSR"), oldest("Running"), oldest("Pending")), (108_000.0, 0.0, 0.0));
        server.clock.advance(time::Duration::days(400));
        assert_eq!(next().await, 0.0, "what has ended is no longer waited for");
    }

    async fn issuers_are_told_apart(server: TestServer) {
        server.seed().await;
        server.issue("web").await;
        let families = scrape(&server.admin()).await;
        let issuer = families.iter().flat_map(|family| &family.samples).find(|sample| sample.name == "certctl_issuer_enabled").unwrap();
        assert_eq!(issuer.value, 1.0);
        let id = issuer.labels["issuer"].clone();
        for (outcome, n) in [("success", 1.0), ("failure", 0.0), ("pending", 0.0)] {
            assert_eq!(value_of(&families, "certctl_issuer_answers_total", &[("issuer", &id), ("outcome", outcome)]), n, "{outcome}");
        }
        server.admin().patch(&format!("/api/v1/issuers/{id}"), &json!({"enabled": false})).await.is(200);
        assert_eq!(value_of(&scrape(&server.admin()).await, "certctl_issuer_enabled", &[("issuer", &id)]), 0.0);
    }

    async fn a_chain_of_audit_events_that_does_not_hold_is_told(server: TestServer) {
        let look = async || {
            let families = scrape(&server.admin()).await;
            let names = ["certctl_audit_chain_broken", "certctl_audit_last_verified_timestamp_seconds", "certctl_audit_whole_verified_timestamp_seconds"];
            names.map(|name| value_of(&families, name, &[]))
        };
        let now = || server.engine.now().unix_seconds() as f64;
        assert_eq!(look().await, [0.0; 3]);
        run_task(&server, "audit_sealer").await;
        let begun = now();
        assert!(run_task(&server, "audit_verifier").await > 1);
        assert_eq!(look().await, [0.0, begun, begun]);
        run_task(&server, "audit_checkpoint").await;
        server.clock.advance(time::Duration::minutes(5));
        server.admin().post("/api/v1/teams", &json!({"name": "ops"})).await.is(201);
        run_task(&server, "audit_sealer").await;
        assert_eq!(run_task(&server, "audit_verifier").await, 1, "what is new, and nothing before");
        assert_eq!(look().await, [0.0, now(), begun]);
        // What lies far behind is found when all of it is verified, a day after the last time.
        tamper(&server).await;
        server.clock.advance(time::Duration::hours(23));
        run_task(&server, "audit_verifier").await;
        assert_eq!(look().await, [0.0, now(), begun]);
        server.clock.advance(time::Duration::hours(1));
        run_task(&server, "audit_verifier").await;
        let found = now();
        assert_eq!(look().await, [1.0, found, found]);
        // It stays so, and is looked at again after a while.
        server.clock.advance(time::Duration::minutes(59));
        assert_eq!(run_task(&server, "audit_verifier").await, 0);
        assert_eq!(look().await, [1.0, found, found]);
        server.clock.advance(time::Duration::minutes(1));
        run_task(&server, "audit_verifier").await;
        assert_eq!(look().await, [1.0, now(), now()]);
    }

    async fn scrapes_share_what_they_read(server: TestServer) {
        let state = server.replica_with(Given { age: Duration::from_secs(3_600), ..Given::default() }).await;
        let scraper = server.admin().at(certctl_server::routes::router(state));
        assert_eq!(value_of(&scrape(&scraper).await, "certctl_targets", &[]), 0.0);
        server.clock.advance(time::Duration::seconds(2));
        server.admin().post("/api/v1/agents", &json!({"name": "one"})).await.is(201);
        let again = scrape(&scraper).await;
        assert_eq!(value_of(&again, "certctl_agent_total", &[]), 0.0, "as old as it may be");
        assert_eq!(value_of(&again, "certctl_uptime_seconds", &[]), 2.0, "what the process knows is not shared");
        assert_eq!(value_of(&scrape(&server.admin()).await, "certctl_agent_total", &[]), 1.0);
        // Who may not read metrics is not given what others read.
        let weak = server.holder_of("weak", json!(["cert.read"])).await.at(server.replica().await);
        weak.get("/api/v1/metrics/prometheus").await.is(403);
    }

    async fn counters_never_fall(server: TestServer) {
        server.seed().await;
        let web = server.issue("web").await;
        let before = counters(&scrape(&server.admin()).await);
        server.renew(&web, "web").await;
        run_task(&server, "counter_folder").await;
        // Jobs that ended are pruned: there are fewer of them, but they did end.
        server.clock.advance(time::Duration::days(200));
        let pruned = run_task(&server, "retention").await;
        assert!(pruned > 0);
        server.admin().delete(&format!("/api/v1/certificates/{web}")).await.is(204);
        let after = counters(&scrape(&server.admin()).await);
        for (series, value) in &before {
            let now = after.get(series).unwrap_or_else(|| panic!("{series:?} is gone"));
            assert!(now >= value, "{series:?} fell from {value} to {now}");
        }
        let completed = ("certctl_job_completed_total".to_owned(), BTreeMap::new());
        assert_eq!((before[&completed], after[&completed]), (1.0, 2.0));
    }

    async fn every_replica_knows_when_a_task_last_succeeded(server: TestServer) {
        let other = server.replica_state().await;
        server.clock.advance(time::Duration::hours(1));
        run_task(&server, renewal::TASK).await;
        let at = server.engine.now().unix_micros() as f64 / 1e6;
        for (state, held) in [(&server.state, 1.0), (&other, 0.0)] {
            let admin = server.admin().at(certctl_server::routes::router(state.clone()));
            let families = scrape(&admin).await;
            let task = &[("task", renewal::TASK)];
            assert_eq!(value_of(&families, "certctl_task_last_success_timestamp_seconds", task), at);
            assert_eq!(value_of(&families, "certctl_task_lease_held", task), held);
            assert_eq!(value_of(&families, "certctl_task_last_success_timestamp_seconds", &[("task", "retention")]), 0.0);
        }
        server.clock.advance(time::Duration::days(1));
        assert_eq!(value_of(&scrape(&server.admin()).await, "certctl_task_lease_held", &[("task", renewal::TASK)]), 0.0, "the lease ended");
    }

    async fn the_queue_is_as_old_as_its_oldest_job(server: TestServer) {
        server.seed().await;
        let web = server.issue("web").await;
        server.queue_renewal(&web, "web").await;
        server.clock.advance(time::Duration::minutes(7));
        assert_eq!(value_of(&scrape(&server.admin()).await, "certctl_job_queue_age_seconds", &[]), 420.0);
        server.work().await;
        assert_eq!(value_of(&scrape(&server.admin()).await, "certctl_job_queue_age_seconds", &[]), 0.0);
    }
}

#[tokio::test]
async fn requests_are_counted_by_what_they_asked_for() {
    let server = TestServer::open(Engine::Sqlite).await;
    server.nobody().get("/api/v1/owners/o-1").await.is(401);
    server.admin().get("/api/v1/owners/o-1").await.is(404);
    server.admin().get("/api/v1/owners/o-2").await.is(404);
    server.admin().get("/made/up").await.is(404);
    for took in [3, 30, 90_000] {
        server.state.requests.seen(&RequestSeen { method: "PUT", route: "/x", status: 204, took: Duration::from_millis(took) });
    }
    let families = scrape(&server.admin()).await;
    let name = "certctl_http_request_duration_seconds";
    let count = format!("{name}_count");
    let owners = &[("method", "GET"), ("route", "/api/v1/owners/{id}"), ("status", "4xx")];
    assert_eq!(value_of(&families, &count, owners), 3.0);
    assert_eq!(value_of(&families, &count, &[("method", "GET"), ("route", "unmatched"), ("status", "4xx")]), 1.0);
    for (le, n) in [("0.0025", 0.0), ("0.005", 1.0), ("0.025", 1.0), ("0.05", 2.0), ("60.0", 2.0), ("+Inf", 3.0)] {
        let labels = &[("method", "PUT"), ("route", "/x"), ("status", "2xx"), ("le", le)];
        assert_eq!(value_of(&families, &format!("{name}_bucket"), labels), n, "{le}");
    }
    let sum = value_of(&families, &format!("{name}_sum"), &[("method", "PUT"), ("route", "/x"), ("status", "2xx")]);
    assert!((sum - 90.033).abs() < 1e-6, "{sum}");
}

#[tokio::test]
async fn requests_in_flight_are_those_that_are_being_answered() {
    let server = TestServer::open(Engine::Sqlite).await;
    // The scrape itself is one, and no other is left.
    server.admin().get("/api/v1/owners").await.is(200);
    assert_eq!(value_of(&scrape(&server.admin()).await, "certctl_http_requests_in_flight", &[]), 1.0);

    let waiting = Router::new().route("/", get(std::future::pending::<()>));
    let router = Arc::clone(&server.state.metrics.requests).around(waiting);
    let mut request = Box::pin(router.oneshot(Request::new(Body::empty())));
    assert!(futures_util::poll!(&mut request).is_pending());
    assert_eq!(value_of(&scrape(&server.admin()).await, "certctl_http_requests_in_flight", &[]), 2.0);
    // The caller goes away.
    drop(request);
    assert_eq!(value_of(&scrape(&server.admin()).await, "certctl_http_requests_in_flight", &[]), 1.0);
}

#[tokio::test]
async fn requests_that_are_refused_are_counted() {
    let server = TestServer::open(Engine::Sqlite).await;
    let rates = RateLimiter::new(Rates { requests_per_second: Some(1), burst: 2, failed_logins_per_minute: None });
    let state = server.replica_with(Given { rates, ..Given::default() }).await;
    let admin = server.admin().at(certctl_server::routes::router(state));
    let refused = async || value_of(&scrape(&admin).await, "certctl_http_requests_refused_total", &[("reason", "rate_limited")]);
    assert_eq!(refused().await, 0.0);
    admin.get("/api/v1/teams").await.is(200);
    for _ in 0..3 {
        admin.get("/api/v1/teams").await.is(429);
    }
    server.clock.advance(time::Duration::minutes(1));
    assert_eq!(refused().await, 3.0);
}

#[tokio::test]
async fn the_database_says_how_much_it_may_and_how_long_was_waited() {
    let server = TestServer::open(Engine::Postgres).await;
    let before = scrape(&server.admin()).await;
    server.admin().post("/api/v1/teams", &json!({"name": "ops"})).await.is(201);
    let after = scrape(&server.admin()).await;
    let begun = "certctl_database_transactions_total";
    assert!(value_of(&after, begun, &[]) > value_of(&before, begun, &[]));
    assert!(value_of(&after, "certctl_database_wait_seconds_total", &[]) > value_of(&before, "certctl_database_wait_seconds_total", &[]));
    assert_eq!(value_of(&after, "certctl_database_connections_limit", &[]), f64::from(server.store.db().pool_limit()));
    assert!(server.store.db().pool_limit() >= 2);
}

#[tokio::test]
async fn certificate_files_that_cannot_be_used_are_told() {
    let server = TestServer::open(Engine::Sqlite).await;
    let look = async || {
        let families = scrape(&server.admin()).await;
        let failed = value_of(&families, "certctl_tls_reloads_total", &[("outcome", "failed")]);
        (value_of(&families, "certctl_tls_reload_failing", &[]), failed)
    };
    assert_eq!(look().await, (0.0, 0.0));
    // The files of a test server are gone once they were read.
    assert!(server.state.metrics.tls.reload(server.engine.now()).is_err());
    assert_eq!(look().await, (1.0, 1.0));
    let expiry = value_of(&scrape(&server.admin()).await, "certctl_tls_certificate_expiry_timestamp_seconds", &[]);
    assert_eq!(expiry, server.state.metrics.tls.status().not_after.unix_seconds() as f64);
}

#[tokio::test]
async fn who_does_not_ask_for_openmetrics_reads_the_text_format() {
    let server = TestServer::open(Engine::Sqlite).await;
    let accept = |value| [("accept", value)];
    server.admin().get("/health").await.is(200);
    let openmetrics = scraped(&server.admin(), &accept("application/openmetrics-text; version=1.0.0")).await;
    assert_eq!(openmetrics.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    for headers in [&[][..], &accept("*/*"), &accept("text/plain")] {
        let text = scraped(&server.admin(), headers).await;
        assert_eq!((text.header("content-type"), text.header("vary")), ("text/plain; version=0.0.4; charset=utf-8", "accept"));
        assert!(!text.text.contains("# EOF") && !text.text.contains("# UNIT"));
        for metric in Metric::ALL {
            let kind = metric.kind().as_str().replace("info", "gauge");
            for line in [format!("# HELP {} {}\n", metric.name(), metric.help()), format!("# TYPE {} {kind}\n", metric.name())] {
                assert_eq!(text.text.matches(&line).count(), 1, "{line}");
            }
        }
        let names = |text: &str| -> BTreeSet<String> {
            let samples = text.lines().filter(|line| !line.starts_with('#'));
            samples.map(|line| line.split([' ', '{']).next().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&text.text), names(&openmetrics.text));
    }
}

#[tokio::test]
async fn the_runs_of_tasks_are_counted_where_they_run() {
    let server = TestServer::open(Engine::Sqlite).await;
    let metrics = server.engine.metrics();
    metrics.task_ran("retention", Duration::from_millis(30), 7, server.engine.now());
    metrics.task_failed("retention");
    let families = scrape(&server.admin()).await;
    let runs = |outcome| value_of(&families, "certctl_task_runs_total", &[("task", "retention"), ("outcome", outcome)]);
    assert_eq!((runs("success"), runs("failure")), (1.0, 1.0));
    assert_eq!(value_of(&families, "certctl_task_items_total", &[("task", "retention")]), 7.0);
    let bucket = |le| value_of(&families, "certctl_task_duration_seconds_bucket", &[("task", "retention"), ("le", le)]);
    assert_eq!((bucket("0.025"), bucket("0.1")), (0.0, 1.0));
    // Every task is there before it ran, so that an alert can tell one that never does.
    for task in TASKS {
        assert!(value_of(&families, "certctl_task_runs_total", &[("task", task.name), ("outcome", "failure")]) >= 0.0);
    }
}

#[test]
fn callers_cannot_make_up_methods_and_statuses() {
    let metrics = RequestMetrics::default();
    metrics.seen(&RequestSeen { method: "GET", route: "/x", status: 999, took: Duration::ZERO });
    assert!(format!("{metrics:?}").contains("5xx"));
}

/// An agent that enrolled.
struct Agent<'a> {
    server: &'a TestServer,
    caller: Caller,
    id: String,
}

async fn agent<'a>(server: &'a TestServer, name: &str) -> Agent<'a> {
    let (id, caller) = crate::agents::enroll(server, name).await;
    Agent { server, caller, id }
}

impl Agent<'_> {
    /// Lives, with a clock that is so many milliseconds ahead.
    async fn speaks(&self, ahead_ms: i64) {
        // What is as old as what is known already says nothing.
        self.server.clock.advance(time::Duration::seconds(1));
        let sent_at = self.server.engine.now().saturating_add(time::Duration::milliseconds(ahead_ms));
        self.caller.post(&format!("/api/v1/agents/{}/heartbeat", self.id), &json!({"sent_at": sent_at})).await.is(200);
        run_task(self.server, "heartbeat_flush").await;
    }
}

/// Changes the oldest audit event, as somebody would who may do everything with the database.
async fn tamper(server: &TestServer) {
    let unguarded = match server.store.db().is_shared() {
        true => "ALTER TABLE audit_events DISABLE TRIGGER USER",
        false => "DROP TRIGGER audit_events_no_update",
    };
    let change = "UPDATE audit_events SET actor = 'nobody' WHERE id = (SELECT event_id FROM audit_seals WHERE sequence = 1)";
    for statement in [unguarded, change] {
        let mut tx = server.store.write(Who::task("test", server.engine.now())).await.unwrap();
        tx.execute(sql(statement)).await.unwrap();
        tx.commit_housekeeping("test").await.unwrap();
    }
}

async fn scrape(caller: &Caller) -> Vec<Family> {
    let reply = scraped(caller, &[("accept", "application/openmetrics-text; version=1.0.0")]).await;
    parse(&reply.text).unwrap_or_else(|why| panic!("{why}\n{}", reply.text))
}

async fn scraped(caller: &Caller, headers: &[(&str, &str)]) -> Reply {
    caller.send("GET", "/api/v1/metrics/prometheus", headers, None).await.is(200)
}

async fn run_task(server: &TestServer, name: &str) -> u64 {
    let task = TASKS.iter().find(|task| task.name == name).unwrap();
    scheduler::once(&Ctx::system(&server.engine, task.name), task).await.unwrap().unwrap()
}

/// The name under which the table has a family.
fn sample_name(family: &Family) -> String {
    let suffix = match family.kind.as_str() {
        "counter" => "_total",
        "info" => "_info",
        _ => "",
    };
    format!("{}{suffix}", family.name)
}

#[track_caller]
fn value_of(families: &[Family], name: &str, labels: &[(&str, &str)]) -> f64 {
    let labels: BTreeMap<String, String> = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let samples: Vec<&Sample> = families.iter().flat_map(|family| &family.samples).filter(|sample| sample.name == name).collect();
    let found = samples.iter().find(|sample| sample.labels == labels);
    found.unwrap_or_else(|| panic!("no {name} with {labels:?} among {samples:?}")).value
}

/// Everything that may only grow, by name and labels.
fn counters(families: &[Family]) -> BTreeMap<(String, BTreeMap<String, String>), f64> {
    let growing = families.iter().filter(|family| matches!(family.kind.as_str(), "counter" | "histogram"));
    growing.flat_map(|family| &family.samples).map(|sample| ((sample.name.clone(), sample.labels.clone()), sample.value)).collect()
}
