//! The six operations of a noun, with owners for all.

use certctl_testkit::both_databases;
use serde_json::json;

use crate::support::{TestServer, fields_of};

const OWNERS: &str = "/api/v1/owners";

both_databases! {
    async fn an_owner_lives_from_creation_to_deletion(server: TestServer) {
        let admin = server.admin();
        let made = admin.post(OWNERS, &json!({"id": "o-web", "name": "Web team", "email": "web@example.test"})).await.is(201);
        assert_eq!((made.header("location"), made.header("etag")), ("/api/v1/owners/o-web", "\"1\""));
        assert_eq!(made.json()["created_at"], "2026-06-01T00:00:00Z");
        let read = admin.get("/api/v1/owners/o-web").await.is(200);
        assert_eq!((read.json(), read.header("etag")), (made.json(), "\"1\""));
        let patched = admin.patch("/api/v1/owners/o-web", &json!({"email": null})).await.is(200);
        assert_eq!((patched.header("etag"), &patched.json()["email"], &patched.json()["name"]), ("\"2\"", &json!(null), &json!("Web team")));
        let replaced = admin.put("/api/v1/owners/o-web", &json!({"name": "Web"})).await.is(200);
        assert_eq!((&replaced.json()["name"], &replaced.json()["revision"]), (&json!("Web"), &json!(3)));
        let gone = admin.delete("/api/v1/owners/o-web").await.is(204);
        assert_eq!(gone.text, "");
        admin.get("/api/v1/owners/o-web").await.fails_with(404, "not_found");
        admin.delete("/api/v1/owners/o-web").await.fails_with(404, "not_found");
    }

    async fn what_was_read_can_be_sent_back(server: TestServer) {
        let admin = server.admin();
        let made = admin.post(OWNERS, &json!({"name": "A", "email": "a@example.test"})).await.is(201);
        let mut read = made.json();
        read["name"] = json!("B");
        let path = made.header("location").to_owned();
        let after = admin.put(&path, &read).await.is(200).json();
        assert_eq!((&after["name"], &after["email"], &after["created_at"]), (&json!("B"), &read["email"], &read["created_at"]));
        read["id"] = json!("o-other");
        admin.put(&path, &read).await.fails_with(400, "invalid_field");
    }

    async fn one_is_found_by_its_name(server: TestServer) {
        let admin = server.admin();
        admin.post("/api/v1/teams", &json!({"id": "t-1", "name": "Plattform & Netz/West"})).await.is(201);
        let found = admin.get("/api/v1/teams/Plattform%20%26%20Netz%2FWest").await.is(200).json();
        assert_eq!(found["id"], "t-1");
        // An id comes before a name.
        admin.post("/api/v1/teams", &json!({"id": "t-2", "name": "t-1"})).await.is(201);
        assert_eq!(admin.get("/api/v1/teams/t-1").await.is(200).json()["id"], "t-1");
        admin.get("/api/v1/teams/none").await.fails_with(404, "not_found");
        admin.get(&format!("/api/v1/teams/{}", "x".repeat(3_000))).await.fails_with(404, "not_found");
    }

    async fn a_change_holds_for_the_revision_that_it_was_meant_for(server: TestServer) {
        let admin = server.admin();
        admin.post(OWNERS, &json!({"id": "o-1", "name": "A"})).await.is(201);
        let path = "/api/v1/owners/o-1";
        let with = async |method: &str, tag: &str, body: Option<&str>| admin.send(method, path, &[("if-match", tag)], body.map(str::to_owned)).await;
        with("PATCH", "\"1\"", Some(r#"{"email": "a@example.test"}"#)).await.is(200);
        for (method, body) in [("PATCH", Some(r#"{"email": null}"#)), ("PUT", Some(r#"{"name": "B"}"#)), ("DELETE", None)] {
            for tag in ["\"1\"", "W/\"2\"", "\"abc\""] {
                with(method, tag, body).await.fails_with(412, "changed_meanwhile");
            }
        }
        assert_eq!(admin.get(path).await.json()["email"], "a@example.test", "nothing was changed");
        let refused = with("DELETE", "2", None).await.fails_with(400, "invalid_field");
        assert_eq!(fields_of(&refused), ["If-Match"]);
        with("PUT", "*", Some(r#"{"name": "B"}"#)).await.is(200);
        with("DELETE", "\"3\"", None).await.is(204);
    }

    async fn a_list_is_paged_searched_filtered_sorted_and_trimmed(server: TestServer) {
        let admin = server.admin();
        admin.post("/api/v1/teams", &json!({"id": "t-1", "name": "T"})).await.is(201);
        for n in 0..25 {
            let team = (n % 2 == 0).then_some("t-1");
            admin.post(OWNERS, &json!({"id": format!("o-{n:02}"), "name": format!("Owner {n:02}"), "team_id": team})).await.is(201);
        }
        let mut seen = Vec::new();
        let mut next = format!("{OWNERS}?per_page=10");
        loop {
            let page = admin.get(&next).await.is(200);
            assert_eq!(page.json()["total"], 25);
            seen.extend(page.column("id"));
            match page.json()["next_cursor"].as_str() {
                Some(cursor) => next = format!("{OWNERS}?per_page=10&cursor={cursor}"),
                None => break,
            }
        }
        let all: Vec<_> = (0..25).map(|n| format!("o-{n:02}")).collect();
        assert_eq!(seen, all);
        assert_eq!(admin.get(&format!("{OWNERS}?per_page=10&page=3")).await.is(200).column("id"), all[20..]);
        for sort in ["sort=-name", "sort=name&sort_desc=true"] {
            assert_eq!(admin.get(&format!("{OWNERS}?{sort}&per_page=1")).await.is(200).column("id"), ["o-24"], "{sort}");
        }
        let filtered = admin.get(&format!("{OWNERS}?team_id=t-1")).await.is(200).json();
        assert_eq!((&filtered["total"], &filtered["per_page"], &filtered["page"]), (&json!(13), &json!(50), &json!(1)));
        assert_eq!(admin.get(&format!("{OWNERS}?q=OWNER%2007")).await.is(200).column("id"), ["o-07"]);
        assert_eq!(admin.get(&format!("{OWNERS}?q=%25")).await.is(200).column("id"), [""; 0]);
        let trimmed = admin.get(&format!("{OWNERS}?fields=name&per_page=1")).await.is(200).json();
        assert_eq!(trimmed["data"], json!([{"id": "o-00", "name": "Owner 00"}]));
    }

    async fn profiles_and_policies_are_nouns_like_the_others(server: TestServer) {
        let admin = server.admin();
        let profile = admin.post("/api/v1/profiles", &json!({"name": "strict", "allowed_key_algorithms": [{"algorithm": "ECDSA", "min_size": 384}]})).await;
        let profile = profile.is(201).json();
        assert_eq!((&profile["allowed_ekus"], &profile["enabled"]), (&json!(["serverAuth"]), &json!(true)));
        let cleared = admin.put("/api/v1/profiles/strict", &json!({"name": "strict"})).await.is(200).json();
        assert_eq!(cleared["allowed_key_algorithms"], json!([]), "a replacement can clear a list");
        let policy = admin.post("/api/v1/renewal-policies", &json!({"name": "early"})).await.is(201).json();
        assert_eq!((&policy["renewal_window_days"], &policy["alert_thresholds_days"]), (&json!(30), &json!([30, 14, 7, 0])));
        let refused = admin.patch("/api/v1/renewal-policies/early", &json!({"renewal_window_days": 0, "max_retries": 99})).await;
        assert_eq!(fields_of(&refused.fails_with(400, "invalid_field")), ["renewal_window_days", "max_retries"]);
        assert_eq!(admin.get("/api/v1/profiles?enabled=true").await.is(200).column("name"), ["strict"]);
    }
}
