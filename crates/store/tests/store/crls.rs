//! Revocation lists: their numbers, and which edition wins.

use certctl_domain::ids::IssuerId;
use certctl_domain::x509::Serial;
use certctl_store::authorities::{self, Authority, Purpose};
use certctl_store::crls::{self, Edition, List, NewEdition};
use certctl_store::db::sql;
use certctl_store::revocations::{self, Contents};
use certctl_store::{Store, secrets};
use certctl_testkit::both_databases;

use crate::common::{TestStore, alice, at, entry, id, run};

async fn setup(store: &Store) -> IssuerId {
    let issuer: IssuerId = id("iss-1");
    let insert = sql("INSERT INTO issuers (id, name, type, config, enabled, test_status, revision, created_at, updated_at)
                      VALUES ($1, $1, 'GenericCA', $2, $3, 'untested', 1, $4, $4)");
    run(store, insert.bind(&issuer).bind(serde_json::json!({})).bind(true).bind(at(0))).await.unwrap();
    let mut tx = store.write(alice()).await.unwrap();
    let authority = Authority {
        id: id("ca-1"),
        issuer_id: Some(issuer.clone()),
        purpose: Purpose::Issuing,
        chain_pem: String::new(),
        secret_id: secrets::seal(&mut tx, "authority", b"key").await.unwrap(),
        not_after: at(1_000),
        retired_at: None,
        created_at: at(0),
    };
    authorities::insert(&mut tx, &authority).await.unwrap();
    let list = List { issuer_id: issuer.clone(), shard: 0, authority_id: id("ca-1"), url: None, opened_at: at(0), edition: None };
    assert!(crls::open(&mut tx, &list).await.unwrap());
    assert!(!crls::open(&mut tx, &list).await.unwrap(), "twice is once");
    tx.commit(entry()).await.unwrap();
    issuer
}

async fn publish(store: &Store, issuer: &IssuerId, number: i64) -> bool {
    let edition = Edition {
        number,
        this_update: at(number),
        next_update: at(number + 10),
        generated_at: at(number),
        duration_ms: 1,
        revoked_count: 0,
        sha256: format!("{number}"),
        bytes: 1,
    };
    let mut tx = store.write(alice()).await.unwrap();
    let published = crls::publish(&mut tx, NewEdition { issuer_id: issuer, shard: 0, edition: &edition, der: vec![7] }).await.unwrap();
    tx.commit(entry()).await.unwrap();
    published
}

async fn take(store: &Store, issuer: &IssuerId, floor: i64) -> i64 {
    let mut tx = store.write(alice()).await.unwrap();
    let number = crls::take_number(&mut tx, issuer, floor).await.unwrap();
    tx.commit_housekeeping("test").await.unwrap();
    number
}

async fn revoke(store: &Store, issuer: &IssuerId, serial: &str, not_after: i64) {
    let insert =
        sql("INSERT INTO revocations (id, issuer_id, serial_number, certificate_id, version_id, reason, revoked_by, revoked_at, not_after)
                      VALUES ($1, $2, $1, 'mc-1', 'ver-1', 'superseded', 'alice', $3, $4)");
    run(store, insert.bind(serial).bind(issuer).bind(at(0)).bind(at(not_after))).await.unwrap();
}

async fn listed(store: &Store, issuer: &IssuerId, number: i64, before: Option<(i64, i64)>) -> Vec<String> {
    let before = before.map(|(number, seconds)| (number, at(seconds)));
    let contents = Contents { issuer_id: issuer, shards: &[0, 1], number, before };
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = revocations::page(store.db(), &contents, after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else {
            return all;
        };
        after = Some(last.serial.clone());
        all.extend(page.iter().map(|entry| entry.serial.to_string()));
    }
}

both_databases! {
    async fn numbers_only_grow(store: TestStore) {
        let issuer = setup(&store).await;
        assert_eq!(take(&store, &issuer, 100).await, 100);
        assert_eq!(take(&store, &issuer, 100).await, 101);
        assert_eq!(take(&store, &issuer, 7).await, 102);
        assert_eq!(take(&store, &issuer, 500).await, 500);
        let mut all = Vec::new();
        for _ in 0..5 {
            let (a, b, c) = tokio::join!(take(&store, &issuer, 0), take(&store, &issuer, 0), take(&store, &issuer, 0));
            all.extend([a, b, c]);
        }
        all.sort_unstable();
        assert_eq!(all, (501..516).collect::<Vec<_>>());
        assert_eq!(crls::numbers(store.db()).await.unwrap(), [(issuer, 515)]);
    }

    async fn an_older_edition_never_takes_the_place_of_a_newer_one(store: TestStore) {
        let issuer = setup(&store).await;
        assert!(crls::der(store.db(), &issuer, 0).await.unwrap().is_none());
        assert!(publish(&store, &issuer, 5).await);
        assert!(!publish(&store, &issuer, 4).await);
        assert!(!publish(&store, &issuer, 5).await);
        assert!(publish(&store, &issuer, 6).await);
        let (edition, der) = crls::der(store.db(), &issuer, 0).await.unwrap().unwrap();
        assert_eq!((edition.number, edition.sha256.as_str(), der), (6, "6", vec![7]));
        assert_eq!(crls::list(store.db()).await.unwrap()[0].edition, Some(edition));
    }

    async fn entries_are_marked_for_a_number_and_read_page_by_page(store: TestStore) {
        let issuer = setup(&store).await;
        for (serial, ends) in [("0a", 50), ("0b", 500), ("0c", 500)] {
            revoke(&store, &issuer, serial, ends).await;
        }
        let mut tx = store.write(alice()).await.unwrap();
        assert_eq!(revocations::unassigned(&mut tx, &issuer, 10).await.unwrap().len(), 3);
        assert_eq!(revocations::mark(&mut tx, &issuer, 1).await.unwrap(), 0, "what is in no part yet is not marked");
        revocations::assign(&mut tx, &issuer, 1, &[Serial::parse("0a").unwrap()]).await.unwrap();
        assert_eq!(revocations::assign_all(&mut tx, &issuer, 0).await.unwrap(), 2);
        assert_eq!(revocations::mark(&mut tx, &issuer, 1).await.unwrap(), 3);
        tx.commit_housekeeping("test").await.unwrap();
        assert_eq!(revocations::waiting(store.db(), [&issuer]).await.unwrap(), []);
        revoke(&store, &issuer, "0d", 500).await;
        assert_eq!(revocations::waiting(store.db(), [&issuer]).await.unwrap(), std::slice::from_ref(&issuer));
        let new = |number| revocations::newer(store.db(), &issuer, number);
        assert_eq!((new(1).await.unwrap().len(), new(0).await.unwrap().len()), (1, 4));
        assert_eq!(revocations::marked(store.db(), &issuer).await.unwrap(), [(0, 1), (1, 1)].into());
        assert_eq!(listed(&store, &issuer, 1, None).await, ["0a", "0b", "0c"], "what came later is not in it");
        assert_eq!(listed(&store, &issuer, 2, Some((1, 40))).await, ["0a", "0b", "0c"]);
        assert_eq!(listed(&store, &issuer, 2, Some((1, 60))).await, ["0b", "0c"], "it was listed after its end");
        assert_eq!(listed(&store, &issuer, 2, Some((0, 60))).await, ["0a", "0b", "0c"], "it was never listed");
    }
}
