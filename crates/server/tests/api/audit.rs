//! The audit log as it is read, exported and verified.

use certctl_store::audit::seal_batch;
use certctl_testkit::both_databases;
use serde_json::{Value, json};
use time::Duration;

use crate::support::TestServer;

both_databases! {
    async fn a_change_is_found_by_its_request(server: TestServer) {
        let admin = server.admin();
        let made = admin.send("POST", "/api/v1/owners", &[("x-request-id", "req-42")], Some(json!({"id": "o-1", "name": "A"}).to_string())).await;
        assert_eq!(made.header("x-request-id"), "req-42");
        let events = admin.get("/api/v1/audit?request_id=req-42").await.is(200).json();
        let event = &events["data"][0];
        assert_eq!(events["total"], 1);
        assert_eq!(
            (&event["action"], &event["resource_id"], &event["actor"], &event["event_category"]),
            (&json!("owner.create"), &json!("o-1"), &json!("actor-admin"), &json!("config"))
        );
        let one = admin.get(&format!("/api/v1/audit/{}", event["id"].as_str().unwrap())).await.is(200).json();
        assert_eq!(&one, event);
        admin.get("/api/v1/audit/audit-none").await.fails_with(404, "not_found");
    }

    async fn the_chain_is_proved_over_the_api(server: TestServer) {
        let admin = server.admin();
        admin.post("/api/v1/owners", &json!({"name": "A"})).await.is(201);
        while seal_batch(&server.store, server.engine.now(), 1_000).await.unwrap() > 0 {}
        let proof = admin.get("/api/v1/audit/verify").await.is(200).json();
        assert_eq!((&proof["intact"], &proof["unsealed"], &proof["broken_at"]), (&json!(true), &json!(0), &json!(null)));
        assert_eq!(proof["checked"], proof["head_sequence"]);
    }

    async fn an_export_is_one_event_a_line_the_oldest_first(server: TestServer) {
        let admin = server.admin();
        for n in 0..5 {
            server.clock.advance(Duration::minutes(1));
            admin.post("/api/v1/owners", &json!({"id": format!("o-{n}"), "name": format!("O{n}")})).await.is(201);
        }
        let path = |rest: &str| format!("/api/v1/audit/export?from=2026-06-01T00:00:30Z&to=2026-06-01T00:04:30Z{rest}");
        let export = admin.get(&path("")).await.is(200);
        assert_eq!(export.header("content-type"), "application/x-ndjson");
        assert_eq!(export.header("content-disposition"), "attachment; filename=\"audit-2026-06-01-2026-06-01.ndjson\"");
        let ids = |text: &str| -> Vec<String> {
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["resource_id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(ids(&export.text), ["o-0", "o-1", "o-2", "o-3"]);
        assert_eq!(ids(&admin.get(&path("&limit=2")).await.is(200).text), ["o-0", "o-1"]);
        assert_eq!(ids(&admin.get(&path("&category=auth")).await.is(200).text), [""; 0]);
        for query in [
            "",
            "?from=2026-06-01T00:00:00Z",
            "?from=2026-06-01T00:00:00Z&to=2026-05-01T00:00:00Z",
            "?from=2026-01-01T00:00:00Z&to=2026-06-01T00:00:00Z",
            "?from=yesterday&to=today",
            "?from=2026-06-01T00:00:00Z&to=2026-06-02T00:00:00Z&limit=0",
            "?from=2026-06-01T00:00:00Z&to=2026-06-02T00:00:00Z&category=all",
        ] {
            assert_eq!(admin.get(&format!("/api/v1/audit/export{query}")).await.is(400).problem()["status"], 400, "{query}");
        }
    }
}
