//! The runbook and the unit file, word for word.

use certctl_testkit::{Engine, require_program};

use super::{Kept, age_pair};
use crate::harness::{blocks, command, in_repository, product, read, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_runbook_works_as_it_stands() {
    let kept = Kept::open(Engine::Postgres).await;
    kept.world.cli.run(&["certs", "request", "--name", "web", "--san", "web.example.test"]).await.ok();
    let (recipient, identity) = age_pair(&kept.world.home, "ours").await;
    let url = kept.world.database.as_ref().unwrap().url().to_owned();
    let (before, options) = url.split_once('?').map_or((url.as_str(), ""), |(before, options)| (before, options));
    let restored = format!("{}/certctl_restored?{options}", before.rsplit_once('/').unwrap().0);
    let setup = kept.world.server.setup.clone();
    let setup = setup.with("CERTCTL_BACKUP_RECIPIENTS", &recipient).with("CERTCTL_BACKUP_IDENTITY_FILE", identity.to_str().unwrap());
    // What a broken run of this test left would be in the way.
    let mut psql = command(&kept.world.home, require_program("psql"));
    run(psql.args([&url, "-c", "DROP DATABASE IF EXISTS certctl_restored"])).await.ok();
    let folder = product("certctl-server").parent().unwrap().to_str().unwrap().to_owned();
    let runbook = blocks("docs/operator/runbooks/postgres-backup.md", "sh");
    for block in runbook.chain(blocks("docs/operator/backup.md", "sh")) {
        let mut shell = command(&kept.world.home, require_program("bash"));
        setup.apply(&mut shell);
        shell.env("RESTORED_URL", &restored).args(["-euo", "pipefail", "-c", &format!("PATH='{folder}':\"$PATH\"\n{block}")]);
        let ran = run(&mut shell).await.ok();
        if block.contains("sha256sum") {
            let lines: Vec<&str> = ran.lines().rev().take(2).collect();
            assert!(ran.contains("TABLE DATA public certificates"), "{ran}");
            assert!(lines[1].starts_with(lines[0]), "the sums differ: {lines:?}");
        }
    }
    assert_eq!(kept.world.cli.json(&["audit", "verify"]).await["intact"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_unit_runs_works() {
    let kept = Kept::open(Engine::Sqlite).await;
    let unit = read(&in_repository("deploy/systemd/certctl-backup.service"));
    let commands: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("ExecStart=/usr/bin/certctl-server ")).collect();
    assert_eq!(commands.len(), 2);
    for line in commands {
        let words: Vec<&str> = line.split(' ').collect();
        kept.world.server.setup.run(&kept.world.home, &words).await.ok();
    }
    assert_eq!(kept.names().len(), 2);
}
