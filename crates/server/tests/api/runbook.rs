//! The calls of the operators' runbook for a metrics key, word for word, in its order.

use certctl_testkit::{both_databases, secret_of};
use serde_json::{Value, json};

use crate::support::TestServer;

both_databases! {
    async fn the_runbook_succeeds_as_it_is_written(server: TestServer) {
        let admin = server.admin();
        let post = async |path: &str, body: &str| admin.send("POST", path, &[], Some(body.to_owned())).await.is(201).json();

        let role = post("/api/v1/auth/roles", r#"{"id":"r-prometheus-scrape","name":"Prometheus scrape","permissions":["metrics.read"]}"#).await;
        assert_eq!(role["id"], "r-prometheus-scrape");
        assert_eq!(role["permissions"][0]["permission"], "metrics.read");

        let actor = post("/api/v1/auth/actors", r#"{"id":"actor-prometheus","name":"Prometheus scrape","roles":["r-prometheus-scrape"]}"#).await;
        assert_eq!((&actor["id"], &actor["type"]), (&json!("actor-prometheus"), &json!("APIKey")));

        let key = post("/api/v1/auth/apikeys", r#"{"actor_id":"actor-prometheus","name":"prometheus-scrape-token"}"#).await;
        let value = key["key_value"].as_str().unwrap();
        let id = key["id"].as_str().unwrap();
        assert!(id.starts_with("ak-") && value.starts_with(key["prefix"].as_str().unwrap()), "{key}");

        let scraper = server.caller(value);
        let me = scraper.get("/api/v1/auth/me").await.is(200).json();
        assert_eq!(me["actor_id"], "actor-prometheus");
        assert_eq!(me["effective_permissions"], json!([{"permission": "metrics.read", "scope_type": "global"}]));
        scraper.get("/api/v1/owners").await.fails_with(403, "forbidden");

        admin.delete(&format!("/api/v1/auth/apikeys/{id}")).await.is(204);
        scraper.get("/api/v1/auth/me").await.fails_with(401, "credential_revoked");
    }

    async fn metrics_are_for_who_may_read_them(server: TestServer) {
        const METRICS: &str = "/api/v1/metrics/prometheus";
        let reader = server.actor_with("reader", json!(["r-metrics-read"])).await;
        let other = server.actor_with("other", json!(["r-agent"])).await;
        server.nobody().get(METRICS).await.is(401);
        server.caller(&format!("ck_0123456789ab_{}", "A".repeat(43))).get(METRICS).await.is(401);
        let refused = other.get(METRICS).await.fails_with(403, "forbidden");
        assert_eq!(refused["detail"], "actor-other lacks the permission metrics.read");
        let page = reader.get(METRICS).await.is(200);
        assert!(page.text.contains("# TYPE certctl_"), "{}", page.text);
        let id = server.admin().get("/api/v1/auth/apikeys?actor_id=actor-reader").await.column("id").remove(0);
        server.admin().delete(&format!("/api/v1/auth/apikeys/{id}")).await.is(204);
        reader.get(METRICS).await.is(401);
    }

    async fn the_value_of_a_key_is_shown_once(server: TestServer) {
        let admin = server.admin();
        let key = admin.post("/api/v1/auth/apikeys", &json!({"name": "once"})).await.is(201);
        let secret = secret_of(key.json()["key_value"].as_str().unwrap()).to_owned();
        assert_eq!(key.header("cache-control"), "no-store");
        let id = key.json()["id"].clone();
        let one = admin.get(&format!("/api/v1/auth/apikeys/{}", id.as_str().unwrap())).await.is(200);
        let list = admin.get("/api/v1/auth/apikeys").await.is(200);
        let audit = admin.get("/api/v1/audit?resource_type=api_key").await.is(200);
        assert_eq!(one.json().get("key_value"), None::<&Value>);
        for reply in [one, list, audit] {
            assert!(!reply.text.contains(&secret), "{}", reply.text);
        }
    }

    async fn a_template_role_for_scrapers_is_there(server: TestServer) {
        let scraper = server.actor_with("scraper", json!(["r-metrics-read"])).await;
        let me = scraper.get("/api/v1/auth/me").await.is(200).json();
        let held: Vec<_> = me["effective_permissions"].as_array().unwrap().iter().map(|grant| grant["permission"].as_str().unwrap()).collect();
        assert_eq!(held, ["stats.read", "metrics.read"]);
        assert_eq!(me["admin"], false);
    }
}
