//! Schemas of other releases: one that is older, one that is newer, and one that is newer than this program can work on.

use certctl_testkit::{Database, Engine, both_databases, wait_until};
use serde_json::json;

use super::migrations::Empty;
use crate::harness::{LONG, Server, Setup, Site, Tables, World, in_repository, names_in, read};

const NAME: &str = "web.example.test";

/// Takes the schema one migration further, as the next release would, which allows programs that know `oldest` or newer.
pub(super) async fn next_release(tables: &mut Tables, migration: &str, oldest: i64) -> i64 {
    let next = tables.schema().await + 1;
    let checksum = if matches!(tables, Tables::Sqlite(_)) { "X'00'" } else { "'\\x00'" };
    tables
        .run(&format!(
            "BEGIN; {migration};
             INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES ({next}, '{next:04}_next', true, {checksum}, 0);
             UPDATE meta SET value = '{oldest}' WHERE name = 'schema.oldest_program'; COMMIT"
        ))
        .await;
    next
}

/// Makes the schema as the release before the newest migration left it; gives the number of its newest one.
async fn release_before(setup: &Setup, engine: Engine) -> i64 {
    // The rows are those that the program writes into another database.
    let model = Empty::open(engine).await;
    model.setup.run(&model.home, &["migrate"]).await.ok();
    let mut model = Tables::of(&model.setup, "model").await;
    let before = model.schema().await - 1;
    let (folder, types, literal) = match engine {
        Engine::Sqlite => ("sqlite", ["TIMESTAMP", "BLOB"], "'X''' || hex(checksum) || ''''"),
        Engine::Postgres => ("postgres", ["TIMESTAMPTZ", "BYTEA"], "'''\\x' || encode(checksum, 'hex') || ''''"),
    };
    std::fs::create_dir_all(&setup.data).unwrap();
    let mut tables = Tables::of(setup, "the release before").await;
    let [time, bytes] = types;
    tables
        .run(&format!(
            "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, installed_on {time} NOT NULL
             DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum {bytes} NOT NULL, execution_time BIGINT NOT NULL)"
        ))
        .await;
    let folder = in_repository("crates/store/migrations").join(folder);
    for name in names_in(&folder).iter().take(usize::try_from(before).unwrap()) {
        tables.run(&read(&folder.join(name))).await;
    }
    let rows = format!(
        "SELECT '(' || version || ', ''' || description || ''', true, ' || {literal} || ', 0)' FROM _sqlx_migrations WHERE version <= {before}"
    );
    let rows = model.texts(&rows).await.join(", ");
    tables.run(&format!("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES {rows}")).await;
    tables.run("INSERT INTO meta (name, value) VALUES ('schema.oldest_program', '1')").await;
    assert_eq!(tables.schema().await, before);
    before
}

/// Everything that can be read without naming a thing: one list at least of each noun.
async fn every_noun_is_read(world: &World) {
    let document = world.server.setup.run(&world.home, &["openapi"]).await.json();
    let mut n = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if path.contains('{') || operations.get("get").is_none() {
            continue;
        }
        let reply = world.api.get(path).await;
        // Some want a parameter or an agent's credential; none may break.
        assert!(reply.status < 500, "{path}: {} {}", reply.status, reply.text);
        n += usize::from(reply.status == 200);
    }
    assert!(n >= 20, "{n} were read");
}

/// What adds, as a release may: a table, columns with and without a default, an index.
pub(super) const EXPAND: &str = "CREATE TABLE next_things (id text PRIMARY KEY, owner_id text REFERENCES owners (id));
    ALTER TABLE certificates ADD COLUMN next_note text;
    ALTER TABLE certificate_versions ADD COLUMN next_note text;
    ALTER TABLE agents ADD COLUMN next_note text;
    ALTER TABLE jobs ADD COLUMN next_hint text;
    ALTER TABLE audit_events ADD COLUMN next_note text;
    ALTER TABLE owners ADD COLUMN next_rank integer NOT NULL DEFAULT 0;
    CREATE INDEX owners_next_rank ON owners (next_rank)";

both_databases! {
    async fn this_program_serves_on_the_schema_of_the_next_release_until_one_takes_away(world: World) {
        let mut world = world;
        let site = Site::open(&world, NAME).await;
        world.cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web", "--wait"]).await.ok();
        let mut tables = Tables::of(&world.server.setup, "the next release").await;
        let known = tables.schema().await;
        let next = next_release(&mut tables, EXPAND, known).await;
        // The one that runs meanwhile, and one that is started: an upgrade of one replica after the other, and the way back from it.
        for round in ["runs", "starts"] {
            if round == "starts" {
                assert!(world.server.stop(LONG).await.success());
                world.server.start_again().await;
                assert!(world.server.log().contains("newer than this program"), "{}", world.server.log());
            }
            every_noun_is_read(&world).await;
            let before = world.cli.current_version("web").await;
            world.cli.run(&["certs", "renew", "web", "--wait"]).await.ok();
            let renewed = world.cli.current_version("web").await;
            assert_ne!(renewed["id"], before["id"]);
            site.nginx.serves(NAME, renewed["fingerprint_sha256"].as_str().unwrap()).await;
            let further = format!("{round}.example.test");
            let folder = world.home.join(round);
            std::fs::create_dir(&folder).unwrap();
            let config = json!({"certificate_path": folder.join("site.pem"), "key_path": folder.join("site.key")});
            world.target(round, &site.agent, ("Files", &config)).await;
            world.cli.run(&["certs", "request", "--name", round, "--san", &further, "--target", round, "--wait"]).await.ok();
            assert_eq!(world.cli.json(&["audit", "verify"]).await["intact"], true);
            assert!(world.api.get("/ready").await.is(200).text.contains("\"schema\",\"ok\":true"));
        }
        let setup = world.server.setup.clone();
        let status = setup.run(&world.home, &["migrate", "status", "--json"]).await.json();
        assert_eq!((&status["schema"], &status["oldest_program"], &status["this_program"]), (&next.into(), &known.into(), &"runs".into()));
        for words in [&["--migrate-only"][..], &["migrate", "check", "--target-version", &known.to_string()]] {
            setup.run(&world.home, words).await.ok();
        }

        // A backup of it is for programs that know all of it, since nothing in it is tried before it is restored.
        let backups = world.home.join("backups");
        std::fs::create_dir(&backups).unwrap();
        let setup = setup.with("CERTCTL_BACKUP_DIRECTORY", backups.to_str().unwrap());
        setup.run(&world.home, &["backup", "create"]).await.ok();
        let refused = setup.run(&world.home, &["backup", "restore", "latest"]).await.ends(1);
        refused.says(&[&format!("has the schema {next}, newer than the {known} that this program knows"), "hint: restore with a release that knows"]);

        // The release after it takes away what it has long stopped reading.
        next_release(&mut tables, "DROP TABLE next_things", known + 1).await;
        wait_until("a server that says that it is too old", LONG, async || {
            let ready = world.api.get("/ready").await;
            ready.status == 503 && ready.text.contains("newer than the")
        })
        .await;
        assert!(world.server.stop(LONG).await.success());
        for words in [&[][..], &["--migrate-only"], &["migrate"], &["backup", "create"]] {
            let refused = setup.run(&world.home, words).await.ends(1);
            let newer = format!("the schema is at {}, newer than the {known} that this program knows", known + 2);
            refused.says(&["error: ", &newer, "hint: start the release that made this schema"]);
        }
        let answer = setup.run(&world.home, &["migrate", "check", "--target-version", "0.1.0"]).await.ends(1);
        assert!(answer.stdout.starts_with("no: 0.1.0"), "{answer:?}");
        setup.run(&world.home, &["migrate", "check", "--target-version", &(known + 1).to_string()]).await.ok();
    }

    async fn the_schema_of_the_release_before_is_waited_for_and_then_served(empty: Empty) {
        let Empty { home, setup, database } = empty;
        let engine = database.as_ref().map_or(Engine::Sqlite, Database::engine);
        let before = release_before(&setup, engine).await;
        let plan = setup.run(&home, &["migrate", "plan", "--json"]).await.json();
        assert_eq!((&plan["schema"], plan["pending"].as_array().unwrap().len()), (&before.into(), 1));
        let answer = setup.run(&home, &["migrate", "check", "--target-version", &before.to_string()]).await.ok();
        assert!(answer.starts_with("yes: "), "{answer}");

        let behind = setup.clone().with("CERTCTL_MIGRATIONS_VIA_HOOK", "true");
        let refused = behind.clone().with("CERTCTL_DATABASE_START_TIMEOUT", "1s").run(&home, &[]).await.ends(1);
        refused.says(&[&format!("the schema is at {before}, older than the {}", before + 1), "hint: run `certctl-server migrate`"]);
        let mut server = Server::begin(&home, behind);
        wait_until("a server that says why it waits", LONG, async || {
            server.process_must_run();
            server.log().contains("waiting for `certctl-server migrate`")
        })
        .await;
        setup.run(&home, &["--migrate-only"]).await.ok();
        server.ready().await;
        assert_eq!(server.log().matches("waiting for `certctl-server migrate`").count(), 1, "{}", server.log());

        // Somebody puts an old database in its place.
        Tables::of(&setup, "somebody").await.run(&format!("DELETE FROM _sqlx_migrations WHERE version > {before}")).await;
        wait_until("a server that says that the schema is too old", LONG, async || {
            let ready = server.api().get("/ready").await;
            ready.status == 503 && ready.text.contains("older than the")
        })
        .await;
    }
}
