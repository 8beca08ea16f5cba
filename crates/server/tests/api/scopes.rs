//! A grant in a scope reaches what lies in it and nothing else: lists are filtered, the rest is not there.

use certctl_testkit::both_databases;
use serde_json::json;

use crate::support::TestServer;

both_databases! {
    async fn a_grant_for_one_profile_reaches_that_profile(server: TestServer) {
        let admin = server.admin();
        for id in ["prof-a", "prof-b"] {
            admin.post("/api/v1/profiles", &json!({"id": id, "name": id})).await.is(201);
        }
        let grant = |permission: &str| json!({"permission": permission, "scope_type": "profile", "scope_id": "prof-a"});
        let caller = server.holder_of("a-only", json!([grant("profile.read"), grant("profile.edit"), grant("profile.delete")])).await;
        let list = caller.get("/api/v1/profiles").await.is(200);
        assert_eq!((list.column("id"), &list.json()["total"]), (vec!["prof-a".to_owned()], &json!(1)));
        caller.get("/api/v1/profiles/prof-a").await.is(200);
        caller.patch("/api/v1/profiles/prof-a", &json!({"description": "mine"})).await.is(200);
        caller.get("/api/v1/profiles/prof-b").await.fails_with(404, "not_found");
        caller.patch("/api/v1/profiles/prof-b", &json!({"description": "mine"})).await.fails_with(404, "not_found");
        caller.put("/api/v1/profiles/prof-b", &json!({"name": "prof-b"})).await.fails_with(404, "not_found");
        caller.delete("/api/v1/profiles/prof-b").await.fails_with(404, "not_found");
        caller.post("/api/v1/profiles", &json!({"name": "new"})).await.fails_with(403, "forbidden");
        caller.delete("/api/v1/profiles/prof-a").await.is(204);
        assert_eq!(admin.get("/api/v1/profiles").await.column("id"), ["prof-b"]);
    }

    async fn a_role_held_in_a_scope_is_as_narrow_as_the_scope(server: TestServer) {
        let admin = server.admin();
        for id in ["prof-a", "prof-b"] {
            admin.post("/api/v1/profiles", &json!({"id": id, "name": id})).await.is(201);
        }
        let caller = server.actor_with("scoped", json!([{"role_id": "r-viewer", "scope_type": "profile", "scope_id": "prof-b"}])).await;
        assert_eq!(caller.get("/api/v1/profiles").await.is(200).column("id"), ["prof-b"]);
        // Owners lie in no scope, and neither does the audit log: a grant in one does not open them.
        admin.post("/api/v1/owners", &json!({"id": "o-1", "name": "A"})).await.is(201);
        let refused = caller.get("/api/v1/owners").await.fails_with(403, "forbidden");
        assert!(refused["detail"].as_str().unwrap().contains("owner.read"), "{refused}");
        caller.get("/api/v1/owners/o-1").await.fails_with(403, "forbidden");
        caller.get("/api/v1/audit").await.fails_with(403, "forbidden");
        // A global grant beside it reaches everything.
        admin.post("/api/v1/auth/keys/actor-scoped/roles", &json!({"role_id": "r-viewer"})).await.is(204);
        assert_eq!(caller.get("/api/v1/profiles").await.is(200).column("id"), ["prof-a", "prof-b"]);
        caller.get("/api/v1/owners/o-1").await.is(200);
    }
}
