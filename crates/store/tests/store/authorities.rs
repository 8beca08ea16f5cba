//! CA certificates with their keys.

use certctl_store::authorities::{self, Authority, Purpose};
use certctl_store::db::sql;
use certctl_store::{Store, StoreError, secrets};
use certctl_testkit::both_databases;

use crate::common::{TestStore, alice, at, entry, id, number, run};

/// Writes a new authority with its key; `false` when there is one.
async fn add(store: &Store, authority_id: &str, purpose: Purpose, issuer: Option<&str>) -> Result<bool, StoreError> {
    let mut tx = store.write(alice()).await?;
    let secret_id = secrets::seal(&mut tx, "authority", b"key").await?;
    let authority = Authority {
        id: id(authority_id),
        issuer_id: issuer.map(id),
        purpose,
        chain_pem: format!("chain of {authority_id}"),
        secret_id,
        not_after: at(1_000),
        retired_at: None,
        created_at: at(0),
    };
    let inserted = authorities::insert(&mut tx, &authority).await?;
    if inserted {
        tx.commit(entry()).await?;
    }
    Ok(inserted)
}

async fn issuer(store: &Store, id: &str) {
    let insert = sql("INSERT INTO issuers (id, name, type, config, enabled, test_status, revision, created_at, updated_at)
                      VALUES ($1, $1, 'GenericCA', $2, $3, 'untested', 1, $4, $4)");
    run(store, insert.bind(id).bind(serde_json::json!({})).bind(true).bind(at(0))).await.unwrap();
}

both_databases! {
    async fn one_of_a_purpose_is_active(store: TestStore) {
        issuer(&store, "iss-1").await;
        issuer(&store, "iss-2").await;
        for (name, purpose, issuer) in [
            ("ca-p", Purpose::Platform, None),
            ("ca-s", Purpose::Seal, None),
            ("ca-1", Purpose::Issuing, Some("iss-1")),
            ("ca-2", Purpose::Issuing, Some("iss-2")),
            ("ca-r", Purpose::Root, Some("iss-1")),
        ] {
            assert!(add(&store, name, purpose, issuer).await.unwrap());
            assert!(!add(&store, "ca-x", purpose, issuer).await.unwrap());
            let active = authorities::active(store.db(), purpose, issuer.map(id).as_ref()).await.unwrap().unwrap();
            assert_eq!((active.id.to_string(), active.chain_pem), (name.to_owned(), format!("chain of {name}")));
            assert_eq!(secrets::open(&store, &active.secret_id).await.unwrap().expose(), b"key");
        }
        assert_eq!(authorities::active(store.db(), Purpose::Issuing, None).await.unwrap(), None);
        assert_eq!(authorities::list(store.db()).await.unwrap().len(), 5);
        // What lost left nothing behind.
        assert_eq!(number(&store, "SELECT count(*) AS n FROM secrets").await, 5);
    }

    async fn a_retired_one_makes_room(store: TestStore) {
        assert!(add(&store, "ca-1", Purpose::Platform, None).await.unwrap());
        let mut tx = store.write(alice()).await.unwrap();
        assert!(authorities::retire(&mut tx, &id("ca-1")).await.unwrap());
        assert!(!authorities::retire(&mut tx, &id("ca-1")).await.unwrap());
        assert_eq!(authorities::active_in(&mut tx, Purpose::Platform, None).await.unwrap(), None);
        tx.commit(entry()).await.unwrap();
        assert!(add(&store, "ca-2", Purpose::Platform, None).await.unwrap());
        let all: Vec<_> = authorities::list(store.db()).await.unwrap().into_iter().map(|one| (one.id.to_string(), one.retired_at)).collect();
        assert_eq!(all, [("ca-1".to_owned(), Some(at(0))), ("ca-2".to_owned(), None)]);
        assert_eq!(authorities::get(store.db(), &id("ca-1")).await.unwrap().unwrap().purpose, Purpose::Platform);
        assert_eq!(authorities::get(store.db(), &id("ca-9")).await.unwrap(), None);
    }

    async fn replicas_that_start_together_make_one(store: TestStore) {
        let (a, b, c) =
            tokio::join!(add(&store, "ca-a", Purpose::Root, None), add(&store, "ca-b", Purpose::Root, None), add(&store, "ca-c", Purpose::Root, None));
        let made = [a.unwrap(), b.unwrap(), c.unwrap()];
        assert_eq!(made.iter().filter(|made| **made).count(), 1);
        assert_eq!(authorities::list(store.db()).await.unwrap().len(), 1);
        assert_eq!(number(&store, "SELECT count(*) AS n FROM secrets").await, 1);
    }

    async fn its_issuer_must_exist(store: TestStore) {
        assert!(matches!(add(&store, "ca-1", Purpose::Issuing, Some("iss-none")).await, Err(StoreError::Reference(_))));
    }
}
