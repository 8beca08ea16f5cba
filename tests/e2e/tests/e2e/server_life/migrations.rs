//! The schema: brought up to date by the start itself, or by a hook before it; and what stands in the way of that.

use std::sync::Arc;

use certctl_testkit::{Database, Engine, OwnCluster, both_databases, wait_until};
use nix::sys::signal::Signal;

use crate::harness::{Home, LONG, Process, Server, Setup, Tables, free_port, product, read};

/// A database with nothing in it, and settings for a server on it.
pub(super) struct Empty {
    pub(super) home: Arc<Home>,
    pub(super) setup: Setup,
    pub(super) database: Option<Database>,
}

impl Empty {
    pub(super) async fn open(engine: Engine) -> Self {
        let home = Arc::new(Home::new());
        match engine {
            Engine::Sqlite => Self { setup: Setup::plain(&home, "server"), home, database: None },
            Engine::Postgres => {
                let database = certctl_testkit::database::postgres().await;
                Self { setup: Setup::on(&home, "server", &database), home, database: Some(database) }
            }
        }
    }
}

both_databases! {
    async fn a_server_behind_a_hook_waits_for_it(empty: Empty) {
        let Empty { home, setup, database: _database } = empty;
        let behind = setup.clone().with("CERTCTL_MIGRATIONS_VIA_HOOK", "true");
        behind.clone().with("CERTCTL_DATABASE_START_TIMEOUT", "1s").run(&home, &[]).await.ends(1).says(&[
            "error: ",
            "schema",
            "older",
            "hint: ",
            "certctl-server migrate",
            "CERTCTL_MIGRATIONS_VIA_HOOK",
        ]);

        // The hook knows the database and nothing else, and what else is wrong does not matter to it.
        let mut hook = setup.clone().with("CERTCTL_TLS_MIN_VERSION", "nonsense").with("CERTCTL_SERVER_LISTEN", "nowhere");
        hook.variables.remove("CERTCTL_ENCRYPTION_KEY_FILE");
        for words in ["--migrate-only", "migrate"] {
            let migrated = hook.run(&home, &[words]).await.ends(0);
            assert!(migrated.stdout.contains("the schema is at "), "{}", migrated.stdout);
        }
        let server = Server::start(&home, behind).await;
        assert!(server.api().get("/ready").await.text.contains("\"schema\",\"ok\":true"));
    }

    async fn looking_at_the_schema_changes_nothing(empty: Empty) {
        let Empty { home, setup, database } = empty;
        for words in [&["migrate", "status"][..], &["migrate", "plan", "--json"], &["migrate", "check", "--target-version", "0.1.0"]] {
            setup.run(&home, words).await.ok();
        }
        match database {
            Some(_) => assert_eq!(Tables::of(&setup, "test").await.number("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").await, 0),
            None => assert!(!setup.data.join("certctl.db").exists()),
        }
        setup.run(&home, &["migrate", "check", "--target-version", "9.9.9"]).await.ends(2).says(&["0.1.0", "migrate status"]);
        setup.run(&home, &["migrate", "check"]).await.ends(2).says(&["--target-version"]);
    }
}

#[tokio::test]
async fn a_start_that_finds_the_lock_held_says_so_once_and_goes_on() {
    let Empty { home, setup, database: _database } = Empty::open(Engine::Postgres).await;
    let mut somebody = Tables::of(&setup, "a-migration-that-hangs").await;
    // The numbers that docs/operator/migrations.md names.
    somebody.run("SELECT pg_advisory_lock(1667592820, 1835624306)").await;
    let impatient = setup.clone().with("CERTCTL_DATABASE_START_TIMEOUT", "1s");
    for words in [&[][..], &["--migrate-only"]] {
        let refused = impatient.run(&home, words).await.ends(1);
        let lines: Vec<&str> = refused.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(lines.len(), 1, "{}", refused.stderr);
        for word in ["migration lock", "pid ", "application a-migration-that-hangs", "role certctl"] {
            assert!(lines[0].contains(word), "{word}: {}", lines[0]);
        }
        refused.says(&["hint: wait for it", "pg_terminate_backend("]);
    }
    let mut server = Server::begin(&home, setup);
    wait_until("a server that says why it waits", LONG, async || {
        server.process_must_run();
        server.log().contains("holds the migration lock")
    })
    .await;
    somebody.run("SELECT pg_advisory_unlock(1667592820, 1835624306)").await;
    server.ready().await;
    assert_eq!(server.log().matches("holds the migration lock").count(), 1, "{}", server.log());
}

#[tokio::test]
async fn who_writes_to_the_file_is_waited_for_and_said_to_be_there() {
    let Empty { home, setup, .. } = Empty::open(Engine::Sqlite).await;
    std::fs::create_dir(&setup.data).unwrap();
    let mut somebody = Tables::of(&setup, "somebody").await;
    somebody.run("PRAGMA journal_mode = wal; BEGIN IMMEDIATE").await;
    let impatient = setup.clone().with("CERTCTL_DATABASE_START_TIMEOUT", "1s");
    impatient.run(&home, &["--migrate-only"]).await.ends(1).says(&[
        "error: ",
        "has been writing to the database file",
        "hint: one server at a time",
    ]);
    let mut server = Server::begin(&home, setup);
    wait_until("a server that says why it waits", LONG, async || {
        server.process_must_run();
        server.log().contains("another program writes to the database")
    })
    .await;
    somebody.run("COMMIT").await;
    server.ready().await;
}

#[tokio::test]
async fn a_postgresql_that_is_not_there_yet_is_waited_for() {
    let home = Home::new();
    let cluster = OwnCluster::start();
    let setup = Setup::plain(&home, "server").with_postgres(&cluster.url());
    cluster.stop();
    let impatient = setup.clone().with("CERTCTL_DATABASE_START_TIMEOUT", "1s");
    for words in [&[][..], &["--migrate-only"]] {
        impatient.run(&home, words).await.ends(1).says(&["error: ", "the database has not answered for 1 s: ", "hint: look whether"]);
    }
    let program = product("certctl-server");
    let words = [program.to_str().unwrap(), "--migrate-only"];
    let mut migrating = Process::start(&home, "migrate", &words, Signal::SIGKILL, |command| setup.apply(command));
    wait_until("a program that says why it waits", LONG, async || {
        migrating.must_run();
        migrating.log().contains("the database does not answer; waiting")
    })
    .await;
    cluster.start_again();
    assert!(migrating.ended(LONG).await.success(), "{}", migrating.log());
}

#[tokio::test]
async fn replicas_that_start_together_agree() {
    let Empty { home, setup, database: _database } = Empty::open(Engine::Postgres).await;
    let other = Setup { name: "other".to_owned(), data: home.join("other"), port: free_port(), ..setup.clone() };
    let (mut one, mut two) = (Server::begin(&home, setup), Server::begin(&home, other));
    one.ready().await;
    two.ready().await;
    let keys: Vec<_> = [one.first_key_file(), two.first_key_file()].into_iter().filter(|file| file.exists()).collect();
    assert_eq!(keys.len(), 1, "there is one first administrator");
    let key = read(&keys[0]);
    home.plant_key(&key);
    let mut chains = Vec::new();
    for server in [&one, &two] {
        chains.push(server.api().with_token(key.trim()).get("/api/v1/issuers/iss-local/ca").await.is(200).text);
    }
    assert_eq!(chains[0], chains[1], "there is one CA");
    assert_eq!(read(&one.ca_file()), read(&two.ca_file()), "and one platform CA");
}
