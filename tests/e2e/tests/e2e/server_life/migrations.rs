//! The schema: brought up to date by the start itself, or by a hook before it.

use std::sync::Arc;

use certctl_testkit::{Database, Engine, both_databases};

use crate::harness::{Home, Server, Setup, free_port, read};

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
        behind.run(&home, &[]).await.ends(1).says(&[
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
}

#[tokio::test]
async fn replicas_that_start_together_agree() {
    let Empty { home, setup, _database } = Empty::open(Engine::Postgres).await;
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
