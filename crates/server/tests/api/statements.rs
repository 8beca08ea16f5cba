//! How many statements a request sends to the database: it does not depend on the load of the machine, and tells of every loop that
//! somebody puts where one statement does.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use certctl_store::Who;
use certctl_store::db::sql;
use certctl_testkit::Engine;
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::support::TestServer;

/// What was sent while it was listened to.
#[derive(Debug, Clone, Default)]
struct Sent(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Sent {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            let mut text = String::new();
            event.record(&mut Text("summary", &mut text));
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }
    }
}

/// Takes the text of one field.
struct Text<'t>(&'static str, &'t mut String);

impl Visit for Text<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == self.0 {
            value.clone_into(self.1);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == self.0 {
            *self.1 = format!("{value:?}");
        }
    }
}

/// The statements of one request, `BEGIN` and `COMMIT` not counted.
async fn sent_by(server: &TestServer, (method, path): (&str, &str), body: Option<&Value>, status: u16) -> Vec<String> {
    let sent = Sent::default();
    let listening = tracing::subscriber::set_default(tracing_subscriber::registry().with(sent.clone()));
    let reply = server.admin().send(method, path, &[], body.map(Value::to_string)).await;
    drop(listening);
    reply.is(status);
    let mut statements = std::mem::take(&mut *sent.0.lock().unwrap_or_else(PoisonError::into_inner));
    // The last one is what every new connection begins with.
    statements.retain(|statement| !["BEGIN", "COMMIT", "SET statement_timeout"].iter().any(|other| statement.trim().starts_with(other)));
    assert!(!statements.is_empty(), "{method} {path} was not listened to");
    statements
}

#[tokio::test]
async fn a_request_sends_few_statements() {
    let server = TestServer::open(Engine::Postgres).await;
    server.seed().await;
    let id = server.issue("web").await;
    let admin = server.admin();
    let owner = admin.post("/api/v1/owners", &json!({"name": "ops", "email": "ops@example.test"})).await.is(201).json();
    let owner = format!("/api/v1/owners/{}", owner["id"].as_str().unwrap());
    let job = admin.get("/api/v1/jobs").await.is(200).column("id").remove(0);
    let draft = json!({"name": "second", "email": "second@example.test"});
    let changed = json!({"name": "third", "email": "third@example.test"});
    let certificate = json!({"name": "mail", "sans": ["mail.example.test"]});
    // One of them finds out who asks. Every change is written with its event, which two statements do.
    let cases: &[(&str, String, Option<&Value>, u16, usize)] = &[
        ("GET", format!("/api/v1/certificates/{id}"), None, 200, 2),
        ("GET", "/api/v1/certificates/web".to_owned(), None, 200, 3),
        ("GET", "/api/v1/certificates".to_owned(), None, 200, 2),
        ("GET", "/api/v1/certificates?status=Active&q=web".to_owned(), None, 200, 2),
        // Those without a value come last, by a statement of their own.
        ("GET", "/api/v1/certificates?sort=-expires_at".to_owned(), None, 200, 3),
        ("GET", format!("/api/v1/certificates/{id}/versions"), None, 200, 3),
        ("GET", format!("/api/v1/jobs/{job}"), None, 200, 2),
        ("GET", "/api/v1/jobs?status=Completed".to_owned(), None, 200, 2),
        ("GET", "/api/v1/audit".to_owned(), None, 200, 2),
        // An empty list says nothing of its length.
        ("GET", "/api/v1/agents".to_owned(), None, 200, 3),
        ("GET", "/api/v1/stats/summary".to_owned(), None, 200, 2),
        ("GET", "/api/v1/metrics/prometheus".to_owned(), None, 200, 8),
        ("POST", "/api/v1/owners".to_owned(), Some(&draft), 201, 4),
        ("PUT", owner.clone(), Some(&changed), 200, 5),
        ("DELETE", owner, None, 204, 5),
        ("POST", "/api/v1/certificates".to_owned(), Some(&certificate), 201, 15),
    ];
    let mut over = String::new();
    for (method, path, body, status, most) in cases {
        let sent = sent_by(&server, (method, path), *body, *status).await;
        if sent.len() > *most {
            writeln!(over, "{method} {path}: {} and not {most}\n    {}", sent.len(), sent.join("\n    ")).unwrap();
        }
    }
    assert!(over.is_empty(), "{over}");
}

#[tokio::test]
async fn no_list_reads_or_sorts_a_whole_table() {
    let server = TestServer::open(Engine::Postgres).await;
    server.seed().await;
    for statement in FLEET {
        let mut tx = server.store.write(Who::task("test", server.engine.now())).await.unwrap();
        tx.execute(sql(*statement)).await.unwrap();
        tx.commit_housekeeping("test").await.unwrap();
    }
    server.store.database().tell_plans().await;
    let admin = server.admin().at(server.replica().await);
    let mut wrong = String::new();
    for path in [
        "/api/v1/certificates",
        "/api/v1/certificates?page=3",
        "/api/v1/certificates?sort=name",
        "/api/v1/certificates?sort=-common_name",
        "/api/v1/certificates?sort=-updated_at",
        "/api/v1/certificates?sort=expires_at",
        "/api/v1/certificates?sort=-expires_at",
        "/api/v1/certificates?sort=status",
        "/api/v1/certificates?sort=environment",
        "/api/v1/certificates?status=Active",
        "/api/v1/certificates?status=Failed",
        "/api/v1/certificates?status=Revoked",
        "/api/v1/certificates?issuer_id=iss-local",
        "/api/v1/certificates?profile_id=prof-default",
        "/api/v1/certificates?name=service-40000",
        "/api/v1/certificates?san=service-40000.example.test",
        "/api/v1/certificates?target_id=tgt-none",
        "/api/v1/certificates?owner_id=o-none",
        "/api/v1/certificates?expires_before=2026-06-20T00:00:00Z&sort=expires_at",
        "/api/v1/certificates/mc-many-7/versions",
        "/api/v1/jobs?status=Failed",
        "/api/v1/audit?resource_type=certificate&resource_id=mc-many-7",
    ] {
        let told = Told::default();
        let listening = tracing::subscriber::set_default(tracing_subscriber::registry().with(told.clone()));
        admin.get(path).await.is(200);
        drop(listening);
        let plans = std::mem::take(&mut *told.0.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(plans.len() >= 2, "{path} was not listened to");
        for plan in plans {
            let found = faults(&plan["Plan"]);
            if !found.is_empty() {
                writeln!(wrong, "{path}: {found:?}\n    {}", plan["Query Text"]).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What a plan does that grows with the fleet: it reads a whole table, or sorts more than a page.
fn faults(plan: &Value) -> Vec<String> {
    let relation = plan["Relation Name"].as_str().unwrap_or_default();
    let mut found: Vec<String> = plan["Plans"].as_array().into_iter().flatten().flat_map(faults).collect();
    let rows = |plan: &Value| plan["Actual Rows"].as_f64().unwrap_or(0.0) * plan["Actual Loops"].as_f64().unwrap_or(1.0);
    match plan["Node Type"].as_str().unwrap_or_default() {
        // One that stops at the number past which nobody counts is fine.
        "Seq Scan" if rows(plan) + plan["Rows Removed by Filter"].as_f64().unwrap_or(0.0) >= 50_000.0 => {
            found.push(format!("reads all of {relation}"));
        }
        "Sort" | "Incremental Sort" => {
            let sorted = plan["Plans"].as_array().into_iter().flatten().map(rows).sum::<f64>();
            if sorted > 1_000.0 {
                found.push(format!("sorts {sorted} rows by {}", plan["Sort Key"]));
            }
        }
        _ => {}
    }
    found
}

/// Plans that PostgreSQL told of.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Vec<Value>>>);

impl<S: Subscriber> Layer<S> for Told {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() == "sqlx::postgres::notice" {
            let mut text = String::new();
            event.record(&mut Text("message", &mut text));
            if let Some(plan) = text.split_once("plan:").and_then(|(_, plan)| serde_json::from_str(plan).ok()) {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).push(plan);
            }
        }
    }
}

/// Fifty thousand certificates with a version each, as the product writes them.
const FLEET: &[&str] = &[
    "INSERT INTO certificates (id, name, common_name, sans, environment, owner_id, team_id, issuer_id, target_ids, renewal_policy_id,
         certificate_profile_id, key_algorithm, status, reason, hint, next_try_at, expires_at, tags, failures, last_failure_at,
         last_renewal_at, last_deployment_at, revoked_at, revocation_reason, source, revision, created_at, updated_at)
     SELECT 'mc-many-' || n, 'service-' || n, 'service-' || n || '.example.test', jsonb_build_array('service-' || n || '.example.test'),
         (ARRAY['production', 'staging', 'test'])[1 + n % 3], NULL, NULL, 'iss-local', '[]', 'rp-default', 'prof-default', NULL,
         CASE n % 50 WHEN 0 THEN 'Expiring' WHEN 1 THEN 'Failed' ELSE 'Active' END, '', NULL, NULL,
         timestamptz '2026-06-01' + (n % 80) * interval '1 day', '{}', 0, NULL, NULL, NULL, NULL, NULL, 'API', 1,
         timestamptz '2026-01-01' + n * interval '1 minute', timestamptz '2026-01-01' + n * interval '1 minute'
     FROM generate_series(1, 50000) n",
    "INSERT INTO certificate_names SELECT 'mc-many-' || n, 'service-' || n || '.example.test' FROM generate_series(1, 50000) n",
    "INSERT INTO certificate_versions (id, certificate_id, agent_id, issuer_id, job_id, serial_number, fingerprint_sha256, not_before,
         not_after, pem_chain, csr_pem, key_algorithm, key_size, state, issuer_ref, ari, revoked_at, revocation_reason, created_at)
     SELECT 'ver-many-' || n, 'mc-many-' || n, NULL, 'iss-local', 'job-many-' || n, '5a' || md5('serial ' || n),
         encode(sha256(('fingerprint ' || n)::bytea), 'hex'), timestamptz '2026-05-01', timestamptz '2026-08-01', '', '', 'ECDSA', 256,
         'current', '{}', NULL, NULL, NULL, timestamptz '2026-05-01' FROM generate_series(1, 50000) n",
    "ANALYZE certificates, certificate_names, certificate_versions",
];
