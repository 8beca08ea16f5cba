//! From one major version of PostgreSQL to another, as the runbook has it.

use certctl_testkit::{OwnCluster, require_postgres_18, require_program};

use crate::harness::{LONG, Setup, Site, Tables, World, blocks, command, product, run};

const NAME: &str = "web.example.test";

/// Runs a block of the runbook with these settings, as the first administrator.
async fn script(world: &World, setup: &Setup, new: &str, block: &str) -> String {
    let folder = product("certctl-server").parent().unwrap().to_str().unwrap().to_owned();
    let mut shell = command(&world.home, require_program("bash"));
    setup.apply(&mut shell);
    shell.env("NEW_URL", new).env("XDG_CONFIG_HOME", world.home.join("cli"));
    run(shell.args(["-euo", "pipefail", "-c", &format!("PATH='{folder}':\"$PATH\"\n{block}")])).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_runbook_moves_an_installation_to_another_major_version() {
    let (old, new) = (OwnCluster::start(), OwnCluster::start_18());
    let mut world = World::on(None, |setup| setup.with_postgres(&old.url())).await;
    let site = Site::open(&world, NAME).await;
    world.cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web", "--wait"]).await.ok();
    let first = world.cli.current_version("web").await;
    let mut majors = Vec::new();
    for url in [old.url(), new.url()] {
        majors.push(Tables::at(&url, "test").await.number("SELECT current_setting('server_version_num')::bigint / 10000").await);
    }
    assert!(majors[0] < majors[1], "{majors:?}");

    let backups = world.home.join("backups");
    std::fs::create_dir(&backups).unwrap();
    let setup = world.server.setup.clone().with("CERTCTL_BACKUP_DIRECTORY", backups.to_str().unwrap());
    let setup = setup.with("CERTCTL_BACKUP_POSTGRES_BIN", require_postgres_18().to_str().unwrap());
    let mut page = blocks("docs/operator/runbooks/postgres-major-upgrade.md", "sh");
    let [look, back_up, restore, after] = [(); 4].map(|()| page.next().unwrap());
    assert!(script(&world, &setup, &new.url(), &look).await.contains(&format!("{}.", majors[1])));
    assert!(world.server.stop(LONG).await.success());
    script(&world, &setup, &new.url(), &back_up).await;
    script(&world, &setup, &new.url(), &restore).await;
    old.stop();
    world.server.setup = world.server.setup.clone().with_postgres(&new.url());
    world.server.start_again().await;
    script(&world, &setup, &new.url(), &after).await;

    // The agent is the same, and goes on.
    assert_eq!(world.cli.current_version("web").await["id"], first["id"]);
    world.cli.run(&["certs", "renew", "web", "--wait"]).await.ok();
    let renewed = world.cli.current_version("web").await;
    assert_ne!(renewed["id"], first["id"]);
    site.nginx.serves(NAME, renewed["fingerprint_sha256"].as_str().unwrap()).await;
    assert_eq!(world.cli.json(&["audit", "verify"]).await["intact"], true);
}
