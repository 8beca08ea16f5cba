//! Bad input: each is refused with words that say what and where, and nothing is changed.

use certctl_server::state::Limits;
use certctl_testkit::both_databases;
use serde_json::json;

use crate::support::{TestServer, fields_of};

const OWNERS: &str = "/api/v1/owners";

both_databases! {
    async fn a_body_that_is_not_as_it_should_be_is_refused(server: TestServer) {
        let admin = server.admin();
        let deep = "[".repeat(200_000);
        for (body, status, code, field, said) in [
            ("", 400, "malformed_json", None, "EOF while parsing"),
            ("{", 400, "malformed_json", None, "line 1 column 1"),
            ("{\"name\":\n \"x\",,}", 400, "malformed_json", None, "line 2 column 6"),
            ("{\"name\": \"x\"} x", 400, "malformed_json", None, "trailing characters"),
            ("{'name': 'x'}", 400, "malformed_json", None, "line 1"),
            ("{\"name\": \"\\ud800\"}", 400, "malformed_json", None, "line 1"),
            ("null", 400, "invalid_field", Some("body"), "invalid type: null"),
            ("[]", 400, "invalid_field", Some("body"), "must be an object"),
            (deep.as_str(), 400, "invalid_field", Some("body"), "must be an object"),
            ("\"name\"", 400, "invalid_field", Some("body"), "expected a map"),
            ("{}", 400, "invalid_field", Some("name"), "is missing"),
            ("{\"name\": 5}", 400, "invalid_field", Some("name"), "expected a string"),
            ("{\"name\": \"x\", \"mail\": \"y\"}", 400, "invalid_field", Some("mail"), "is not a field here; there is `id`, `name`, `email`"),
            ("{\"name\": \"x\", \"email\": [\"y\"]}", 400, "invalid_field", Some("email"), "invalid type"),
            ("{\"name\": \"x\", \"email\": \"nobody\"}", 400, "invalid_field", Some("email"), "email"),
            ("{\"name\": \"\"}", 400, "invalid_field", Some("name"), "must not be empty"),
            ("{\"name\": \"a\\u202eb\"}", 400, "invalid_field", Some("name"), "name"),
            ("{\"name\": \"x\", \"id\": \"../x\"}", 400, "invalid_field", Some("id"), "is not an identifier"),
            ("{\"name\": \"x\", \"team_id\": \"t-none\"}", 409, "reference", None, "does not exist"),
        ] {
            let shown: String = body.chars().take(80).collect();
            let problem = admin.send("POST", OWNERS, &[], Some(body.to_owned())).await.fails_with(status, code);
            assert!(problem["detail"].as_str().unwrap().contains(said), "{shown}: {problem}");
            assert_eq!(fields_of(&problem).first().copied(), field, "{shown}: {problem}");
        }
        assert_eq!(admin.get(OWNERS).await.json()["total"], 0);
    }

    async fn a_patch_that_is_not_as_it_should_be_is_refused(server: TestServer) {
        let admin = server.admin();
        admin.post(OWNERS, &json!({"id": "o-1", "name": "A"})).await.is(201);
        for (body, field) in [
            (json!({"mail": "x"}), "mail"),
            (json!({"name": null}), "name"),
            (json!({"name": 5}), "name"),
            (json!({"name": ""}), "name"),
            (json!({"id": "o-2"}), "id"),
            (json!(["x"]), "body"),
        ] {
            let problem = admin.patch("/api/v1/owners/o-1", &body).await.fails_with(400, "invalid_field");
            assert!(fields_of(&problem).contains(&field) || problem["detail"].as_str().unwrap().starts_with(field), "{body}: {problem}");
        }
        let headers = [("content-type", "application/merge-patch+json")];
        admin.send("PATCH", "/api/v1/owners/o-1", &headers, Some(json!({"name": "B"}).to_string())).await.is(200);
        assert_eq!(admin.get("/api/v1/owners/o-1").await.json()["revision"], 2);
    }

    async fn a_body_is_bounded(server: TestServer) {
        let admin = server.admin();
        let ten_megabytes = json!({"name": "x".repeat(10_000_000)});
        for problem in [admin.post(OWNERS, &ten_megabytes).await, admin.put("/api/v1/owners/o-1", &ten_megabytes).await] {
            // For the second the owner is not there, which is as good an answer.
            assert!(matches!(problem.status, 413 | 404), "{}", problem.text);
            problem.problem();
        }
        let headers = [("idempotency-key", "big")];
        admin.send("POST", OWNERS, &headers, Some(ten_megabytes.to_string())).await.fails_with(413, "body_too_large");
        let strict = TestServer::with_limits(server.store.database().engine(), Limits { body: 20, ..Limits::default() }).await;
        strict.admin().post(OWNERS, &json!({"name": "x"})).await.is(201);
        strict.admin().post(OWNERS, &json!({"name": "a name that is too long"})).await.fails_with(413, "body_too_large");
    }

    async fn a_body_of_another_kind_is_refused(server: TestServer) {
        let admin = server.admin();
        let body = || Some(json!({"name": "x"}).to_string());
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json-seq", "", "application/merge-patch+json"] {
            admin.send("POST", OWNERS, &[("content-type", kind)], body()).await.fails_with(415, "unsupported_media_type");
        }
        admin.send("POST", OWNERS, &[("content-type", "Application/JSON; charset=utf-8")], body()).await.is(201);
    }

    async fn a_list_that_cannot_be_given_is_refused(server: TestServer) {
        let admin = server.admin();
        for n in 0..3 {
            admin.post(OWNERS, &json!({"name": format!("o{n}")})).await.is(201);
        }
        let cursor = admin.get(&format!("{OWNERS}?per_page=1")).await.json()["next_cursor"].as_str().unwrap().to_owned();
        for (query, field) in [
            ("per_page=0".to_owned(), "per_page"),
            ("per_page=501".to_owned(), "per_page"),
            ("per_page=-1".to_owned(), "per_page"),
            ("per_page=x".to_owned(), "per_page"),
            ("page=0".to_owned(), "page"),
            ("page=10001".to_owned(), "page"),
            ("cursor=xyz".to_owned(), "cursor"),
            ("cursor=".to_owned(), "cursor"),
            (format!("cursor={cursor}&sort=id"), "cursor"),
            ("sort=email".to_owned(), "sort"),
            ("sort=name;DROP%20TABLE%20owners".to_owned(), "sort"),
            ("owner=x".to_owned(), "owner"),
            ("fields=secret_hash".to_owned(), "fields"),
            (format!("q={}", "x".repeat(201)), "q"),
        ] {
            let problem = admin.get(&format!("{OWNERS}?{query}")).await.fails_with(400, "invalid_query");
            assert_eq!(fields_of(&problem), [field], "{query}: {problem}");
        }
        let problem = admin.get("/api/v1/profiles?enabled=perhaps").await.fails_with(400, "invalid_query");
        assert_eq!(fields_of(&problem), ["enabled"]);
        admin.get("/api/v1/audit/export?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&colour=red").await.fails_with(400, "invalid_query");
    }

    async fn what_is_taken_or_still_needed_is_told(server: TestServer) {
        let admin = server.admin();
        admin.post("/api/v1/teams", &json!({"id": "t-1", "name": "T"})).await.is(201);
        admin.post(OWNERS, &json!({"id": "o-1", "name": "A", "team_id": "t-1"})).await.is(201);
        let taken = admin.post(OWNERS, &json!({"name": "A"})).await.fails_with(409, "name_taken");
        assert!(taken["detail"].as_str().unwrap().contains("name of this owner"), "{taken}");
        let taken = admin.post(OWNERS, &json!({"id": "o-1", "name": "B"})).await.fails_with(409, "name_taken");
        assert!(taken["detail"].as_str().unwrap().contains("id of this owner"), "{taken}");
        admin.post(OWNERS, &json!({"name": "B"})).await.is(201);
        admin.patch("/api/v1/owners/B", &json!({"name": "A"})).await.fails_with(409, "name_taken");
        admin.delete("/api/v1/teams/t-1").await.fails_with(409, "in_use");
        admin.delete("/api/v1/owners/o-1").await.is(204);
        admin.delete("/api/v1/teams/t-1").await.is(204);
        admin.post(OWNERS, &json!({"name": "C", "team_id": "t-1"})).await.fails_with(409, "reference");
    }
}
