//! API keys: revoked at once on every replica, expired, rotated, counted, and never stronger than who made them.

use certctl_testkit::both_databases;
use serde_json::json;
use time::Duration;

use crate::support::{TestServer, fields_of};

both_databases! {
    async fn a_deleted_key_is_dead_on_every_replica_with_the_next_request(server: TestServer) {
        let other = server.replica().await;
        let viewer = server.actor_with("viewer", json!(["r-viewer"])).await;
        viewer.get("/api/v1/owners").await.is(200);
        viewer.at(other.clone()).get("/api/v1/owners").await.is(200);
        let keys = server.admin().get("/api/v1/auth/apikeys?actor_id=actor-viewer").await.is(200);
        let id = keys.column("id").remove(0);
        server.admin().delete(&format!("/api/v1/auth/apikeys/{id}")).await.is(204);
        server.admin().delete(&format!("/api/v1/auth/apikeys/{id}")).await.is(204);
        for router in [viewer.clone(), viewer.at(other)] {
            let reply = router.get("/api/v1/owners").await;
            assert!(reply.header("www-authenticate").contains("credential_revoked"), "{:?}", reply.headers);
            reply.fails_with(401, "credential_revoked");
        }
        let shown = server.admin().get(&format!("/api/v1/auth/apikeys/{id}")).await.is(200).json();
        assert_eq!(shown["revoked_at"], "2026-06-01T00:00:00Z");
    }

    async fn a_change_of_roles_holds_on_every_replica_with_the_next_request(server: TestServer) {
        let other = server.replica().await;
        let caller = server.actor_with("changing", json!(["r-viewer"])).await.at(other);
        caller.get("/api/v1/owners").await.is(200);
        caller.post("/api/v1/owners", &json!({"name": "x"})).await.fails_with(403, "forbidden");
        server.admin().post("/api/v1/auth/keys/actor-changing/roles", &json!({"role_id": "r-operator"})).await.is(204);
        caller.post("/api/v1/owners", &json!({"name": "x"})).await.is(201);
        server.admin().delete("/api/v1/auth/keys/actor-changing/roles/r-operator").await.is(204);
        caller.post("/api/v1/owners", &json!({"name": "y"})).await.fails_with(403, "forbidden");
        server.admin().post("/api/v1/auth/actors/actor-changing/disable", &json!({})).await.is(200);
        caller.get("/api/v1/owners").await.fails_with(401, "actor_disabled");
        server.admin().post("/api/v1/auth/actors/actor-changing/enable", &json!({})).await.is(200);
        caller.get("/api/v1/owners").await.is(200);
        server.admin().delete("/api/v1/auth/actors/actor-changing").await.is(204);
        caller.get("/api/v1/owners").await.fails_with(401, "credential_unknown");
    }

    async fn what_is_held_for_a_time_ends_with_it(server: TestServer) {
        let held = json!([{"role_id": "r-viewer", "expires_at": "2026-06-01T01:00:00Z"}]);
        let caller = server.actor_with("for-an-hour", held).await;
        caller.get("/api/v1/owners").await.is(200);
        server.clock.advance(Duration::hours(1));
        caller.get("/api/v1/owners").await.fails_with(403, "forbidden");
        let past = json!({"role_id": "r-viewer", "expires_at": "2026-01-01T00:00:00Z"});
        let refused = server.admin().post("/api/v1/auth/keys/actor-for-an-hour/roles", &past).await.fails_with(400, "invalid_field");
        assert_eq!(fields_of(&refused), ["roles.0"]);
    }

    async fn a_key_ends_when_it_was_said_to(server: TestServer) {
        let admin = server.admin();
        admin.post("/api/v1/auth/apikeys", &json!({"name": "x", "expires_at": "2026-05-31T23:59:59Z"})).await.fails_with(400, "invalid_field");
        let both = json!({"name": "x", "expires_at": "2027-01-01T00:00:00Z", "expires_in": "1h"});
        admin.post("/api/v1/auth/apikeys", &both).await.fails_with(400, "invalid_field");
        let key = admin.post("/api/v1/auth/apikeys", &json!({"name": "x", "expires_in": "90m"})).await.is(201).json();
        assert_eq!(key["expires_at"], "2026-06-01T01:30:00Z");
        let caller = server.caller(key["key_value"].as_str().unwrap());
        caller.get("/api/v1/auth/me").await.is(200);
        server.clock.advance(Duration::minutes(90));
        caller.get("/api/v1/auth/me").await.fails_with(401, "credential_expired");
    }

    async fn a_rotated_key_lives_through_the_overlap(server: TestServer) {
        let old = server.actor_with("rotating", json!(["r-viewer"])).await;
        let id = server.admin().get("/api/v1/auth/apikeys?actor_id=actor-rotating").await.column("id").remove(0);
        let path = format!("/api/v1/auth/apikeys/{id}/rotate");
        server.admin().post(&path, &json!({"overlap": "60d"})).await.fails_with(400, "invalid_field");
        let rotated = server.admin().post(&path, &json!({"overlap": "24h"})).await.is(201);
        assert!(rotated.header("location").starts_with("/api/v1/auth/apikeys/ak-"));
        let rotated = rotated.json();
        assert_eq!((&rotated["replaces"], &rotated["replaced_ends_at"]), (&json!(id), &json!("2026-06-02T00:00:00Z")));
        let new = server.caller(rotated["key_value"].as_str().unwrap());
        old.get("/api/v1/owners").await.is(200);
        new.get("/api/v1/owners").await.is(200);
        server.admin().post(&path, &json!({})).await.fails_with(409, "already_rotated");
        server.clock.advance(Duration::hours(24));
        old.get("/api/v1/owners").await.fails_with(401, "credential_expired");
        new.get("/api/v1/owners").await.is(200);
        server.admin().post(&path, &json!({})).await.fails_with(409, "already_rotated");
    }

    async fn a_key_can_be_rotated_without_overlap_and_without_a_body(server: TestServer) {
        let caller = server.actor_with("quick", json!(["r-viewer"])).await;
        let id = server.admin().get("/api/v1/auth/apikeys?actor_id=actor-quick").await.column("id").remove(0);
        let rotated = server.admin().send("POST", &format!("/api/v1/auth/apikeys/{id}/rotate"), &[], None).await.is(201).json();
        assert_eq!(rotated["replaced_ends_at"], "2026-06-02T00:00:00Z", "a day is the default");
        caller.get("/api/v1/owners").await.is(200);
        let id = rotated["id"].as_str().unwrap();
        let now = server.admin().post(&format!("/api/v1/auth/apikeys/{id}/rotate"), &json!({"overlap": "0s"})).await.is(201).json();
        server.caller(rotated["key_value"].as_str().unwrap()).get("/api/v1/owners").await.fails_with(401, "credential_expired");
        server.caller(now["key_value"].as_str().unwrap()).get("/api/v1/owners").await.is(200);
    }

    async fn the_last_use_is_kept_without_a_write_for_each_request(server: TestServer) {
        let caller = server.actor_with("used", json!(["r-viewer"])).await;
        let last_used = async || server.admin().get("/api/v1/auth/apikeys?actor_id=actor-used").await.json()["data"][0]["last_used_at"].clone();
        assert_eq!(last_used().await, json!(null));
        server.clock.advance(Duration::minutes(5));
        for _ in 0..5 {
            caller.get("/api/v1/owners").await.is(200);
        }
        assert_eq!(last_used().await, json!(null), "nothing is written with the request itself");
        server.engine.heartbeats().flush(&server.store, server.engine.now()).await.unwrap();
        assert_eq!(last_used().await, json!("2026-06-01T00:05:00Z"));
    }

    async fn nobody_gets_a_key_of_somebody_stronger(server: TestServer) {
        let maker = server.actor_with("maker", json!(["r-cli"])).await;
        server.actor_with("peer", json!(["r-viewer"])).await;
        maker.post("/api/v1/auth/apikeys", &json!({"actor_id": "actor-peer"})).await.is(201);
        maker.post("/api/v1/auth/apikeys", &json!({})).await.is(201);
        let refused = maker.post("/api/v1/auth/apikeys", &json!({"actor_id": "actor-admin"})).await.fails_with(403, "beyond_own_permissions");
        assert!(refused["detail"].as_str().unwrap().contains("cert.bulk_revoke"), "{refused}");
        let id = server.admin().get("/api/v1/auth/apikeys?actor_id=actor-admin").await.column("id").remove(0);
        maker.post(&format!("/api/v1/auth/apikeys/{id}/rotate"), &json!({})).await.fails_with(403, "beyond_own_permissions");
        maker.post("/api/v1/auth/apikeys", &json!({"actor_id": "actor-none"})).await.fails_with(400, "invalid_field");
    }

    async fn bad_credentials_are_told_apart(server: TestServer) {
        let missing = server.nobody().get("/api/v1/owners").await;
        assert_eq!(missing.header("www-authenticate"), "Bearer realm=\"certctl\"");
        missing.fails_with(401, "credential_missing");
        let secret = "A".repeat(43);
        for (token, code) in [
            ("nonsense".to_owned(), "credential_unknown"),
            (format!("ck_0123456789ab_{secret}"), "credential_unknown"),
            (format!("{}x", server.admin().token()), "credential_unknown"),
            (format!("ca_none_{secret}"), "credential_unknown"),
            (format!("ce_none_{secret}"), "credential_unknown"),
        ] {
            server.caller(&token).get("/api/v1/owners").await.fails_with(401, code);
        }
        for value in ["Basic dTpw", "Bearer", "Bearer ", "ck_0123456789ab_x"] {
            server.nobody().send("GET", "/api/v1/owners", &[("authorization", value)], None).await.fails_with(401, "credential_malformed");
        }
        let lower = format!("bearer {}", server.admin().token());
        server.nobody().send("GET", "/api/v1/owners", &[("authorization", &lower)], None).await.is(200);
    }
}
