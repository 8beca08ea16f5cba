//! What an agent may do: its own work under the newest hand-out, and nothing else.

use certctl_testkit::both_databases;
use serde_json::{Value, json};

use crate::harness::{Agent, Openssl, World};

both_databases! {
    async fn an_agent_is_nobody_but_itself(world: World) {
        let (mine, other) = (enrolled(&world, "mine").await, enrolled(&world, "other").await);
        let item = waiting_item(&world, &mine).await;
        let (id, job, certificate) = (mine.id(), text(&item, "id"), text(&item, "certificate_id"));
        let (mine_calls, other_calls) = (caller(&world, &mine), caller(&world, &other));
        let csr = json!({"csr_pem": "x", "certificate_id": certificate, "job_id": job, "fence": item["fence"]});
        let report = json!({"status": "Failed", "error": "not by me", "fence": item["fence"]});

        // On the path of another agent.
        other_calls.get(&format!("/api/v1/agents/{id}/work?wait=0")).await.fails_with(403, "forbidden");
        other_calls.post(&format!("/api/v1/agents/{id}/heartbeat"), &json!({})).await.fails_with(403, "forbidden");
        other_calls.post(&format!("/api/v1/agents/{id}/csr"), &csr).await.fails_with(403, "forbidden");
        other_calls.post(&format!("/api/v1/agents/{id}/jobs/{job}/status"), &report).await.fails_with(403, "forbidden");
        other_calls.get(&format!("/api/v1/agents/{id}/certificates/{certificate}")).await.fails_with(403, "forbidden");
        // On its own path with the work of another.
        let own = other.id();
        other_calls.post(&format!("/api/v1/agents/{own}/csr"), &csr).await.is(404).problem();
        other_calls.post(&format!("/api/v1/agents/{own}/jobs/{job}/status"), &report).await.is(404).problem();
        other_calls.get(&format!("/api/v1/agents/{own}/certificates/{certificate}")).await.is(404).problem();
        assert_eq!(other_calls.get(&format!("/api/v1/agents/{own}/work?wait=0")).await.is(200).json()["count"], 0);
        // An agent is no administrator, and an administrator no agent.
        for path in ["/api/v1/certificates", "/api/v1/agents", "/api/v1/auth/apikeys", "/api/v1/audit"] {
            mine_calls.get(path).await.fails_with(403, "forbidden");
        }
        world.api.get(&format!("/api/v1/agents/{id}/work?wait=0")).await.fails_with(403, "forbidden");
        // Nothing of this has touched the job.
        let shown = world.api.get(&format!("/api/v1/jobs/{job}")).await.is(200).json();
        assert_eq!((&shown["status"], &shown["fence"], &shown["last_error"]), (&json!("AwaitingCSR"), &item["fence"], &Value::Null));
    }

    async fn what_comes_under_an_older_hand_out_is_not_taken(world: World) {
        let agent = enrolled(&world, "mine").await;
        let item = waiting_item(&world, &agent).await;
        let (id, job, certificate) = (agent.id(), text(&item, "id"), text(&item, "certificate_id"));
        let calls = caller(&world, &agent);
        let openssl = Openssl::new(&world.home);
        openssl.key("k.pem", "ECDSA-P256").await;
        let csr_pem = openssl.request("k.pem", "mine.example.test", "DNS:mine.example.test").await;
        let older = item["fence"].as_i64().unwrap() - 1;
        let with = |fence: i64| json!({"csr_pem": csr_pem, "certificate_id": certificate, "job_id": job, "fence": fence});
        let csr_path = format!("/api/v1/agents/{id}/csr");
        calls.post(&csr_path, &with(older)).await.fails_with(409, "lease_lost");
        calls.post(&csr_path, &with(older + 1)).await.is(202);
        // The same once more is fine; another one is not.
        calls.post(&csr_path, &with(older + 1)).await.is(202);
        world.cli.run(&["jobs", "wait", &job]).await.ok();
        calls.post(&csr_path, &with(older + 1)).await.is(202);

        let work = calls.get(&format!("/api/v1/agents/{id}/work?wait=20")).await.is(200).json();
        let deployment = work["jobs"].as_array().unwrap().iter().find(|job| job["type"] == "Deployment").unwrap().clone();
        let path = format!("/api/v1/agents/{id}/jobs/{}/status", text(&deployment, "id"));
        let fence = deployment["fence"].as_i64().unwrap();
        let report = |fence: i64, status: &str| json!({"status": status, "fence": fence});
        calls.post(&path, &report(fence - 1, "Completed")).await.fails_with(409, "lease_lost");
        calls.post(&path, &report(fence, "Perfect")).await.is(400).problem();
        calls.post(&path, &report(fence, "Failed")).await.is(200);
        // That attempt is over; a late success of it does not count.
        let late = calls.post(&path, &report(fence, "Completed")).await.is(409).problem();
        assert!(late["hint"].is_string() || late["detail"].as_str().unwrap().contains("cannot be completed"), "{late}");
        let shown = world.api.get(&format!("/api/v1/jobs/{}", text(&deployment, "id"))).await.json();
        assert_eq!((&shown["status"], &shown["attempts"]), (&json!("Pending"), &json!(1)));
        calls.post(&format!("/api/v1/agents/{id}/jobs/{job}/status"), &report(fence, "Failed")).await.fails_with(409, "job_over");
    }
}

/// An agent that is enrolled; the test speaks for it.
async fn enrolled(world: &World, name: &str) -> Agent {
    let agent = Agent::new(&world.home, name);
    agent.enroll(&world.server, &world.token(name).await).await.ok();
    agent
}

/// A request that waits for this agent's CSR, as it is handed out.
async fn waiting_item(world: &World, agent: &Agent) -> Value {
    let config = json!({"certificate_path": world.home.join("site.pem"), "key_path": world.home.join("site.key")});
    world.target("files", agent, ("Files", &config)).await;
    let host = format!("{}.example.test", agent.name);
    world.cli.run(&["certs", "request", "--name", "web", "--san", &host, "--target", "files"]).await.ok();
    let work = caller(world, agent).get(&format!("/api/v1/agents/{}/work?wait=20", agent.id())).await.is(200).json();
    assert_eq!(work["count"], 1, "{work}");
    assert_eq!(work["jobs"][0]["status"], "AwaitingCSR");
    work["jobs"][0].clone()
}

fn caller(world: &World, agent: &Agent) -> crate::harness::Api {
    world.server.api().with_token(&agent.credential())
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap().to_owned()
}
