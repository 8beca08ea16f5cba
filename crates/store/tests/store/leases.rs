//! Cluster leases.

use certctl_store::leases::{self, Candidate, Lease};
use certctl_store::{Store, StoreError};
use certctl_testkit::both_databases;
use time::Duration;

use crate::common::{TestStore, alice, at};

async fn ask(store: &Store, holder: &str, seconds: i64) -> Option<Lease> {
    let candidate = Candidate { holder, now: at(seconds), ttl: Duration::seconds(30) };
    leases::acquire_or_renew(store, "renewals", candidate).await.unwrap()
}

both_databases! {
    async fn one_holds_it_until_it_expires(store: TestStore) {
        let other = store.replica().await;
        let first = ask(&store, "one", 0).await.unwrap();
        assert_eq!((first.fence, first.expires_at), (1, at(30)));
        assert_eq!(ask(&other, "two", 29).await, None);
        let renewed = ask(&store, "one", 20).await.unwrap();
        assert_eq!((renewed.fence, renewed.expires_at), (1, at(50)));
        assert_eq!(ask(&other, "two", 49).await, None);
        let taken = ask(&other, "two", 50).await.unwrap();
        assert_eq!((taken.fence, taken.expires_at), (2, at(80)));
        assert_eq!(ask(&store, "one", 51).await, None);
    }

    async fn who_renews_late_keeps_it_if_nobody_else_came(store: TestStore) {
        let first = ask(&store, "one", 0).await.unwrap();
        assert_eq!(ask(&store, "one", 1_000).await.unwrap().fence, first.fence);
    }

    async fn what_a_former_holder_does_is_refused(store: TestStore) {
        let other = store.replica().await;
        let first = ask(&store, "one", 0).await.unwrap();
        assert!(leases::mark_success(&store, &first, at(1)).await.unwrap());
        let second = ask(&other, "two", 30).await.unwrap();
        let mut tx = store.write(alice()).await.unwrap();
        assert!(matches!(leases::check(&mut tx, &first).await, Err(StoreError::Stale)));
        leases::check(&mut tx, &second).await.unwrap();
        drop(tx);
        assert!(!leases::mark_success(&store, &first, at(31)).await.unwrap());
        assert!(!leases::release(&store, &first, at(31)).await.unwrap());
        let row = leases::get(store.db(), "renewals").await.unwrap().unwrap();
        assert_eq!((row.holder.as_deref(), row.fence, row.succeeded_at), (Some("two"), 2, Some(at(1))));
    }

    async fn a_lease_that_is_given_back_is_free_at_once(store: TestStore) {
        let first = ask(&store, "one", 0).await.unwrap();
        assert!(leases::release(&store, &first, at(5)).await.unwrap());
        assert!(!leases::release(&store, &first, at(5)).await.unwrap());
        let row = leases::get(store.db(), "renewals").await.unwrap().unwrap();
        assert_eq!((row.holder, row.expires_at), (None, at(5)));
        assert_eq!(ask(&store, "two", 5).await.unwrap().fence, 2);
        let again = ask(&store, "one", 40).await.unwrap();
        assert_eq!(again.fence, 3);
        assert_eq!(leases::release_all(&store, "one", at(41)).await.unwrap(), 1);
        assert_eq!(leases::release_all(&store, "one", at(41)).await.unwrap(), 0);
        assert_eq!(ask(&store, "one", 41).await.unwrap().fence, 4);
    }

    async fn what_was_given_back_by_a_clock_that_was_ahead_is_free_too(store: TestStore) {
        let first = ask(&store, "one", 1_000_000).await.unwrap();
        assert!(leases::release(&store, &first, at(1_000_001)).await.unwrap());
        assert_eq!(ask(&store, "two", 5).await.unwrap().fence, 2);
    }

    async fn leases_are_listed_by_name(store: TestStore) {
        for name in ["b", "a"] {
            leases::acquire_or_renew(&store, name, Candidate { holder: "one", now: at(0), ttl: Duration::seconds(1) }).await.unwrap();
        }
        let names: Vec<_> = leases::list(store.db()).await.unwrap().into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(leases::get(store.db(), "c").await.unwrap(), None);
    }

    async fn of_many_who_ask_at_once_one_gets_it(store: TestStore) {
        let names: Vec<String> = (0..6).map(|i| format!("replica {i}")).collect();
        for round in 0..5 {
            let asked = futures_util::future::join_all(names.iter().map(|name| ask(&store, name, round * 100))).await;
            let winners: Vec<_> = asked.into_iter().flatten().collect();
            assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        }
    }
}
