//! A POST that is sent twice under one key is done once.

use certctl_testkit::{both_databases, secret_of};
use serde_json::json;
use time::Duration;

use crate::support::TestServer;

both_databases! {
    async fn the_same_request_is_done_once_and_answered_twice(server: TestServer) {
        let admin = server.admin();
        let send = async |key: &str, body: &str| admin.send("POST", "/api/v1/owners", &[("idempotency-key", key)], Some(body.to_owned())).await;
        let first = send("k1", r#"{"name": "A"}"#).await.is(201);
        let again = send("k1", r#"{"name": "A"}"#).await.is(201);
        assert_eq!((&first.text, first.header("location"), first.header("etag")), (&again.text, again.header("location"), again.header("etag")));
        assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
        assert_ne!(first.header("x-request-id"), again.header("x-request-id"));
        assert_eq!(admin.get("/api/v1/owners").await.json()["total"], 1);
        send("k1", r#"{"name": "B"}"#).await.fails_with(422, "idempotency_mismatch");
        // The key of somebody else is another key.
        let operator = server.actor_with("operator", json!(["r-operator"])).await;
        operator.send("POST", "/api/v1/owners", &[("idempotency-key", "k1")], Some(json!({"name": "B"}).to_string())).await.is(201);
        server.clock.advance(Duration::hours(25));
        send("k1", r#"{"name": "C"}"#).await.is(201);
    }

    async fn what_was_refused_can_be_sent_again(server: TestServer) {
        let admin = server.admin();
        let send = async |body: &str| admin.send("POST", "/api/v1/owners", &[("idempotency-key", "k")], Some(body.to_owned())).await;
        send(r#"{"name": ""}"#).await.fails_with(400, "invalid_field");
        send(r#"{"name": "A"}"#).await.is(201);
        for key in ["", "with space", &"x".repeat(256)] {
            admin.send("POST", "/api/v1/owners", &[("idempotency-key", key)], Some("{}".to_owned())).await.fails_with(400, "invalid_field");
        }
        let nobody = server.nobody().send("POST", "/api/v1/owners", &[("idempotency-key", "k")], Some("{}".to_owned())).await;
        nobody.fails_with(401, "credential_missing");
    }

    async fn many_at_once_make_one(server: TestServer) {
        let admin = server.admin();
        let body = json!({"name": "A"}).to_string();
        let send = || async { admin.send("POST", "/api/v1/owners", &[("idempotency-key", "k")], Some(body.clone())).await.status };
        let statuses = futures_util::future::join_all((0..8).map(|_| send())).await;
        assert!(statuses.contains(&201) && statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
        assert_eq!(admin.get("/api/v1/owners").await.json()["total"], 1);
    }

    async fn a_new_key_is_shown_again_to_who_asked_for_it_and_not_kept_in_the_clear(server: TestServer) {
        let admin = server.admin();
        let send = async || admin.send("POST", "/api/v1/auth/apikeys", &[("idempotency-key", "k")], Some("{}".to_owned())).await.is(201);
        let (first, again) = (send().await.json(), send().await.json());
        assert_eq!(first, again);
        let secret = secret_of(first["key_value"].as_str().unwrap()).as_bytes();
        if let Some(file) = server.store.database().file() {
            for file in [file.clone(), file.with_extension("db-wal")] {
                let bytes = std::fs::read(&file).unwrap();
                assert!(!bytes.windows(secret.len()).any(|window| window == secret), "the secret is in {}", file.display());
            }
        }
    }
}
