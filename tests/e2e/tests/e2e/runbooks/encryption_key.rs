//! A new encryption key while servers run: a rotation that is killed, a server that was forgotten, and a backup under the old key.

use std::sync::Arc;

use certctl_testkit::{Database, both_databases, require_program, wait_for, wait_until};
use nix::sys::signal::Signal;

use super::issues;
use crate::harness::{Home, LONG, Operator, Process, Server, Setup, World, blocks, command, product, read, run};

both_databases! {
    async fn the_key_is_changed_while_servers_work(world: World) {
        let fleet = Fleet::of(world).await;
        let mut page = blocks("docs/operator/runbooks/encryption-key-rotation.md", "sh");
        let mut settings = blocks("docs/operator/runbooks/encryption-key-rotation.md", "toml");
        fleet.everywhere("before").await;

        // 1. Look; where the server made the key itself, it becomes a setting.
        let adopt = page.next_with("install -m 0600");
        if fleet.world.database.is_none() {
            fleet.operator.runs(&adopt).await.ok();
        }
        let shown = fleet.operator.runs(&page.next_with("rotate-key --check")).await.ok();
        assert!(shown.lines().nth(1).is_some_and(|line| line.ends_with("current")) && shown.lines().count() == 2, "{shown}");
        let old = shown.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();

        // 2. A new key.
        let new = fleet.operator.runs(&page.next_with("openssl rand")).await.ok().trim().to_owned();
        assert!(new.len() == 8 && new != old, "{new}");
        fleet.world.home.plant(&read(&fleet.world.home.join("etc/encryption-new.key")));
        fleet.operator.runs(&page.next_with("backup create")).await.ok();

        // 3. Every server can read what any other will write.
        let mut fleet = fleet.configured(&settings.next_with("previous_keys_file")).await;
        fleet.everywhere("both").await;

        // 4. The new key is current, though one server was forgotten in step 3.
        let forgotten = match &fleet.world.database {
            Some(database) => Some(Server::start(&fleet.world.home, Setup::on(&fleet.world.home, "forgotten", database)).await),
            None => None,
        };
        fleet = fleet.configured(&settings.next_with("previous_keys_file")).await;
        fleet.everywhere("swapped").await;
        let check = page.next_with("rotate-key --check");
        let shown = fleet.operator.runs(&check).await.ends(1).says(&["sealed under other encryption keys", "hint: "]).stdout;
        assert!(shown.contains(&old) && shown.contains(&format!("{new} ")), "{shown}");

        // 5. A rotation that is killed in the middle leaves everything readable, and one after it goes on.
        let rotate = page.next_with("rotate-key");
        fleet.kill_one_midway(&check).await;
        fleet.everywhere("midway").await;
        fleet.operator.runs(&check).await.ends(1);
        let said = fleet.operator.runs(&rotate).await.ok();
        assert!(said.contains(&format!("under the current key, {new}")), "{said}");
        assert!(!said.starts_with("0 "), "{said}");
        let shown = fleet.operator.runs(&page.next_with("rotate-key --check")).await.ok();
        assert!(shown.lines().any(|line| line.starts_with(&old) && line.split_whitespace().nth(1) == Some("0")), "{shown}");
        fleet.everywhere("rotated").await;

        fleet.the_forgotten_one_is_found(forgotten, &new).await;

        // 6. Without the old key.
        fleet = fleet.configured(&settings.next_with("encryption-new.key")).await;
        fleet.everywhere("new alone").await;
        assert_eq!(fleet.operator.runs(&page.next_with("rotate-key --check")).await.ok().lines().count(), 2);
        assert_eq!(fleet.world.cli.json(&["audit", "verify"]).await["intact"], true);

        // 7. The backup from before needs the old key, which the page finds out.
        let under_the_old = fleet.operator.runs(&page.next_with("encryption_keys").replace("<OLD>", &old)).await.ok();
        assert_eq!(under_the_old.lines().count(), 1, "{under_the_old}");
        fleet.restore(&page.next_with("backup restore"), &old).await;
    }
}

/// One server on SQLite, two on PostgreSQL, with the settings of the encryption key in a file.
struct Fleet {
    world: World,
    replica: Option<Server>,
    operator: Operator,
}

impl Fleet {
    async fn of(mut world: World) -> Self {
        let backups = world.home.join("backups");
        std::fs::create_dir(&backups).unwrap();
        let setup = &mut world.server.setup;
        setup.variables.insert("CERTCTL_BACKUP_DIRECTORY".to_owned(), backups.to_str().unwrap().to_owned());
        let replica = match &world.database {
            Some(database) => Some(Server::start(&world.home, Setup::on(&world.home, "replica", database)).await),
            None => None,
        };
        let operator = Operator::new(&world.home, &world.cli).beside(&world.server.setup);
        // Where the page has the key of an installation on PostgreSQL.
        if let Some(key) = world.server.setup.variables.get("CERTCTL_ENCRYPTION_KEY_FILE") {
            std::fs::copy(key, world.home.join("etc/encryption.key")).unwrap();
        }
        Self { world, replica, operator }
    }

    /// Restarts the servers one by one with these settings of the key.
    async fn configured(mut self, settings: &str) -> Self {
        let file = self.world.home.write("etc/server.toml", self.operator.here(settings));
        for server in std::iter::once(&mut self.world.server).chain(&mut self.replica) {
            server.setup.variables.remove("CERTCTL_ENCRYPTION_KEY_FILE");
            server.setup.variables.insert("CERTCTL_CONFIG".to_owned(), file.to_str().unwrap().to_owned());
            assert!(server.stop(LONG).await.success());
            server.start_again().await;
        }
        self.operator = Operator::new(&self.world.home, &self.world.cli).beside(&self.world.server.setup);
        self
    }

    /// Every server answers, and certificates are issued.
    async fn everywhere(&self, when: &str) {
        let key = read(&self.world.server.first_key_file());
        for (number, server) in std::iter::once(&self.world.server).chain(&self.replica).enumerate() {
            let api = server.api().with_token(key.trim());
            assert_eq!(api.get("/ready").await.is(200).json()["status"], "ready");
            issues(&api, &format!("{}-{number}", when.replace(' ', "-"))).await;
        }
    }

    /// Kills a rotation: on PostgreSQL when it has done all but one secret, which somebody holds; on SQLite, where one transaction does
    /// all of these few, while somebody else writes.
    async fn kill_one_midway(&self, check: &str) {
        let program = product("certctl-server");
        let start = || {
            let words = [program.to_str().unwrap(), "rotate-key"];
            Process::start(&self.world.home, "rotation", &words, Signal::SIGKILL, |command| self.world.server.setup.apply(command))
        };
        let Some(database) = &self.world.database else {
            let mut rotation = start();
            rotation.kill().await;
            return;
        };
        let hold = "BEGIN; SELECT id FROM secrets ORDER BY id LIMIT 1 FOR UPDATE; SELECT pg_sleep(600)";
        let psql = require_program("psql");
        let words = [psql.to_str().unwrap(), database.url(), "-c", hold];
        let mut holder = Process::start(&self.world.home, "holder", &words, Signal::SIGKILL, |_| {});
        let held = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND wait_event = 'PgSleep' AND datname = current_database()";
        wait_until("a secret that somebody holds", LONG, async || self.sql(database, held).await == "1").await;
        let mut rotation = start();
        wait_for("a rotation that is half done", LONG, async || {
            let shown = self.operator.runs(check).await.stdout;
            let previous = shown.lines().find(|line| line.ends_with("previous"))?;
            (previous.split_whitespace().nth(1) == Some("1")).then_some(())
        })
        .await;
        rotation.must_run();
        rotation.kill().await;
        let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND wait_event = 'PgSleep' AND datname = current_database()";
        self.sql(database, ended).await;
        holder.ended(LONG).await;
    }

    async fn sql(&self, database: &Database, statement: &str) -> String {
        let mut psql = command(&self.world.home, require_program("psql"));
        run(psql.args([database.url(), "-Atc", statement])).await.ok().trim().to_owned()
    }

    /// A server that still has the old key alone is not ready, its log says why when it is started again, and with the key it is.
    async fn the_forgotten_one_is_found(&self, forgotten: Option<Server>, missing: &str) {
        let mut setup = self.world.server.setup.clone();
        if let Some(mut forgotten) = forgotten {
            let reply = forgotten.api().get("/ready").await.is(503);
            assert!(reply.text.contains("not given") && !reply.text.contains(missing), "what is public names no key: {}", reply.text);
            assert!(forgotten.stop(LONG).await.success());
            setup = forgotten.setup.clone();
        }
        // There is one server on SQLite: that one, as it would start from its old settings.
        setup.variables.remove("CERTCTL_CONFIG");
        setup = setup.with("CERTCTL_ENCRYPTION_KEY_FILE", self.world.home.join("etc/encryption.key").to_str().unwrap());
        let refused = setup.run(&self.world.home, &["serve"]).await;
        refused.ends(1).says(&["sealed under encryption keys that are not given", missing, "CERTCTL_ENCRYPTION_PREVIOUS_KEYS_FILE"]);
        setup.port = certctl_testkit::free_port();
        let new = self.world.home.join("etc/encryption-new.key");
        let mut found = Server::start(&self.world.home, setup.with("CERTCTL_ENCRYPTION_PREVIOUS_KEYS_FILE", new.to_str().unwrap())).await;
        assert!(found.stop(LONG).await.success());
    }

    /// Into nothing: refused with the new key alone, done with the old one beside it, and sealed anew.
    async fn restore(&self, block: &str, old: &str) {
        let home: &Arc<Home> = &self.world.home;
        let mut setup = Setup::plain(home, "restored");
        setup.variables = self.world.server.setup.variables.clone();
        std::fs::create_dir(&setup.data).unwrap();
        let second = match &self.world.database {
            None => None,
            Some(_) => Some(certctl_testkit::database::postgres().await),
        };
        if let Some(second) = &second {
            setup = setup.with("CERTCTL_DATABASE_URL", second.url());
        }
        let name = self.operator.runs("certctl-server backup list --json | jq -r '.backups[-1].name'").await.ok();
        let refused = setup.run(home, &["backup", "restore", name.trim()]).await;
        refused.ends(1).says(&[old, "CERTCTL_ENCRYPTION_PREVIOUS_KEYS"]);
        let operator = Operator::new(home, &self.world.cli).beside(&setup).with("BACKUP", name.trim());
        let said = operator.runs(block).await.ok();
        assert!(said.contains("restored") && said.contains("sealed anew"), "{said}");
        let server = Server::start(home, setup).await;
        let key = read(&self.world.server.first_key_file());
        issues(&server.api().with_token(key.trim()), "restored").await;
        drop(server);
        drop(second);
    }
}
