//! Fleet counters.

use std::sync::Arc;

use certctl_store::counters;
use certctl_testkit::both_databases;
use tokio::task::JoinSet;

use crate::common::{TestStore, alice, at, entry, number};

both_databases! {
    async fn a_counter_is_exact_before_and_after_folding(store: TestStore) {
        assert_eq!(counters::read(store.db(), "a").await.unwrap(), 0);
        let mut tx = store.write(alice()).await.unwrap();
        for (name, delta) in [("a", 3), ("a", -1), ("a.b", 5), ("b", 1), ("b", -1)] {
            tx.count(name, delta);
        }
        tx.commit(entry()).await.unwrap();
        // One transaction leaves one change of each counter.
        for folded in [2, 0] {
            assert_eq!(counters::read(store.db(), "a").await.unwrap(), 2);
            let all = counters::read_all(store.db(), "").await.unwrap();
            assert_eq!((all["a"], all["a.b"], all.get("b").copied().unwrap_or(0)), (2, 5, 0));
            let some: Vec<_> = counters::read_all(store.db(), "a.").await.unwrap().into_iter().collect();
            assert_eq!(some, [("a.b".to_owned(), 5)]);
            assert_eq!(counters::read_all(store.db(), "A").await.unwrap().len(), 0);
            assert_eq!(counters::read_all(store.db(), "%").await.unwrap().len(), 0);
            assert_eq!(counters::fold(&store, at(1)).await.unwrap(), folded);
        }
        assert_eq!(number(&store, "SELECT count(*) AS n FROM counter_deltas").await, 0);
    }

    async fn many_deltas_are_folded_in_batches(store: TestStore) {
        let mut tx = store.write(alice()).await.unwrap();
        let mut changes = certctl_store::db::sql("INSERT INTO counter_deltas (name, delta) VALUES ");
        changes.push_rows((0..2_500).map(|_| vec!["a".into(), 1_i64.into()]));
        tx.execute(changes).await.unwrap();
        tx.commit(entry()).await.unwrap();
        assert_eq!(counters::fold(&store, at(1)).await.unwrap(), 2_500);
        assert_eq!(counters::read(store.db(), "a").await.unwrap(), 2_500);
    }

    async fn counters_stay_exact_while_two_fold_and_eight_write(store: TestStore) {
        let store = Arc::new(store);
        let mut writers = JoinSet::new();
        for writer in 0..8_i64 {
            let store = Arc::clone(&store);
            writers.spawn(async move {
                for i in 0..25 {
                    let mut tx = store.write(alice()).await.unwrap();
                    tx.count("all", 1);
                    tx.count(if (writer + i) % 2 == 0 { "even" } else { "odd" }, 2);
                    tx.commit(entry()).await.unwrap();
                }
            });
        }
        let mut folders = JoinSet::new();
        let (stop, stopped) = tokio::sync::watch::channel(false);
        for _ in 0..2 {
            let (store, stopped) = (Arc::clone(&store), stopped.clone());
            folders.spawn(async move {
                let mut last = 0;
                while !*stopped.borrow() {
                    counters::fold(&store, at(1)).await.unwrap();
                    // It never goes back: a reader sees each fold whole.
                    let now = counters::read(store.db(), "all").await.unwrap();
                    assert!(now >= last, "{now} after {last}");
                    last = now;
                }
            });
        }
        writers.join_all().await;
        stop.send(true).unwrap();
        folders.join_all().await;
        counters::fold(&store, at(2)).await.unwrap();
        let all = counters::read_all(store.db(), "").await.unwrap();
        assert_eq!((all["all"], all["even"] + all["odd"]), (200, 400));
        assert_eq!(number(&store, "SELECT value AS n FROM counters WHERE name = 'all'").await, 200);
    }
}
