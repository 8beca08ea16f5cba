//! The schema: the same on both databases, made once however many start, refused when it is not what the program knows.

use std::collections::{BTreeMap, BTreeSet};

use certctl_domain::secret::Secret;
use certctl_store::db::sql;
use certctl_store::migrate::{self, Patience, SchemaState};
use certctl_store::secrets::Keyring;
use certctl_store::{OpenOptions, Store, StoreError};
use certctl_testkit::{Database, Engine, both_databases};

use crate::common::{TestStore, number, run};

/// Table, column, type as PostgreSQL calls it on both, and whether it may be NULL.
type Columns = BTreeSet<(String, String, String, bool)>;

async fn sqlite_columns(store: &Store) -> Columns {
    let rows = store
        .db()
        .fetch_all(sql(
            "SELECT m.name AS t, c.name AS c, c.type AS kind, CASE WHEN c.\"notnull\" = 0 AND c.pk = 0 THEN 1 ELSE 0 END AS nullable
                        FROM sqlite_master m, pragma_table_info(m.name) c
                        WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name <> '_sqlx_migrations'",
        ))
        .await
        .unwrap();
    let column = |row: &certctl_store::db::Row| {
        (row.text("t").unwrap(), row.text("c").unwrap(), row.text("kind").unwrap(), row.int("nullable").unwrap() == 1)
    };
    rows.iter().map(column).collect()
}

async fn postgres_columns(store: &Store) -> Columns {
    let rows = store
        .db()
        .fetch_all(sql("SELECT table_name::text AS t, column_name::text AS c, data_type::text AS kind, is_nullable = 'YES' AS nullable
                        FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'"))
        .await
        .unwrap();
    let column = |row: &certctl_store::db::Row| {
        (row.text("t").unwrap(), row.text("c").unwrap(), row.text("kind").unwrap(), row.bool("nullable").unwrap())
    };
    rows.iter().map(column).collect()
}

fn sqlite_type_of(postgres: &str) -> &'static str {
    match postgres {
        "text" | "jsonb" => "TEXT",
        "bigint" | "boolean" | "timestamp with time zone" => "INTEGER",
        "bytea" => "BLOB",
        other => panic!("{other} has no counterpart on SQLite"),
    }
}

/// Name of each index that has one, with its table and whether it is unique.
async fn indexes(store: &Store, statement: &'static str) -> BTreeMap<String, (String, bool)> {
    let rows = store.db().fetch_all(sql(statement)).await.unwrap();
    rows.iter().map(|row| (row.text("i").unwrap(), (row.text("t").unwrap(), row.int("u").unwrap() == 1))).collect()
}

/// Referring table and column, and what it refers to.
async fn references(store: &Store, statement: &'static str) -> BTreeSet<(String, String, String, String)> {
    let rows = store.db().fetch_all(sql(statement)).await.unwrap();
    let text = |row: &certctl_store::db::Row, column: &str| row.text(column).unwrap();
    rows.iter().map(|row| (text(row, "t"), text(row, "c"), text(row, "r"), text(row, "d"))).collect()
}

#[tokio::test]
async fn both_databases_have_the_same_schema() {
    let (sqlite, postgres) = (TestStore::open(Engine::Sqlite).await, TestStore::open(Engine::Postgres).await);
    let expected: Columns = postgres_columns(&postgres)
        .await
        .into_iter()
        .map(|(table, column, kind, nullable)| (table, column, sqlite_type_of(&kind).to_owned(), nullable))
        .collect();
    let found = sqlite_columns(&sqlite).await;
    assert!(found.len() > 200, "{}", found.len());
    assert_eq!(found.difference(&expected).collect::<Vec<_>>(), Vec::<&_>::new(), "on SQLite only");
    assert_eq!(expected.difference(&found).collect::<Vec<_>>(), Vec::<&_>::new(), "on PostgreSQL only");

    let found = indexes(
        &sqlite,
        "SELECT l.name AS i, m.name AS t, l.\"unique\" AS u FROM sqlite_master m, pragma_index_list(m.name) l
         WHERE m.type = 'table' AND l.origin = 'c'",
    )
    .await;
    let expected = indexes(
        &postgres,
        "SELECT i.relname::text AS i, t.relname::text AS t, CASE WHEN x.indisunique THEN 1::bigint ELSE 0 END AS u
         FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
         WHERE t.relnamespace = 'public'::regnamespace AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.oid AND c.contype IN ('p', 'u'))",
    )
    .await;
    assert!(found.len() > 30, "{}", found.len());
    assert_eq!(found, expected);

    let found = references(
        &sqlite,
        "SELECT m.name AS t, f.\"from\" AS c, f.\"table\" AS r, f.on_delete AS d FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'",
    )
    .await;
    let expected = references(
        &postgres,
        "SELECT t.relname::text AS t, a.attname::text AS c, r.relname::text AS r, CASE x.confdeltype WHEN 'c' THEN 'CASCADE' ELSE 'NO ACTION' END AS d
         FROM pg_constraint x JOIN pg_class t ON t.oid = x.conrelid JOIN pg_class r ON r.oid = x.confrelid
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = x.conkey[1] WHERE x.contype = 'f'",
    )
    .await;
    assert!(found.len() > 15, "{}", found.len());
    assert_eq!(found, expected);
}

#[tokio::test]
async fn migrations_come_in_pairs() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let names = |engine: &str| {
        std::fs::read_dir(root.join(engine))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(names("sqlite"), names("postgres"));
    let store = TestStore::open(Engine::Sqlite).await;
    let state = migrate::check(store.db()).await.unwrap();
    assert_eq!(
        usize::try_from(state.known).unwrap(),
        names("sqlite").len(),
        "a file is not in the list of migrations, or the other way round"
    );
}

async fn open_empty(database: &Database) -> Store {
    let options = OpenOptions {
        url: Secret::new(database.url().to_owned()),
        max_connections: 4,
        acquire_timeout: std::time::Duration::from_secs(10),
        durable: true,
    };
    Store::open(&options, Keyring::generate().unwrap().0).await.unwrap()
}

async fn two_at_the_same_time(engine: Engine) {
    let database = Database::empty(engine).await;
    let first = open_empty(&database).await;
    assert!(matches!(migrate::check(first.db()).await, Err(StoreError::SchemaOlder { found: 0, .. })));
    assert_eq!(migrate::state(first.db()).await.unwrap().found, 0);
    let stores = [first, open_empty(&database).await, open_empty(&database).await, open_empty(&database).await];
    let results = futures_util::future::join_all(stores.iter().map(|store| migrate::migrate(store.db(), Patience::default()))).await;
    for result in results {
        let SchemaState { found, known } = result.unwrap();
        assert_eq!(found, known);
    }
    assert_eq!(
        number(&stores[0], "SELECT count(*) AS n FROM _sqlx_migrations WHERE success").await,
        migrate::check(stores[0].db()).await.unwrap().known
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_may_migrate_sqlite_at_the_same_time() {
    two_at_the_same_time(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_may_migrate_postgres_at_the_same_time() {
    two_at_the_same_time(Engine::Postgres).await;
}

both_databases! {
    async fn a_newer_schema_is_worked_on_if_it_allows_that_and_left_alone(store: TestStore) {
        let known = migrate::check(store.db()).await.unwrap().known;
        let statement = sql("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'from the future', TRUE, $1, 0)");
        run(&store, statement.bind(vec![1_u8])).await.unwrap();
        // A release of the same line said that this one can go on: so replicas are replaced one by one.
        for result in [migrate::check(store.db()).await, migrate::migrate(store.db(), Patience::default()).await] {
            assert_eq!(result.unwrap(), SchemaState { found: 9999, known });
        }
        run(&store, sql("UPDATE meta SET value = $1 WHERE name = 'schema.oldest_program'").bind((known + 1).to_string())).await.unwrap();
        for result in [migrate::check(store.db()).await, migrate::migrate(store.db(), Patience::default()).await] {
            match result {
                Err(StoreError::SchemaNewer { found: 9999, known: k }) => assert_eq!(k, known),
                other => panic!("{other:?}"),
            }
        }
    }

    async fn migrating_again_changes_nothing(store: TestStore) {
        crate::common::insert(&store, &crate::common::team("t-1", "Platform")).await.unwrap();
        migrate::migrate(store.db(), Patience::default()).await.unwrap();
        assert_eq!(number(&store, "SELECT count(*) AS n FROM teams").await, 1);
    }
}

#[tokio::test]
async fn an_address_of_another_kind_is_refused_without_showing_it() {
    for url in ["mysql://u:pencil@h/d", "", "postgres//x", "/var/lib/certctl.db"] {
        let options = OpenOptions {
            url: Secret::new(url.to_owned()),
            max_connections: 1,
            acquire_timeout: std::time::Duration::from_secs(10),
            durable: true,
        };
        let error = Store::open(&options, Keyring::generate().unwrap().0).await.unwrap_err();
        assert!(matches!(error, StoreError::Url), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("pencil"));
    }
}
