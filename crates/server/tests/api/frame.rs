//! What stands around every operation: panics, time-outs, log lines.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certctl_server::api::{Api, Authenticated, Body, NoContent, Public};
use certctl_server::problem::Answer;
use certctl_testkit::{Engine, secret_of};
use serde_json::{Value, json};
use tracing::instrument::WithSubscriber as _;

use crate::support::TestServer;

async fn panics(_public: Public) -> Answer<NoContent> {
    panic!("the secret of the handler");
}

async fn panics_when_asked(_who: Authenticated, Body(body): Body<Value>) -> Answer<NoContent> {
    assert_ne!(body["panic"], true);
    Ok(NoContent)
}

async fn never_ends(_public: Public) -> Answer<NoContent> {
    std::future::pending().await
}

/// Takes in what is logged.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn a_panic_is_a_500_that_tells_nothing() {
    let server = TestServer::open(Engine::Sqlite).await;
    let mut api = Api::new();
    api.get("/panics", "Panics", panics);
    let caller = server.nobody().at(api.into_router(server.state.clone()));
    let problem = caller.get("/panics").await.fails_with(500, "internal");
    let id = problem["request_id"].as_str().unwrap();
    assert_eq!(problem["detail"], format!("something went wrong here; the log has it under request {id}"));
    assert!(!problem.to_string().contains("secret"));
    // The process goes on.
    caller.get("/panics").await.fails_with(500, "internal");
}

#[tokio::test]
async fn a_panic_does_not_hold_an_idempotency_key() {
    let server = TestServer::open(Engine::Sqlite).await;
    let mut api = Api::new();
    api.post("/panics", "Panics when it is asked to", panics_when_asked);
    let caller = server.admin().at(api.into_router(server.state.clone()));
    let send = async |body: Value| caller.send("POST", "/panics", &[("idempotency-key", "k")], Some(body.to_string())).await;
    send(json!({"panic": true})).await.fails_with(500, "internal");
    send(json!({"panic": true})).await.fails_with(500, "internal");
    send(json!({"panic": false})).await.is(204);
}

#[tokio::test]
async fn what_takes_too_long_is_broken_off() {
    let server = TestServer::open(Engine::Sqlite).await;
    let mut api = Api::new();
    api.get("/never", "Never ends", never_ends).within(Duration::from_millis(20));
    let reply = server.nobody().at(api.into_router(server.state.clone())).get("/never").await;
    assert_eq!(reply.header("retry-after"), "1");
    reply.fails_with(503, "timeout");
}

#[tokio::test]
async fn a_request_is_one_line_in_the_log_without_secrets() {
    let server = TestServer::open(Engine::Sqlite).await;
    let admin = server.admin();
    let log = Log::default();
    let writer = log.clone();
    // While there is a single subscriber, an event that another thread meets first is judged by the subscriber of that thread, which has none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::fmt().json().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let made = async {
        let body = json!({"name": "logged"}).to_string();
        let made = admin.send("POST", "/api/v1/auth/apikeys?", &[("x-request-id", "req-7")], Some(body)).await.is(201).json();
        admin.send("GET", "/api/v1/owners/o-none", &[("x-request-id", "req-8")], None).await.is(404);
        made
    }
    .with_subscriber(subscriber)
    .await;
    let lines = log.lines();
    let answered: Vec<_> =
        lines.iter().filter(|line| line["fields"]["message"] == "request answered").map(|line| &line["fields"]).collect();
    assert_eq!(answered.len(), 2, "{lines:#?}");
    let first = answered[0];
    assert_eq!((&first["request.id"], &first["actor.id"], &first["method"]), (&json!("req-7"), &json!("actor-admin"), &json!("POST")));
    assert_eq!((&first["route"], &first["status"]), (&json!("/api/v1/auth/apikeys"), &json!(201)));
    assert!(first["duration_ms"].is_number());
    assert_eq!((&answered[1]["route"], &answered[1]["status"]), (&json!("/api/v1/owners/{id}"), &json!(404)));
    let all = log.lines().iter().map(Value::to_string).collect::<String>();
    for token in [admin.token(), made["key_value"].as_str().unwrap()] {
        assert!(!all.contains(secret_of(token)), "a secret is in the log");
    }
}
