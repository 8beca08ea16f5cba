//! How agents get in: with a token that is used once and ends, at a server that they recognize.

use certctl_testkit::{Engine, both_databases, require_program, wait_for};

use crate::harness::{Agent, LONG, World, command, mode_of, names_in, run, run_with_input};

both_databases! {
    async fn a_token_lets_one_agent_in_and_no_second(world: World) {
        let token = world.token("first").await;
        let first = Agent::new(&world.home, "first");
        let enrolled = first.enroll(&world.server, &token).await.ends(0);
        assert!(enrolled.stdout.contains("Enrolled as first") && enrolled.stdout.contains("Next:"), "{}", enrolled.stdout);
        assert_eq!((mode_of(&first.state), mode_of(&first.state.join("identity.json"))), (0o700, 0o600));

        let second = Agent::new(&world.home, "second");
        second.enroll(&world.server, &token).await.ends(1).says(&["error: ", "used already", "hint: ", "certctl agents token create"]);
        assert!(!second.state.join("identity.json").exists());
        first.enroll(&world.server, &token).await.ends(1).says(&["enrolled already", "--replace"]);
        assert_eq!(world.cli.json(&["agents", "list"]).await["total"], 1);
        let used = world.cli.json(&["agents", "token", "list"]).await["data"][0].clone();
        assert_eq!(used["used_by"], first.id(), "{used}");

        // A name is one agent's.
        let again = world.token("first").await;
        second.enroll(&world.server, &again).await.ends(1).says(&["named `first`", "hint: "]);
    }

    async fn tokens_that_are_none_are_refused(world: World) {
        let agent = Agent::new(&world.home, "web-host");
        let taken_back = world.token("web-host").await;
        let id = world.cli.json(&["agents", "token", "list"]).await["data"][0]["id"].as_str().unwrap().to_owned();
        world.cli.run(&["agents", "token", "delete", &id, "--yes"]).await.ok();
        let unknown = format!("ce_00000000-0000-7000-8000-000000000000_{}", "A".repeat(43));
        for token in ["", "nonsense", unknown.as_str(), &taken_back] {
            let refused = agent.enroll(&world.server, token).await.ends(1).says(&["error: ", "hint: "]);
            assert!(token.is_empty() || !refused.stderr.contains(token) || token == "nonsense", "a token is not shown: {}", refused.stderr);
        }
        // What is refused leaves no identity behind.
        assert!(!names_in(&agent.state).contains(&"identity.json".to_owned()));
        assert_eq!(world.cli.json(&["agents", "list"]).await["total"], 0);
    }
}

#[tokio::test]
async fn a_token_ends() {
    let world = World::open(Engine::Postgres).await;
    let token = world.token("late").await;
    let url = world.database.as_ref().unwrap().url().to_owned();
    let mut psql = command(&world.home, require_program("psql"));
    let moved = "UPDATE enrollment_tokens SET expires_at = now() - interval '1 second', created_at = created_at - interval '1 hour'";
    run(psql.args(["--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--command", moved, &url])).await.ok();
    let late = Agent::new(&world.home, "late");
    late.enroll(&world.server, &token).await.ends(1).says(&["expired at ", "hint: ", "certctl agents token create"]);
    let refused = world.cli.run(&["agents", "token", "create", "--name", "x", "--expires-in", "30s"]).await.ends(1);
    refused.says(&["expires_in_seconds", "60"]);
}

#[tokio::test]
async fn an_agent_gives_its_token_only_to_the_server_that_it_recognizes() {
    let world = World::open(Engine::Sqlite).await;
    let token = world.token("web-host").await;
    let agent = Agent::new(&world.home, "web-host");
    let url = world.server.url();
    let enroll = async |words: &[&str]| {
        let mut program = command(&world.home, crate::harness::product("certctl-agent"));
        program.env("CERTCTL_AGENT_STATE_DIR", &agent.state).args(["enroll", "--server", &url, "--token-file", "-"]).args(words);
        run_with_input(&mut program, &token).await
    };
    // No CA of this machine signed the server's certificate, and another pin is another server.
    enroll(&[]).await.ends(1).says(&["error: "]);
    enroll(&["--ca-sha256", &"0".repeat(64)]).await.ends(1).says(&["error: "]);
    // The pin that the server prints at its start is the right one, and the token is still good.
    let pin = wait_for("the pin in the log", LONG, async || {
        let log = world.server.log();
        let (_, rest) = log.split_once("ca_sha256=\"")?;
        Some(rest.split('"').next()?.to_owned())
    })
    .await;
    enroll(&["--ca-sha256", &pin]).await.ok();
    world.home.plant_key(&agent.credential());
    assert_eq!(world.cli.json(&["agents", "get", "web-host"]).await["status"], "Online");
}
