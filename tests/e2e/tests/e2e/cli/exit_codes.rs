//! Every failure has its exit code, and says what happened and what to do next.

use certctl_testkit::{Engine, wait_for, wait_until};
use serde_json::json;

use crate::harness::{Cli, LONG, World, free_port};

#[tokio::test]
async fn each_kind_of_failure_has_its_own_code() {
    let world = World::open(Engine::Sqlite).await;
    let cli = &world.cli;
    cli.run(&["status"]).await.ends(0);

    // 1: refused for what was asked
    let refused = cli.run(&["policies", "create", "--name", "x", "--window-days", "4000"]).await.ends(1);
    refused.says(&["error: renewal_window_days: ", "request id: "]);
    // 2: not understood
    cli.run(&["certs", "lits"]).await.ends(2).says(&["lits"]);
    cli.run(&["certs", "request", "--name", "x", "--san", "a..b"]).await.ends(2).says(&["a..b", "is not a valid host name"]);
    cli.run(&["owners", "delete", "x"]).await.ends(2).says(&["hint: add --yes"]);
    cli.run(&["certs", "list", "--context", "nowhere"]).await.ends(2).says(&["there is no context `nowhere`", "hint: known are "]);
    // 3: not logged in, or not allowed
    Cli::new(&world.home, "nobody")
        .run(&["certs", "list", "--server", &world.server.url()])
        .await
        .ends(3)
        .says(&["hint: certctl login --server"]);
    let viewer = world.key_of("viewer", json!(["r-viewer"])).await;
    let viewer = Cli::new(&world.home, "viewer")
        .with("CERTCTL_SERVER_URL", &world.server.url())
        .with("CERTCTL_CA_FILE", world.server.ca_file().to_str().unwrap())
        .with("CERTCTL_API_KEY", &viewer);
    viewer.run(&["certs", "list"]).await.ok();
    viewer.run(&["owners", "create", "--name", "x"]).await.ends(3).says(&["owner.edit", "hint: "]);
    let stranger = viewer.clone().with("CERTCTL_API_KEY", &format!("ck_0123456789ab_{}", "A".repeat(43)));
    stranger.run(&["certs", "list"]).await.ends(3).says(&["error: ", "hint: "]);
    // 4: not found
    cli.run(&["certs", "get", "none"]).await.ends(4).says(&["error: ", "none"]);
    let targetless = cli.run(&["certs", "request", "--name", "x", "--san", "x.example.test", "--target", "none"]).await.ends(4);
    targetless.says(&["there is no target `none`", "hint: see which there are: certctl targets list"]);
    // 5: conflict
    cli.run(&["teams", "create", "--name", "platform"]).await.ok();
    cli.run(&["owners", "create", "--name", "web-ops", "--team", "platform"]).await.ok();
    cli.run(&["teams", "create", "--name", "platform"]).await.ends(5).says(&["error: "]);
    cli.run(&["teams", "delete", "platform", "--yes"]).await.ends(5).says(&["error: "]);
    // 7: not reached, or not trusted
    let elsewhere = format!("https://127.0.0.1:{}", free_port());
    cli.run(&["certs", "list", "--server", &elsewhere]).await.ends(3).says(&["there is no API key for"]);
    cli.clone()
        .with("CERTCTL_API_KEY", "ck_1_x")
        .run(&["certs", "list", "--server", &elsewhere])
        .await
        .ends(7)
        .says(&["cannot reach", "hint: "]);
    let distrust = Cli::new(&world.home, "distrust").with("CERTCTL_API_KEY", "ck_1_x");
    distrust
        .run(&["certs", "list", "--server", &world.server.url()])
        .await
        .ends(7)
        .says(&["certificate", "hint: give the PEM file of the server's CA with --ca"]);
    // 8: the work failed: a job that somebody stops
    cli.run(&["certs", "request", "--name", "stopped", "--san", "stopped.example.test"]).await.ok();
    let job = cli.jobs("stopped").await[0]["id"].as_str().unwrap().to_owned();
    cli.run(&["jobs", "cancel", &job]).await.ok();
    cli.run(&["jobs", "wait", &job]).await.ends(8).says(&["Cancelled", "hint: "]);
    // 9: the work goes on
    cli.run(&["certs", "request", "--name", "waits", "--san", "waits.example.test", "--wait", "--timeout", "1s"])
        .await
        .ends(9)
        .says(&["hint: ", "certctl certs csr"]);
}

#[tokio::test]
async fn whoever_asks_too_much_is_told_when_to_come_back() {
    let limited = |setup: crate::harness::Setup| setup.with("CERTCTL_LIMITS_REQUESTS_PER_SECOND", "1").with("CERTCTL_LIMITS_BURST", "3");
    let world = World::with(Engine::Sqlite, limited).await;
    let refused = wait_for("a refusal", LONG, async || {
        let ran = world.cli.run(&["owners", "list"]).await;
        (ran.code != Some(0)).then_some(ran)
    })
    .await;
    refused.ends(6).says(&["error: ", "hint: "]);
    wait_until("to be let in again", LONG, async || world.cli.run(&["owners", "list"]).await.code == Some(0)).await;
}
