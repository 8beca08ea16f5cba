//! Migrations with somebody in the way: they wait, say who it is, let everybody else through meanwhile, and change nothing when they give up.

use std::time::Duration;

use certctl_domain::secret::Secret;
use certctl_store::db::sql;
use certctl_store::migrate::{self, Patience, SchemaState};
use certctl_store::secrets::Keyring;
use certctl_store::{OpenOptions, Store, StoreError};
use certctl_testkit::{Database, Engine, OwnCluster, both_databases, wait_for};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _};

/// A database without a schema.
struct Empty {
    database: Database,
    store: Store,
}

impl Empty {
    async fn open(engine: Engine) -> Self {
        let database = Database::empty(engine).await;
        let store = Store::open(&options(database.url()), Keyring::generate().unwrap().0).await.unwrap();
        Self { database, store }
    }

    /// Another program on the same database.
    async fn somebody(&self) -> PgConnection {
        let options: PgConnectOptions = self.database.url().parse().unwrap();
        options.application_name("somebody").connect().await.unwrap()
    }

    async fn found(&self) -> i64 {
        migrate::state(self.store.db()).await.unwrap().found
    }

    async fn oldest(&self) -> Option<i64> {
        migrate::oldest(self.store.db()).await.unwrap()
    }
}

fn options(url: &str) -> OpenOptions {
    OpenOptions { url: Secret::new(url.to_owned()), max_connections: 4, acquire_timeout: Duration::from_secs(10), durable: true }
}

/// Their own process id, as the server has it.
async fn pid(connection: &mut PgConnection) -> i64 {
    sqlx::query("SELECT pg_backend_pid()::bigint").fetch_one(connection).await.unwrap().get(0)
}

async fn does(connection: &mut PgConnection, statements: &'static str) {
    sqlx::raw_sql(statements).execute(connection).await.unwrap();
}

const SOON: Patience = Patience(Duration::from_secs(1));

#[tokio::test]
async fn whoever_holds_the_lock_is_named() {
    let empty = Empty::open(Engine::Postgres).await;
    let mut somebody = empty.somebody().await;
    let pid = pid(&mut somebody).await;
    let (class, object) = migrate::LOCK;
    let mut held = somebody.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock($1, $2)").bind(class).bind(object).execute(&mut *held).await.unwrap();
    let error = migrate::migrate(empty.store.db(), SOON).await.unwrap_err();
    let StoreError::MigrationLocked { pid: Some(named), .. } = &error else { panic!("{error:?}") };
    assert_eq!(*named, pid);
    let said = error.to_string();
    for word in
        ["migration lock", "for 1 s", &format!("pid {pid}, application somebody, role certctl"), "state idle in transaction", "since 2"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(empty.found().await, 0);

    // Who begins while it is held goes on when it is free.
    let migrating = migrate::migrate(empty.store.db(), Patience::default());
    let mut observer = empty.somebody().await;
    let freeing = async {
        wait_for("somebody who asks for the lock", Duration::from_secs(60), async || {
            let row = sqlx::query("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_try_advisory_xact_lock%' AND datname = current_database() AND pid <> pg_backend_pid()");
            row.fetch_optional(&mut observer).await.unwrap().map(drop)
        })
        .await;
        held.commit().await.unwrap();
    };
    let (state, ()) = tokio::join!(migrating, freeing);
    assert_eq!(state.unwrap().found, migrate::known());
}

#[tokio::test]
async fn a_lock_that_is_held_does_not_stop_who_has_nothing_to_migrate() {
    let empty = Empty::open(Engine::Postgres).await;
    migrate::migrate(empty.store.db(), Patience::default()).await.unwrap();
    let mut somebody = empty.somebody().await;
    let (class, object) = migrate::LOCK;
    sqlx::query("SELECT pg_advisory_lock($1, $2)").bind(class).bind(object).execute(&mut somebody).await.unwrap();
    migrate::migrate(empty.store.db(), SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_holds_a_table_is_named_and_nobody_queues_behind_the_migration_for_long() {
    let empty = Empty::open(Engine::Postgres).await;
    migrate::migrate_to(empty.store.db(), 1, Patience::default()).await.unwrap();
    let mut somebody = empty.somebody().await;
    let pid = pid(&mut somebody).await;
    does(&mut somebody, "BEGIN; SELECT count(*) FROM revocations").await;

    // The second migration changes that table. Others who only read it come through between two tries, each within the time of one.
    let patience = Patience(Duration::from_secs(5));
    let migrating = migrate::migrate(empty.store.db(), patience);
    let reading = async {
        let mut other = empty.somebody().await;
        does(&mut other, "SET statement_timeout = '4s'").await;
        wait_for("a migration that stands in the queue", Duration::from_secs(60), async || {
            let row = sqlx::query("SELECT 1 FROM pg_locks WHERE relation = 'revocations'::regclass AND NOT granted");
            row.fetch_optional(&mut other).await.unwrap().map(drop)
        })
        .await;
        does(&mut other, "SELECT count(*) FROM revocations").await;
    };
    let (failed, ()) = tokio::join!(migrating, reading);
    let error = failed.unwrap_err();
    let StoreError::MigrationBlocked { pid: Some(named), migration: "0002_revocation", .. } = &error else { panic!("{error:?}") };
    assert_eq!(*named, pid);
    let said = error.to_string();
    for word in ["0002_revocation", "within 5 s", "changed nothing", &format!("pid {pid}, application somebody"), "idle in transaction"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(empty.found().await, 1);

    does(&mut somebody, "ROLLBACK").await;
    assert_eq!(migrate::migrate(empty.store.db(), SOON).await.unwrap().found, migrate::known());
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_said_to() {
    let empty = Empty::open(Engine::Postgres).await;
    migrate::migrate_to(empty.store.db(), 1, Patience::default()).await.unwrap();
    let mut somebody = empty.somebody().await;
    // What makes it slow: every new row of the table of migrations waits.
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
                CREATE TRIGGER slow BEFORE INSERT ON _sqlx_migrations FOR EACH ROW EXECUTE FUNCTION slow()";
    does(&mut somebody, slow).await;
    let error = migrate::migrate(empty.store.db(), SOON).await.unwrap_err();
    assert!(matches!(error, StoreError::MigrationSlow { migration: "0002_revocation", seconds: 1 }), "{error:?}");
    assert_eq!(empty.found().await, 1);
}

#[tokio::test]
async fn a_database_that_is_not_there_yet_is_waited_for() {
    let cluster = OwnCluster::start();
    let url = cluster.url();
    cluster.stop();
    let keyring = || Keyring::generate().unwrap().0;
    let error = Store::open_within(&options(&url), keyring(), SOON.0).await.unwrap_err();
    assert!(matches!(error, StoreError::Silent { seconds: 1, .. }), "{error:?}");
    let (options, starting) = (options(&url), async { cluster.start_again() });
    let (opened, ()) = tokio::join!(Store::open_within(&options, keyring(), Duration::from_secs(60)), starting);
    migrate::migrate(opened.unwrap().db(), SOON).await.unwrap();

    // Waiting does not make a database or a role.
    for wrong in [url.replace("/postgres", "/nothing"), url.replace("certctl@", "nobody@")] {
        assert_ne!(wrong, url);
        let error = Store::open_within(&self::options(&wrong), keyring(), Duration::from_secs(600)).await.unwrap_err();
        assert!(matches!(error, StoreError::Database(_)), "{error:?}");
    }
}

#[tokio::test]
async fn whoever_writes_to_the_file_is_waited_for() {
    let empty = Empty::open(Engine::Sqlite).await;
    let other = Store::open(&options(empty.database.url()), Keyring::generate().unwrap().0).await.unwrap();
    migrate::migrate_to(empty.store.db(), 1, SOON).await.unwrap();
    let tx = other.write(crate::common::alice()).await.unwrap();
    let error = migrate::migrate(empty.store.db(), SOON).await.unwrap_err();
    assert!(matches!(error, StoreError::Busy { seconds: 1 }), "{error:?}");
    assert_eq!(empty.found().await, 1);
    drop(tx);
    migrate::migrate(empty.store.db(), Patience::default()).await.unwrap();
}

both_databases! {
    async fn every_migration_leaves_word_for_older_programs(empty: Empty) {
        assert_eq!(empty.oldest().await, None);
        for step in migrate::steps() {
            let state = migrate::migrate_to(empty.store.db(), step.version, SOON).await.unwrap();
            assert_eq!(state, SchemaState { found: step.version, known: migrate::known() });
            assert_eq!(empty.oldest().await, Some(migrate::oldest_after(step.version)));
        }
        // A program of before may have been killed between the two.
        crate::common::run(&empty.store, sql("DELETE FROM meta WHERE name = 'schema.oldest_program'")).await.unwrap();
        migrate::migrate(empty.store.db(), SOON).await.unwrap();
        assert_eq!(empty.oldest().await, Some(migrate::oldest_after(migrate::known())));
        let named: Vec<_> = migrate::steps().iter().map(|step| (step.version, step.name.to_owned())).collect();
        assert_eq!(migrate::applied(empty.store.db()).await.unwrap(), named);
    }

    async fn a_migration_that_was_changed_is_refused(empty: Empty) {
        migrate::migrate(empty.store.db(), SOON).await.unwrap();
        let changed = sql("UPDATE _sqlx_migrations SET checksum = $1 WHERE version = 3").bind(vec![1_u8]);
        crate::common::run(&empty.store, changed).await.unwrap();
        let error = migrate::migrate(empty.store.db(), SOON).await.unwrap_err();
        assert!(matches!(error, StoreError::MigrationChanged { migration: "0003_acme" }), "{error:?}");
    }

    async fn a_migration_that_fails_leaves_nothing(empty: Empty) {
        migrate::migrate_to(empty.store.db(), 1, SOON).await.unwrap();
        // In the way of the last statement of the second one.
        crate::common::run(&empty.store, sql("CREATE TABLE ocsp_responders_authority (x text)")).await.unwrap();
        let error = migrate::migrate(empty.store.db(), SOON).await.unwrap_err();
        assert!(matches!(error, StoreError::Migration { migration: "0002_revocation", .. }), "{error:?}");
        assert_eq!((empty.found().await, empty.oldest().await), (1, Some(1)));
        assert!(empty.store.db().fetch_all(sql("SELECT * FROM crls")).await.is_err(), "what it made first is gone too");
        crate::common::run(&empty.store, sql("DROP TABLE ocsp_responders_authority")).await.unwrap();
        migrate::migrate(empty.store.db(), SOON).await.unwrap();
    }

    async fn a_schema_that_somebody_else_brings_up_to_date_is_waited_for(empty: Empty) {
        let short = Patience(Duration::from_millis(1));
        let error = migrate::wait(empty.store.db(), short).await.unwrap_err();
        assert!(matches!(error, StoreError::SchemaOlder { found: 0, .. }), "{error:?}");
        let (waited, migrated) = tokio::join!(migrate::wait(empty.store.db(), Patience::default()), migrate::migrate(empty.store.db(), Patience::default()));
        assert_eq!(waited.unwrap(), migrated.unwrap());
    }
}

/// Databases that sqlx's own runner has migrated are taken as they are: it wrote the same rows.
#[tokio::test]
async fn the_table_of_migrations_is_as_sqlx_has_it() {
    use sqlx::migrate::{Migration, MigrationType, Migrator};
    let empty = Empty::open(Engine::Sqlite).await;
    migrate::migrate(empty.store.db(), SOON).await.unwrap();
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite/0001_initial.sql")).unwrap();
    let text = text.split_once('\n').unwrap().1.to_owned();
    let steps = vec![Migration::new(
        1,
        "0001_initial".into(),
        MigrationType::Simple,
        sqlx::SqlSafeStr::into_sql_str(sqlx::AssertSqlSafe(text)),
        false,
    )];
    let pool = sqlx::SqlitePool::connect(empty.database.url()).await.unwrap();
    Migrator::with_migrations(steps).set_ignore_missing(true).run(&pool).await.unwrap();
}
