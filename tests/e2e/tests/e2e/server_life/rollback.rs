//! The runbook for a way back: every command in it, in order. What is for the cluster is done here as the cluster would; whether the names in
//! it are those of the chart, `cargo xtask helm` sees.

use certctl_testkit::{Database, Engine, require_program};

use super::schemas::{EXPAND, next_release};
use crate::backups::Kept;
use crate::harness::{LONG, Ran, Setup, Tables, blocks, command, product, run};

/// The runbook while it is carried out.
struct Way {
    kept: Kept,
    /// The backup from before the upgrade.
    backup_before: String,
    /// An empty database.
    restored: Database,
    /// The exit code of `migrate check` where it is asked with the database as it is.
    answer: i32,
    /// What was done, for whoever reads a failure.
    done: Vec<String>,
}

impl Way {
    /// An installation whose release was upgraded, by a migration that allows programs that know `oldest` or newer.
    async fn after_an_upgrade(oldest: impl FnOnce(i64) -> i64, answer: i32) -> Self {
        let kept = Kept::open(Engine::Postgres).await;
        kept.world.cli.run(&["certs", "request", "--name", "web", "--san", "web.example.test"]).await.ok();
        let backup_before = kept.create().await["archive"].as_str().unwrap().to_owned();
        let mut tables = Tables::of(&kept.world.server.setup, "the upgrade").await;
        let known = tables.schema().await;
        next_release(&mut tables, EXPAND, oldest(known)).await;
        Self { kept, backup_before, restored: Database::empty(Engine::Postgres).await, answer, done: Vec::new() }
    }

    /// Carries out one line.
    async fn follows(&mut self, line: &str) {
        self.done.push(line.to_owned());
        let words: Vec<&str> = line.split(' ').filter(|word| !["-n", "certctl"].contains(word)).collect();
        match words[..] {
            ["helm", "history", ..] | ["kubectl", "get" | "logs", ..] => {}
            ["kubectl", "exec", "deployment/certctl-server", "--", "certctl-server", ..] | ["certctl-server", ..] => {
                let ran = self.shell(line.split(" -- ").last().unwrap()).await;
                let expected = if line.contains("migrate check") { self.answer } else { 0 };
                ran.ends(expected);
            }
            [assignment, "certctl-server", ..] if assignment.starts_with("CERTCTL_DATABASE_URL=") => drop(self.shell(line).await.ok()),
            ["kubectl", "create", "job", from, ..] if from.ends_with("/certctl-backup") => {
                // As the servers of the release are, its backups are of the schema as it is.
                let ran = self.kept.backup(&["create"]).await;
                ran.ends(self.answer);
            }
            ["kubectl", "wait", ..] | ["kubectl", "patch", "cronjob/certctl-backup", ..] => {}
            ["kubectl", "scale", "deployment/certctl-server", "--replicas=0"] => {
                assert!(self.kept.world.server.stop(LONG).await.success());
            }
            ["helm", "rollback", ..] => {
                assert!(self.kept.world.server.stop(LONG).await.success());
                self.kept.world.server.start_again().await;
            }
            ["kubectl", "rollout", "status", "deployment/certctl-server"] => self.kept.world.server.ready().await,
            _ => panic!("nobody knows how to do this here: {line}, after {:#?}", self.done),
        }
    }

    async fn shell(&self, line: &str) -> Ran {
        let folder = product("certctl-server").parent().unwrap().to_str().unwrap().to_owned();
        let mut shell = command(&self.kept.world.home, require_program("bash"));
        self.kept.world.server.setup.apply(&mut shell);
        shell.env("RESTORED_URL", self.restored.url()).env("BACKUP_BEFORE", &self.backup_before);
        run(shell.args(["-euo", "pipefail", "-c", &format!("PATH='{folder}':\"$PATH\"\n{line}")])).await
    }
}

/// The blocks of the runbook, as lines: what is the same for both ways, and the two ways.
fn runbook() -> [Vec<String>; 3] {
    let blocks: Vec<Vec<String>> =
        blocks("docs/operator/runbooks/rollback.md", "sh").map(|block| block.lines().map(str::to_owned).collect()).collect();
    assert_eq!(blocks.len(), 8, "look, the log of the hook, ask, back up; go back; stop, restore, let backups run");
    [blocks[..4].concat(), blocks[4].clone(), blocks[5..].concat()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_runbook_goes_back_on_a_schema_that_allows_it() {
    let mut way = Way::after_an_upgrade(|known| known, 0).await;
    let [first, back, _] = runbook();
    for line in first.iter().chain(&back) {
        way.follows(line).await;
    }
    assert_eq!(way.kept.names().len(), 4, "two backups with their manifests: {:?}", way.kept.names());
    assert_eq!(way.kept.world.cli.json(&["certs", "list"]).await["total"], 1);
    assert_eq!(way.kept.world.cli.json(&["audit", "verify"]).await["intact"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_runbook_goes_back_with_the_data_where_it_does_not() {
    let mut way = Way::after_an_upgrade(|known| known + 1, 1).await;
    let [first, back, with_data] = runbook();
    let (restore, last) = with_data.split_at(with_data.len() - 1);
    for line in first.iter().chain(restore) {
        way.follows(line).await;
    }
    // The release is given the restored database.
    let setup = way.kept.world.server.setup.clone();
    way.kept.world.server.setup = Setup { ..setup.with("CERTCTL_DATABASE_URL", way.restored.url()) };
    way.kept.world.server.start_again().await;
    way.answer = 0;
    for line in back.iter().chain(last) {
        way.follows(line).await;
    }
    assert_eq!(way.kept.world.cli.json(&["certs", "list"]).await["total"], 1);
    assert_eq!(way.kept.world.cli.json(&["audit", "verify"]).await["intact"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_and_the_statement_of_the_page_on_migrations_work() {
    let page = "docs/operator/migrations.md";
    let way = Way::after_an_upgrade(|known| known, 0).await;
    for block in blocks(page, "sh") {
        way.shell(&block).await.ok();
    }
    let mut tables = Tables::of(&way.kept.world.server.setup, "an operator").await;
    for statement in blocks(page, "sql") {
        // Of a process that there is not.
        tables.run(&statement.replace("4711", "2147483647")).await;
    }
}
