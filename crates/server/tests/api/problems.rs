//! Problem bodies and what stands around every request, as callers see them.

use certctl_testkit::{Engine, both_databases};
use serde_json::json;

use crate::support::{Reply, TestServer};

#[tokio::test]
async fn problem_bodies_are_as_they_are() {
    let server = TestServer::open(Engine::Sqlite).await;
    let (admin, viewer) = (server.admin(), server.actor_with("viewer", json!(["r-viewer"])).await);
    let id = [("x-request-id", "req-1")];
    admin.post("/api/v1/owners", &json!({"id": "o-1", "name": "A"})).await.is(201);
    let send = async |caller: &crate::support::Caller, method: &str, path: &str, body: Option<&str>| {
        shown(caller.send(method, path, &id, body.map(str::to_owned)).await)
    };
    let nobody = server.nobody();
    insta::assert_json_snapshot!("unauthenticated", send(&nobody, "GET", "/api/v1/owners", None).await);
    insta::assert_json_snapshot!("forbidden", send(&viewer, "DELETE", "/api/v1/owners/o-1", None).await);
    insta::assert_json_snapshot!("not_found", send(&admin, "GET", "/api/v1/owners/o-none", None).await);
    insta::assert_json_snapshot!("no_such_path", send(&admin, "GET", "/api/v2/owners?x=y", None).await);
    insta::assert_json_snapshot!("method_not_allowed", send(&admin, "DELETE", "/api/v1/owners", None).await);
    insta::assert_json_snapshot!("invalid_field", send(&admin, "POST", "/api/v1/owners", Some(r#"{"name": "", "email": "x"}"#)).await);
    insta::assert_json_snapshot!("unknown_field", send(&admin, "POST", "/api/v1/owners", Some(r#"{"name": "x", "mail": "x"}"#)).await);
    insta::assert_json_snapshot!("malformed_json", send(&admin, "POST", "/api/v1/owners", Some("{")).await);
    insta::assert_json_snapshot!("invalid_query", send(&admin, "GET", "/api/v1/owners?per_page=0", None).await);
    insta::assert_json_snapshot!("name_taken", send(&admin, "POST", "/api/v1/owners", Some(r#"{"name": "A"}"#)).await);
    insta::assert_json_snapshot!("system_role", send(&admin, "DELETE", "/api/v1/auth/roles/r-admin", None).await);
    insta::assert_json_snapshot!("last_admin", send(&admin, "DELETE", "/api/v1/auth/actors/actor-admin", None).await);
}

#[tokio::test]
async fn a_failing_database_is_told_without_its_words() {
    let server = TestServer::open(Engine::Sqlite).await;
    let admin = server.admin();
    server.store.db().close().await;
    let reply = admin.get("/api/v1/owners").await;
    assert_eq!(reply.header("retry-after"), "1");
    let problem = reply.fails_with(503, "database_unavailable");
    assert_eq!(problem["detail"], "the database does not answer as it should");
    let idle = server.nobody().get("/health").await.is(200).json();
    assert_eq!(idle, json!({"status": "ok"}));
}

both_databases! {
    async fn every_answer_has_an_id_and_is_not_kept_by_caches(server: TestServer) {
        let nobody = server.nobody();
        for (given, kept) in [("abc-123", true), ("", false), ("has space", false), (&*"x".repeat(129), false)] {
            let reply = nobody.send("GET", "/health", &[("x-request-id", given)], None).await.is(200);
            let id = reply.header("x-request-id");
            assert_eq!(id == given, kept, "{given}");
            assert!(!id.is_empty());
            assert_eq!((reply.header("cache-control"), reply.header("x-content-type-options")), ("no-store", "nosniff"));
        }
        let one = nobody.get("/health").await.header("x-request-id").to_owned();
        assert_ne!(one, nobody.get("/health").await.header("x-request-id"));
    }

    async fn the_process_says_what_it_is(server: TestServer) {
        let nobody = server.nobody();
        assert_eq!(nobody.get("/ready").await.is(200).json(), json!({"status": "ready", "checks": [{"name": "database", "ok": true}]}));
        let version = nobody.get("/api/v1/version").await.is(200).json();
        assert_eq!(version["version"], "1.2.3");
        let document = nobody.get("/api/v1/openapi.json").await.is(200).json();
        assert_eq!(document["openapi"], "3.1.0");
        let wrong = nobody.send("DELETE", "/health", &[], None).await;
        assert_eq!(wrong.header("allow"), "GET,HEAD");
        wrong.fails_with(405, "method_not_allowed");
        let head = nobody.send("HEAD", "/health", &[], None).await.is(200);
        assert_eq!(head.text, "");
    }
}

fn shown(reply: Reply) -> serde_json::Value {
    let headers: serde_json::Map<_, _> = ["www-authenticate", "retry-after", "allow"]
        .into_iter()
        .filter(|name| !reply.header(name).is_empty())
        .map(|name| (name.to_owned(), json!(reply.header(name))))
        .collect();
    json!({"status": reply.status, "headers": headers, "body": reply.problem()})
}
