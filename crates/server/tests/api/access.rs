//! Roles and actors: what may be given, what may be taken, and what stays.

use certctl_testkit::both_databases;
use serde_json::{Value, json};

use crate::support::{TestServer, fields_of};

both_databases! {
    async fn nobody_gives_what_they_do_not_hold(server: TestServer) {
        let editor = server.holder_of("editor", json!(["auth.role.create", "auth.role.edit", "auth.role.list", "auth.role.assign", "owner.read"])).await;
        editor.post("/api/v1/auth/roles", &json!({"id": "r-fine", "name": "fine", "permissions": ["owner.read"]})).await.is(201);
        let body = json!({"name": "greedy", "permissions": ["owner.read", "cert.revoke"]});
        let refused = editor.post("/api/v1/auth/roles", &body).await.fails_with(403, "beyond_own_permissions");
        assert!(refused["detail"].as_str().unwrap().contains("cert.revoke"), "{refused}");
        editor.get("/api/v1/auth/roles?q=greedy").await.is(200).column("id").is_empty().then_some(()).expect("nothing was made");
        editor.post("/api/v1/auth/roles/r-fine/permissions", &json!({"permission": "cert.revoke"})).await.fails_with(403, "beyond_own_permissions");
        editor.patch("/api/v1/auth/roles/r-fine", &json!({"permissions": ["cert.revoke"]})).await.fails_with(403, "beyond_own_permissions");
        let admin = json!({"name": "me", "roles": ["r-admin"]});
        editor.post("/api/v1/auth/actors", &admin).await.fails_with(403, "beyond_own_permissions");
        editor.post("/api/v1/auth/keys/actor-editor/roles", &json!({"role_id": "r-admin"})).await.fails_with(403, "beyond_own_permissions");
        editor.post("/api/v1/auth/keys/actor-editor/roles", &json!({"role_id": "r-fine"})).await.is(204);
        // Held in one scope alone, it cannot be given everywhere.
        let scoped = json!([{"permission": "owner.edit", "scope_type": "profile", "scope_id": "prof-1"}, "auth.role.create"]);
        let narrow = server.holder_of("narrow", scoped.clone()).await;
        narrow.post("/api/v1/auth/roles", &json!({"name": "wide", "permissions": ["owner.edit"]})).await.fails_with(403, "beyond_own_permissions");
        narrow.post("/api/v1/auth/roles", &json!({"name": "as narrow", "permissions": scoped})).await.is(201);
    }

    async fn roles_of_the_product_stay_as_they_are(server: TestServer) {
        let admin = server.admin();
        let before = admin.get("/api/v1/auth/roles/r-viewer").await.is(200).json();
        admin.put("/api/v1/auth/roles/r-viewer", &json!({"name": "viewer", "permissions": []})).await.fails_with(409, "system_role");
        admin.patch("/api/v1/auth/roles/r-viewer", &json!({"description": "x"})).await.fails_with(409, "system_role");
        admin.delete("/api/v1/auth/roles/r-viewer").await.fails_with(409, "system_role");
        admin.post("/api/v1/auth/roles/r-viewer/permissions", &json!({"permission": "cert.revoke"})).await.fails_with(409, "system_role");
        admin.delete("/api/v1/auth/roles/r-viewer/permissions/cert.read").await.fails_with(409, "system_role");
        assert_eq!(admin.get("/api/v1/auth/roles/viewer").await.is(200).json(), before);
    }

    async fn permissions_of_a_role_come_and_go(server: TestServer) {
        let admin = server.admin();
        admin.post("/api/v1/auth/roles", &json!({"id": "r-x", "name": "x", "permissions": ["cert.read"]})).await.is(201);
        let scoped = json!({"permission": "cert.read", "scope_type": "issuer", "scope_id": "iss-1"});
        admin.post("/api/v1/auth/roles/r-x/permissions", &scoped).await.is(204);
        admin.post("/api/v1/auth/roles/r-x/permissions", &scoped).await.is(204);
        let held = async || {
            let role = admin.get("/api/v1/auth/roles/r-x").await.is(200).json();
            assert_eq!(role["role"]["id"], "r-x");
            role["permissions"].as_array().unwrap().iter().map(|grant| grant["scope_type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(held().await, ["global", "issuer"]);
        admin.delete("/api/v1/auth/roles/r-x/permissions/cert.read?scope_type=issuer&scope_id=iss-2").await.fails_with(404, "not_found");
        admin.delete("/api/v1/auth/roles/r-x/permissions/cert.read?scope_type=issuer&scope_id=iss-1").await.is(204);
        assert_eq!(held().await, ["global"]);
        admin.post("/api/v1/auth/roles/r-x/permissions", &scoped).await.is(204);
        admin.delete("/api/v1/auth/roles/r-x/permissions/cert.read").await.is(204);
        assert_eq!(held().await, [""; 0]);
        admin.delete("/api/v1/auth/roles/r-x/permissions/cert.write").await.fails_with(400, "invalid_field");
        for (body, field) in [
            (json!({"permission": "cert.read", "scope_type": "global", "scope_id": "x"}), "scope_id"),
            (json!({"permission": "cert.read", "scope_type": "profile"}), "scope_id"),
            (json!({"permission": "cert.read", "scope_type": "team"}), "scope_type"),
            (json!({"permission": "cert.write"}), "permission"),
        ] {
            let refused = admin.post("/api/v1/auth/roles/r-x/permissions", &body).await.fails_with(400, "invalid_field");
            assert_eq!(fields_of(&refused), [field], "{refused}");
        }
    }

    async fn a_role_can_be_sent_back_as_it_was_read(server: TestServer) {
        let admin = server.admin();
        admin.post("/api/v1/auth/roles", &json!({"id": "r-x", "name": "x", "permissions": ["cert.read"]})).await.is(201);
        let read = admin.get("/api/v1/auth/roles/r-x").await.is(200).json();
        admin.put("/api/v1/auth/roles/r-x", &read).await.is(200);
        let old_shape: Value = read["role"].clone();
        admin.put("/api/v1/auth/roles/r-x", &old_shape).await.is(200);
        let after = admin.get("/api/v1/auth/roles/r-x").await.is(200).json();
        assert_eq!(after["permissions"], read["permissions"], "a replacement that names none keeps them");
        assert_eq!(after["revision"], 3);
    }

    async fn a_role_in_use_is_not_deleted(server: TestServer) {
        let admin = server.admin();
        server.holder_of("held", json!(["owner.read"])).await;
        admin.delete("/api/v1/auth/roles/r-held").await.fails_with(409, "in_use");
        admin.delete("/api/v1/auth/keys/actor-held/roles/r-held").await.is(204);
        admin.delete("/api/v1/auth/keys/actor-held/roles/r-held").await.fails_with(404, "not_found");
        admin.delete("/api/v1/auth/roles/r-held").await.is(204);
        admin.get("/api/v1/auth/roles/r-held").await.fails_with(404, "not_found");
    }

    async fn what_is_there_already_or_not_there_at_all_is_told(server: TestServer) {
        let admin = server.admin();
        admin.post("/api/v1/auth/roles", &json!({"name": "viewer", "permissions": []})).await.fails_with(409, "name_taken");
        admin.post("/api/v1/auth/actors", &json!({"id": "actor-admin", "name": "x"})).await.fails_with(409, "name_taken");
        admin.post("/api/v1/auth/actors", &json!({"id": "ag-1", "name": "x"})).await.fails_with(409, "reserved");
        let refused = admin.post("/api/v1/auth/actors", &json!({"name": "x", "roles": ["r-none"]})).await.fails_with(400, "invalid_field");
        assert_eq!(fields_of(&refused), ["roles.0"]);
        admin.post("/api/v1/auth/keys/actor-admin/roles", &json!({"role_id": "r-none"})).await.fails_with(404, "not_found");
        admin.post("/api/v1/auth/keys/actor-none/roles", &json!({"role_id": "r-viewer"})).await.fails_with(404, "not_found");
    }

    async fn the_last_administrator_stays(server: TestServer) {
        let admin = server.admin();
        let key = admin.get("/api/v1/auth/apikeys?actor_id=actor-admin").await.column("id").remove(0);
        let key = format!("/api/v1/auth/apikeys/{key}");
        for (method, path, body) in [
            ("DELETE", key.as_str(), None),
            ("DELETE", "/api/v1/auth/keys/actor-admin/roles/r-admin", None),
            ("DELETE", "/api/v1/auth/actors/actor-admin", None),
            ("POST", "/api/v1/auth/actors/actor-admin/disable", Some(json!({}))),
            ("PUT", "/api/v1/auth/actors/actor-admin", Some(json!({"name": "admin", "roles": ["r-viewer"]}))),
            ("PATCH", "/api/v1/auth/actors/actor-admin", Some(json!({"roles": [{"role_id": "r-admin", "expires_at": "2027-01-01T00:00:00Z"}]}))),
        ] {
            admin.send(method, path, &[], body.map(|body| body.to_string())).await.fails_with(409, "last_admin");
        }
        // An administrator without a key is none.
        admin.post("/api/v1/auth/actors", &json!({"id": "actor-second", "name": "second", "roles": ["r-admin"]})).await.is(201);
        admin.delete(&key).await.fails_with(409, "last_admin");
        let second = admin.post("/api/v1/auth/apikeys", &json!({"actor_id": "actor-second"})).await.is(201).json();
        admin.delete("/api/v1/auth/actors/actor-admin").await.is(204);
        let second = server.caller(second["key_value"].as_str().unwrap());
        second.get("/api/v1/auth/me").await.is(200);
        second.delete("/api/v1/auth/actors/actor-second").await.fails_with(409, "last_admin");
    }

    async fn the_old_names_are_served(server: TestServer) {
        let admin = server.admin();
        let roles = admin.get("/api/v1/auth/roles").await.is(200).json();
        assert_eq!(roles["roles"], roles["data"]);
        assert_eq!(roles["roles"].as_array().unwrap().len(), 8);
        let keys = admin.get("/api/v1/auth/keys").await.is(200).json();
        assert_eq!(keys["keys"], json!([{"actor_id": "actor-admin", "actor_type": "APIKey", "tenant_id": "t-default", "role_ids": ["r-admin"]}]));
        let permissions = admin.get("/api/v1/auth/permissions").await.is(200).json();
        assert!(permissions["permissions"].as_array().unwrap().contains(&json!({"id": "auth.key.list", "name": "auth.key.list", "namespace": "auth.key"})));
        let check = admin.get("/api/v1/auth/check").await.is(200).json();
        assert_eq!((&check["status"], &check["user"], &check["admin"]), (&json!("authenticated"), &json!("actor-admin"), &json!(true)));
        assert_eq!(server.nobody().get("/api/v1/auth/info").await.is(200).json(), json!({"auth_type": "api-key", "required": true}));
        let config = admin.get("/api/v1/auth/runtime-config").await.is(200).json();
        assert_eq!(config["runtime_config"]["server.listen"], "0.0.0.0:8443");
    }

    async fn every_change_of_access_is_in_the_audit_log(server: TestServer) {
        let admin = server.admin();
        server.holder_of("seen", json!(["owner.read"])).await;
        admin.post("/api/v1/auth/actors/actor-seen/disable", &json!({})).await.is(200);
        let key = admin.get("/api/v1/auth/apikeys?actor_id=actor-seen").await.column("id").remove(0);
        admin.delete(&format!("/api/v1/auth/apikeys/{key}")).await.is(204);
        admin.delete("/api/v1/auth/actors/actor-seen").await.is(204);
        admin.delete("/api/v1/auth/roles/r-seen").await.is(204);
        let events = admin.get("/api/v1/audit?category=auth&actor=actor-admin&per_page=500").await.is(200);
        let mut actions = events.column("action");
        actions.sort();
        let expected =
            ["actor.create", "actor.delete", "actor.disable", "api_key.create", "api_key.delete", "api_key.delete_all", "role.create", "role.delete"];
        assert_eq!(actions, expected);
        assert!(events.json()["data"].as_array().unwrap().iter().all(|event| event["request_id"].is_string()));
    }
}
