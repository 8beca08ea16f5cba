//! Single values.

use certctl_store::meta;
use certctl_testkit::both_databases;

use crate::common::{TestStore, alice};

both_databases! {
    async fn values_are_set_kept_and_removed(store: TestStore) {
        assert_eq!(meta::get(store.db(), "id").await.unwrap(), None);
        let mut tx = store.write(alice()).await.unwrap();
        assert_eq!(meta::set_if_absent(&mut tx, "id", "one").await.unwrap(), "one");
        assert_eq!(meta::set_if_absent(&mut tx, "id", "two").await.unwrap(), "one");
        meta::set(&mut tx, "other", "a").await.unwrap();
        meta::set(&mut tx, "other", "b").await.unwrap();
        tx.commit_housekeeping("test").await.unwrap();
        assert_eq!(meta::get(store.db(), "id").await.unwrap().as_deref(), Some("one"));
        assert_eq!(meta::get(store.db(), "other").await.unwrap().as_deref(), Some("b"));
        let mut tx = store.write(alice()).await.unwrap();
        assert!(meta::remove(&mut tx, "id").await.unwrap());
        assert!(!meta::remove(&mut tx, "id").await.unwrap());
        tx.commit_housekeeping("test").await.unwrap();
        assert_eq!(meta::get(store.db(), "id").await.unwrap(), None);
    }

    async fn replicas_that_start_together_agree(store: TestStore) {
        let choose = async |value: &str| {
            let mut tx = store.write(alice()).await.unwrap();
            let chosen = meta::set_if_absent(&mut tx, "id", value).await.unwrap();
            tx.commit_housekeeping("test").await.unwrap();
            chosen
        };
        let chosen = tokio::join!(choose("a"), choose("b"), choose("c"));
        assert!(chosen.0 == chosen.1 && chosen.1 == chosen.2, "{chosen:?}");
    }
}
