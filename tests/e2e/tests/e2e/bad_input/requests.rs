//! Requests that are not as they should be.

use certctl_testkit::{Engine, both_databases};
use serde_json::{Value, json};

use super::{Before, has_hint};
use crate::harness::{World, fields_of};

#[tokio::test]
async fn wrong_credentials_are_slowed_down_and_right_ones_of_the_same_address_are_not() {
    let world = World::with(Engine::Sqlite, |setup| setup.with("CERTCTL_LIMITS_FAILED_LOGINS_PER_MINUTE", "3")).await;
    let stranger = world.server.api().with_token(&format!("ck_{}_{}", "0".repeat(32), "a".repeat(43)));
    for _ in 0..3 {
        stranger.get("/api/v1/certificates").await.is(401);
    }
    let problem = stranger.get("/api/v1/certificates").await.fails_with(429, "too_many_failures");
    has_hint(&problem);
    world.api.get("/api/v1/certificates").await.is(200);
}

both_databases! {
    async fn bodies_that_are_not_as_they_should_be(world: World) {
        let before = Before::of(&world).await;
        let ten_megabytes = json!({"name": "x".repeat(10_000_000)}).to_string();
        for (body, status, code, field) in [
            ("", 400, "malformed_json", None),
            ("{\"name\": \"web\"", 400, "malformed_json", None),
            ("{\"name\": \"web\"} {}", 400, "malformed_json", None),
            ("[]", 400, "invalid_field", Some("body")),
            ("{\"nom\": \"web\"}", 400, "invalid_field", Some("nom")),
            ("{\"name\": \"web\", \"sans\": \"web.example.test\"}", 400, "invalid_field", Some("sans")),
            ("{\"name\": 7, \"sans\": [\"web.example.test\"]}", 400, "invalid_field", Some("name")),
            ("{\"name\": \"web\"}", 400, "invalid_field", Some("common_name")),
            ("{\"name\": \"web\", \"sans\": [\"web.example.test\"], \"issuer_id\": \"iss-none\"}", 400, "invalid_field", Some("issuer_id")),
            (
                "{\"name\": \"web\", \"sans\": [\"web.example.test\"], \"target_ids\": [\"tgt-none\"]}",
                400,
                "invalid_field",
                Some("target_ids"),
            ),
            (
                "{\"name\": \"web\", \"sans\": [\"web.example.test\"], \"key_algorithm\": \"RSA-1024\"}",
                400,
                "invalid_field",
                Some("key_algorithm"),
            ),
            (ten_megabytes.as_str(), 413, "body_too_large", None),
        ] {
            let problem = world.api.send("POST", "/api/v1/certificates", &[], Some(body.to_owned())).await.fails_with(status, code);
            assert_eq!(fields_of(&problem).first().copied(), field, "{problem}");
            has_hint(&problem);
        }
        let form = [("content-type", "application/x-www-form-urlencoded")];
        has_hint(
            &world
                .api
                .send("POST", "/api/v1/certificates", &form, Some("name=web".to_owned()))
                .await
                .fails_with(415, "unsupported_media_type"),
        );
        before.is_now(&world).await;
    }

    async fn lists_that_are_asked_for_in_a_way_they_do_not_offer(world: World) {
        for query in
            ["cursor=xyz", "colour=red", "sort=secret", "per_page=0", "per_page=501", "page=x", "fields=secret", "expires_before=tomorrow", "status=Splendid"]
        {
            let problem = world.api.get(&format!("/api/v1/certificates?{query}")).await.fails_with(400, "invalid_query");
            assert_eq!(fields_of(&problem), [query.split('=').next().unwrap()], "{problem}");
            has_hint(&problem);
        }
    }

    async fn what_is_taken_in_use_gone_or_changed_meanwhile(world: World) {
        let api = &world.api;
        api.post("/api/v1/teams", &json!({"id": "t-edge", "name": "edge"})).await.is(201);
        let owner = api.post("/api/v1/owners", &json!({"id": "o-ops", "name": "ops", "team_id": "t-edge"})).await.is(201);
        let stale = owner.header("etag").to_owned();
        let newer = api.patch("/api/v1/owners/o-ops", &json!({"email": "ops@example.test"})).await.is(200);
        assert_ne!(newer.header("etag"), stale);
        let certificate = json!({"name": "web", "sans": ["web.example.test"], "owner_id": "o-ops"});
        api.post("/api/v1/certificates", &certificate).await.is(201);
        api.post("/api/v1/teams", &json!({"id": "t-gone", "name": "gone"})).await.is(201);
        api.delete("/api/v1/teams/t-gone").await.is(204);

        let before = Before::of(&world).await;
        let if_match = [("if-match", stale.as_str())];
        let renamed = || Some(json!({"name": "other"}).to_string());
        for (method, path, headers, body, status, code) in [
            ("POST", "/api/v1/owners", &[][..], Some(json!({"name": "ops"}).to_string()), 409, "name_taken"),
            ("POST", "/api/v1/certificates", &[], Some(certificate.to_string()), 409, "name_taken"),
            ("POST", "/api/v1/owners", &[], Some(json!({"name": "x", "team_id": "t-gone"}).to_string()), 409, "reference"),
            ("PATCH", "/api/v1/owners/o-ops", &[], Some(json!({"team_id": "t-gone"}).to_string()), 409, "reference"),
            ("DELETE", "/api/v1/teams/t-edge", &[], None, 409, "in_use"),
            ("DELETE", "/api/v1/profiles/prof-default", &[], None, 409, "in_use"),
            ("PUT", "/api/v1/owners/o-ops", &if_match, renamed(), 412, "changed_meanwhile"),
            ("PATCH", "/api/v1/owners/o-ops", &if_match, renamed(), 412, "changed_meanwhile"),
            ("DELETE", "/api/v1/owners/o-ops", &if_match, None, 412, "changed_meanwhile"),
            ("PATCH", "/api/v1/owners/o-none", &[], renamed(), 404, "not_found"),
            ("POST", "/api/v1/certificates/web/deploy", &[], None, 409, "nothing_to_deploy"),
            ("POST", "/api/v1/certificates/web/revoke", &[], Some(json!({"serial_number": "ff"}).to_string()), 404, "not_found"),
            ("GET", "/api/v1/nothing", &[], None, 404, "no_such_path"),
            ("PUT", "/api/v1/certificates", &[], renamed(), 405, "method_not_allowed"),
        ] {
            let reply = api.send(method, path, headers, body).await;
            has_hint(&reply.fails_with(status, code));
        }
        before.is_now(&world).await;
    }

    async fn targets_and_keys_that_make_no_sense(world: World) {
        let agent = crate::harness::Agent::new(&world.home, "web-host");
        agent.enroll(&world.server, &world.token("web-host").await).await.ok();
        let before = Before::of(&world).await;
        let target = |kind: &str, config: Value| json!({"name": "t", "type": kind, "agent_id": agent.id(), "config": config});
        for (body, field) in [
            (target("Apache2000", json!({})), "type"),
            (target("NGINX", json!({})), "config"),
            (target("NGINX", json!({"certificate_path": "relative.pem", "key_path": "/x.key"})), "config"),
            (target("NGINX", json!({"certificate_path": "/x.pem", "key_path": "/x.key", "test_command": "nginx -t"})), "config"),
            (target("Files", json!({"certificate_path": "/x.pem"})), "config"),
            (target("Files", json!({"certificate_path": "/x.pem", "key_path": "/x.pem"})), "config"),
            (target("Files", json!({"combined_path": "/x.pem", "observe": {"address": "nowhere"}})), "config"),
            (json!({"name": "t", "type": "Files", "agent_id": "ag-none", "config": {"combined_path": "/x.pem"}}), "agent_id"),
        ] {
            let problem = world.api.post("/api/v1/targets", &body).await.fails_with(400, "invalid_field");
            assert!(fields_of(&problem).contains(&field), "{problem}");
            has_hint(&problem);
        }
        for body in [json!({"actor_id": "actor-none"}), json!({"expires_in": "a while"}), json!({"expires_at": "2020-01-01T00:00:00Z"})] {
            has_hint(&world.api.post("/api/v1/auth/apikeys", &body).await.fails_with(400, "invalid_field"));
        }
        has_hint(
            &world
                .api
                .post("/api/v1/auth/roles", &json!({"name": "x", "permissions": ["certs.eat"]}))
                .await
                .fails_with(400, "invalid_field"),
        );
        before.is_now(&world).await;
    }
}
