//! The schema: brought up to date by the start itself, or by a hook before it.

use std::sync::Arc;

use certctl_testkit::{Database, Engine, both_databases};

use crate::harness::{Home, Server, Setup};

/// A database with nothing in it, and settings for a server on it.
struct Empty {
    home: Arc<Home>,
    setup: Setup,
    _database: Option<Database>,
}

impl Empty {
    async fn open(engine: Engine) -> Self {
        let home = Arc::new(Home::new());
        match engine {
            Engine::Sqlite => Self { setup: Setup::plain(&home, "server"), home, _database: None },
            Engine::Postgres => {
                let database = certctl_testkit::database::postgres().await;
                Self { setup: Setup::on(&home, "server", &database), home, _database: Some(database) }
            }
        }
    }
}

both_databases! {
    async fn a_server_behind_a_hook_waits_for_it(empty: Empty) {
        let Empty { home, setup, _database } = empty;
        let behind = setup.clone().with("CERTCTL_MIGRATIONS_VIA_HOOK", "true");
        behind.run(&home, &[]).await.ends(1).says(&["error: ", "schema", "older", "hint: ", "certctl-server migrate", "CERTCTL_MIGRATIONS_VIA_HOOK"]);

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

    async fn replicas_that_start_together_agree(empty: Empty) {
        let Empty { home, setup, _database } = empty;
        if _database.is_none() {
            // A second server on the same file is refused nothing by SQLite; one after another is how it is used.
            let mut first = Server::start(&home, setup).await;
            first.kill().await;
            first.start_again().await;
            return;
        }
        let mut other = setup.clone();
        other.name = "other".to_owned();
        other.data = home.join("other");
        other.port = crate::harness::free_port();
        let (mut one, mut two) = (Server::begin(&home, setup), Server::begin(&home, other));
        one.ready().await;
        two.ready().await;
        let keys = [one.first_key_file(), two.first_key_file()];
        assert_eq!(keys.iter().filter(|file| file.exists()).count(), 1, "there is one first administrator");
        let key = crate::harness::read(keys.iter().find(|file| file.exists()).unwrap());
        home.plant(key.trim().splitn(3, '_').nth(2).unwrap());
        let mut chains = Vec::new();
        for server in [&one, &two] {
            chains.push(server.api().with_token(key.trim()).get("/api/v1/issuers/iss-local/ca").await.is(200).text);
        }
        assert_eq!(chains[0], chains[1], "there is one CA");
        assert_eq!(crate::harness::read(&one.ca_file()), crate::harness::read(&two.ca_file()), "and one platform CA");
    }
}
