//! Disks that are full or cannot be written, under the server and under the agent; each in mounts that only the program sees.

use certctl_testkit::{Engine, require_program, wait_until};
use serde_json::{Value, json};

use crate::harness::{LONG, Site, World, command, run};

const NAME: &str = "web.example.test";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_disk_is_full_refuses_and_loses_nothing() {
    let mut world = World::open(Engine::Sqlite).await;
    let site = Site::open(&world, NAME).await;
    world.cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web", "--wait"]).await.ok();
    assert!(world.server.stop(LONG).await.success());
    let data = world.server.setup.data.to_str().unwrap().to_owned();
    run(command(&world.home, require_program("cp")).args(["-a", &data, &format!("{data}.kept")])).await.ok();
    let script = format!("mount -t tmpfs -o size=16m tmpfs '{data}'\ncp -a '{data}.kept/.' '{data}/'\nchmod 700 '{data}'");
    world.server.start_again_in_own_mounts(&script).await;
    let owner = async |name: &str| world.api.post("/api/v1/owners", &json!({"name": name, "email": "o@example.test"})).await;
    owner("before").await.is(201);

    let fill = format!("dd if=/dev/zero of='{data}/ballast' bs=4k 2>/dev/null; true");
    world.server.process().among_its_mounts(&world.home, &fill).await;
    let mut written = 0;
    let refused = loop {
        let reply = owner(&format!("meanwhile-{written}")).await;
        if reply.status != 201 {
            break reply;
        }
        written += 1;
        assert!(written < 10_000, "the disk is never full");
    };
    assert_eq!(refused.status, 503, "{}", refused.text);
    refused.problem();
    world.api.get("/api/v1/owners").await.is(200);

    world.server.process().among_its_mounts(&world.home, &format!("rm '{data}/ballast'")).await;
    wait_until("writing to work again", LONG, async || owner("after").await.status == 201).await;
    let owners = world.api.get("/api/v1/owners?per_page=500").await.is(200).json();
    assert_eq!(owners["total"], written + 2, "what was said to be written is there, and nothing else");
    world.cli.run(&["certs", "renew", "web", "--wait"]).await.ok();
    let version = world.cli.current_version("web").await;
    site.nginx.serves(NAME, version["fingerprint_sha256"].as_str().unwrap()).await;
    assert_eq!(world.cli.json(&["audit", "verify"]).await["intact"], true);
    assert!(!world.server.log().contains("panicked"));
}

/// An agent that cannot keep a key says so, sends nothing, and goes on when it can.
async fn no_key_can_be_kept(spoil: &str, mend: &str, said: &str) {
    let world = World::open(Engine::Sqlite).await;
    let mut site = Site::open(&world, NAME).await;
    assert!(site.agent.stop(LONG).await.success());
    let keys = site.agent.state.join("keys");
    std::fs::create_dir_all(&keys).unwrap();
    let at = |script: &str| script.replace("{keys}", keys.to_str().unwrap());
    site.agent.start_in_own_mounts(&at(spoil));
    world.cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web"]).await.ok();
    let last_error = async || world.cli.jobs("web").await.first().and_then(|job| job["last_error"].as_str().map(str::to_owned));
    wait_until("the agent to say why", LONG, async || last_error().await.is_some_and(|error| error.contains(said))).await;
    let job = world.cli.jobs("web").await.remove(0);
    assert!(job["status"] == "AwaitingCSR" && job["hint"] != Value::Null, "{job:#}");
    site.agent.process().among_its_mounts(&world.home, &at(mend)).await;
    // Whoever has mended it does not wait for the next try.
    world.cli.run(&["certs", "renew", "web"]).await.ok();
    world.cli.run(&["certs", "wait", "web", "--timeout", "110s"]).await.ok();
    let version = world.cli.current_version("web").await;
    site.nginx.serves(NAME, version["fingerprint_sha256"].as_str().unwrap()).await;
    assert_eq!(world.cli.json(&["certs", "versions", "web"]).await["total"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_disk_is_full_says_so_and_goes_on_when_it_is_not() {
    let (spoil, mend) = ("mount -t tmpfs -o nr_inodes=1,mode=700 tmpfs '{keys}'", "mount -o remount,nr_inodes=1000 '{keys}'");
    no_key_can_be_kept(spoil, mend, "disk is full").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_keys_cannot_be_written_says_so_and_goes_on_when_they_can() {
    let spoil = "mount --bind '{keys}' '{keys}'\nmount -o remount,bind,ro '{keys}'";
    no_key_can_be_kept(spoil, "mount -o remount,bind,rw '{keys}'", "read-only").await;
}
