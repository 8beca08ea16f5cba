//! What backups need of the database.

use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use certctl_store::backup::{self, Done, Run, Snapshot, Verb};
use certctl_store::db::sql;
use certctl_store::{StoreError, counters, migrate};
use certctl_testkit::{Engine, both_databases};

use crate::common::{TestStore, at, insert, number, team};

fn done<'a>(verb: Verb, archive: Option<&'a str>, outcome: Result<u64, &'a str>) -> Done<'a> {
    Done { verb, archive, took: Duration::from_millis(1_500), outcome, details: serde_json::Map::new() }
}

both_databases! {
    async fn an_installation_has_one_short_name(store: TestStore) {
        let name = backup::installation(&store, at(0)).await.unwrap();
        assert!(name.len() == 8 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
        assert_eq!(backup::installation(&store.replica().await, at(9)).await.unwrap(), name);
    }

    async fn a_failure_does_not_hide_the_last_success(store: TestStore) {
        assert_eq!(backup::last_run(store.db(), Verb::Create).await.unwrap(), Run::default());
        backup::record(&store, &done(Verb::Create, Some("one"), Ok(77)), at(1)).await.unwrap();
        backup::record(&store, &done(Verb::Create, None, Err("the disk is full")), at(2)).await.unwrap();
        let run = backup::last_run(store.db(), Verb::Create).await.unwrap();
        assert_eq!((run.succeeded_at, run.archive.as_deref(), run.size_bytes, run.duration_ms), (Some(at(1)), Some("one"), Some(77), Some(1_500)));
        assert_eq!((run.failed_at, run.failure.as_deref()), (Some(at(2)), Some("the disk is full")));
        backup::record(&store, &done(Verb::Create, Some("two"), Ok(78)), at(3)).await.unwrap();
        assert_eq!(backup::last_run(store.db(), Verb::Create).await.unwrap().archive.as_deref(), Some("two"));
        assert_eq!(backup::last_run(store.db(), Verb::Verify).await.unwrap(), Run::default());
        let failures = counters::read_all(store.db(), "backup.").await.unwrap();
        assert_eq!(failures.into_iter().collect::<Vec<_>>(), [(backup::failure_counter(Verb::Create), 1)]);
        assert_eq!(number(&store, "SELECT count(*) AS n FROM audit_events WHERE action = 'backup.create'").await, 3);
        assert_eq!(number(&store, "SELECT count(*) AS n FROM backup_runs").await, 1);
    }

    async fn rows_are_counted_for_every_table(store: TestStore) {
        insert(&store, &team("t-one", "one")).await.unwrap();
        let content = backup::look(store.db()).await.unwrap();
        assert_eq!((content.tables["teams"], content.tables["owners"], content.schema), (1, 0, migrate::known()));
        assert!(content.tables.contains_key("_sqlx_migrations") && content.keys.is_empty());
        assert!(!backup::is_empty(store.db()).await.unwrap());
        assert_eq!(backup::damage(store.db()).await.unwrap(), None);
        assert!(!backup::server_version(store.db()).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_copy_of_sqlite_is_of_one_moment_and_needs_no_journal() {
    let store = TestStore::open(Engine::Sqlite).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("it's a copy.db");
    insert(&store, &team("t-one", "one")).await.unwrap();
    let copied = async { backup::copy(store.db(), &to).await.unwrap() };
    let written = async {
        for n in 0..50 {
            insert(&store, &team(&format!("t-more-{n}"), &format!("more {n}"))).await.unwrap();
        }
    };
    tokio::join!(copied, written);
    assert!(to.metadata().unwrap().len() <= backup::copy_size(store.db()).await.unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let copy = TestStore::connect(&format!("sqlite://{}", to.display())).await;
    assert_eq!(backup::damage(copy.db()).await.unwrap(), None);
    // Each team came with its own audit row: a copy of one moment has as many of both.
    let content = backup::look(copy.db()).await.unwrap();
    assert_eq!(content.tables["teams"], content.tables["audit_events"]);
    copy.db().close().await;
    assert!(matches!(backup::copy(store.db(), &to).await, Err(StoreError::Database(_))), "it is there already");

    let file = std::fs::File::options().write(true).open(&to).unwrap();
    file.write_all_at(&[0xA5; 4096], to.metadata().unwrap().len() / 2).unwrap();
    let copy = TestStore::connect(&format!("sqlite://{}", to.display())).await;
    assert!(!matches!(backup::damage(copy.db()).await, Ok(None)));
}

#[tokio::test]
async fn a_snapshot_of_postgres_sees_nothing_that_came_later() {
    let store = TestStore::open(Engine::Postgres).await;
    insert(&store, &team("t-one", "one")).await.unwrap();
    let mut snapshot = Snapshot::take(store.db()).await.unwrap();
    insert(&store, &team("t-two", "two")).await.unwrap();
    let content = snapshot.look().await.unwrap();
    assert_eq!((content.tables["teams"], content.schema), (1, migrate::known()));
    assert!(!snapshot.id().is_empty());
    snapshot.end().await.unwrap();
    assert_eq!(number(&store, "SELECT count(*) AS n FROM teams").await, 2);
    assert!(store.db().fetch_optional(sql("SELECT 1 AS n")).await.unwrap().is_some());
}
