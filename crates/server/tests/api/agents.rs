//! Agents as callers: each speaks for itself alone, and for nobody once it is retired.

use certctl_engine::auth::token;
use certctl_testkit::both_databases;
use serde_json::json;

use crate::support::{Caller, TestServer};

/// An enrolled agent: its id and itself as a caller.
pub(crate) async fn enroll(server: &TestServer, name: &str) -> (String, Caller) {
    let minted = server.admin().post("/api/v1/agents/enrollment-tokens", &json!({"agent_name": name})).await.is(201).json();
    let secret = format!("{name}-{}", "s".repeat(43));
    let body = json!({"token": minted["token_value"], "secret_sha256": token::hash(&secret)});
    let agent = server.nobody().post("/api/v1/agents/enroll", &body).await.is(201).json();
    let credential = format!("{}{secret}", agent["credential_prefix"].as_str().unwrap());
    (agent["agent_id"].as_str().unwrap().to_owned(), server.caller(&credential))
}

both_databases! {
    async fn an_agent_speaks_for_itself_alone(server: TestServer) {
        let ((one, agent), (other, _)) = (enroll(&server, "one").await, enroll(&server, "other").await);
        let heartbeat = |id: &str| format!("/api/v1/agents/{id}/heartbeat");
        agent.post(&heartbeat(&one), &json!({})).await.is(200);
        agent.post(&heartbeat(&other), &json!({})).await.fails_with(403, "forbidden");
        agent.post(&heartbeat("one"), &json!({})).await.fails_with(403, "forbidden");
        server.admin().post(&heartbeat(&one), &json!({})).await.fails_with(403, "forbidden");
        let me = agent.get("/api/v1/auth/me").await.is(200).json();
        assert_eq!((&me["actor_id"], &me["actor_type"], &me["roles"]), (&json!(one), &json!("Agent"), &json!(["r-agent"])));
        // What its role allows, it may do for itself; it is no key to the rest of the API.
        for path in ["/api/v1/certificates", "/api/v1/agents", "/api/v1/owners"] {
            let refused = agent.get(path).await.fails_with(403, "forbidden");
            assert!(refused["detail"].as_str().unwrap().contains(&format!("/api/v1/agents/{one}/")), "{refused}");
        }
    }

    async fn a_retired_agent_is_nobody(server: TestServer) {
        let (id, agent) = enroll(&server, "one").await;
        let heartbeat = format!("/api/v1/agents/{id}/heartbeat");
        agent.post(&heartbeat, &json!({})).await.is(200);
        let wrong = server.caller(&format!("{}x", agent.token()));
        wrong.post(&heartbeat, &json!({})).await.fails_with(401, "credential_unknown");
        server.admin().delete(&format!("/api/v1/agents/{id}")).await.is(200);
        agent.post(&heartbeat, &json!({})).await.fails_with(410, "agent_retired");
    }
}
