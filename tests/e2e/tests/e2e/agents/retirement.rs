//! The end of an agent, and one agent per state directory.

use certctl_testkit::{Engine, both_databases, wait_for};
use serde_json::{Value, json};

use crate::harness::{LONG, World};

both_databases! {
    async fn a_retired_agent_ends_by_itself_and_is_let_in_no_more(world: World) {
        let mut agent = world.agent("web-host").await;
        let config = json!({"certificate_path": world.home.join("site.pem"), "key_path": world.home.join("site.key")});
        world.target("files", &agent, ("Files", &config)).await;
        world.cli.run(&["certs", "request", "--name", "web", "--san", "web.example.test", "--target", "files", "--wait"]).await.ok();
        let refused = world.cli.run(&["agents", "retire", "web-host", "--yes"]).await.ends(5);
        refused.says(&["1 targets, 1 certificates", "hint: ", "force"]);
        world.cli.run(&["agents", "retire", "web-host", "--force", "--reason", "the host is gone", "--yes"]).await.ok();
        assert!(agent.process().ended(LONG).await.success());
        assert!(agent.process().log().contains("has retired this agent"), "{}", agent.process().log());
        let refused = world.server.api().with_token(&agent.credential()).get(&format!("/api/v1/agents/{}/work", agent.id())).await;
        assert!(matches!(refused.status, 401 | 410), "{}", refused.text);
        refused.problem();
        let shown = world.cli.json(&["agents", "get", &agent.id()]).await;
        assert_eq!((shown["retired_at"].is_string(), &shown["retired_reason"]), (true, &json!("the host is gone")));
        assert_eq!(world.cli.json(&["agents", "list"]).await["total"], 0);
        assert_eq!(world.cli.json(&["targets", "get", "files"]).await["enabled"], false);
    }
}

#[tokio::test]
async fn one_agent_works_with_a_state_directory() {
    let world = World::open(Engine::Sqlite).await;
    let mut agent = world.agent("web-host").await;
    let pid = agent.process().pid().to_string();
    for words in [&["run"][..], &["unenroll", "--yes"]] {
        agent.command(words).await.ends(1).says(&["another certctl-agent", &pid, "hint: ", "--state-dir"]);
    }
    let status: Value = wait_for("an agent that is well", LONG, async || {
        let status = agent.command(&["status", "--json"]).await;
        (status.code == Some(0)).then(|| status.json())
    })
    .await;
    assert_eq!((&status["name"], &status["running_pid"].to_string()), (&json!("web-host"), &pid));
    assert!(agent.stop(LONG).await.success());
    let stopped = agent.command(&["status"]).await.ends(1);
    assert!(stopped.stdout.contains("does not run"), "{}", stopped.stdout);
    agent.start();
    agent.online(&world.cli).await;
}
