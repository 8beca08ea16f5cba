//! Secrets at rest.

use certctl_domain::ids::SecretId;
use certctl_domain::secret::Secret;
use certctl_store::db::sql;
use certctl_store::idempotency::{self, Answer, Begin, Request};
use certctl_store::secrets::{self, Keyring};
use certctl_store::{OpenOptions, Store, StoreError};
use certctl_testkit::both_databases;

use crate::common::{TestStore, alice, at, entry, id, number, run};

async fn seal(store: &Store, purpose: &str, value: &[u8]) -> SecretId {
    let mut tx = store.write(alice()).await.unwrap();
    let id = secrets::seal(&mut tx, purpose, value).await.unwrap();
    tx.commit(entry()).await.unwrap();
    id
}

/// The same database, opened with other keys.
async fn with_keys(store: &TestStore, active: &Secret<String>, older: &[&str]) -> Store {
    let older = older.iter().map(|text| Secret::new((*text).to_owned())).collect();
    let options = OpenOptions {
        url: Secret::new(store.database().url().to_owned()),
        max_connections: 4,
        acquire_timeout: std::time::Duration::from_secs(10),
        durable: false,
    };
    Store::open(&options, Keyring::from_texts(active.clone(), older).unwrap()).await.unwrap()
}

fn refusal(result: Result<Secret<Vec<u8>>, StoreError>) -> String {
    match result {
        Err(StoreError::Secret(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// The key of `TestStore`.
const TEST_KEY: &str = "Y2VydGN0bCB0ZXN0IGtleSwgMzIgYnl0ZXMgbG9uZy4=";

both_databases! {
    async fn a_secret_comes_back_and_is_not_in_the_database(store: TestStore) {
        let id = seal(&store, "issuer", b"hunter2-hunter2").await;
        assert_eq!(secrets::open(&store, &id).await.unwrap().expose(), b"hunter2-hunter2");
        let empty = seal(&store, "issuer", b"").await;
        assert_eq!(secrets::open(&store, &empty).await.unwrap().expose(), b"");
        let big = vec![7; 100_000];
        let id = seal(&store, "issuer", &big).await;
        let mut tx = store.write(alice()).await.unwrap();
        assert_eq!(secrets::open_in(&mut tx, &id).await.unwrap().expose(), &big);
        for row in store.db().fetch_all(sql("SELECT wrapped_key, nonce, ciphertext FROM secrets")).await.unwrap() {
            for column in ["wrapped_key", "nonce", "ciphertext"] {
                assert!(!row.bytes(column).unwrap().windows(7).any(|part| part == b"hunter2"));
            }
        }
    }

    async fn a_secret_is_replaced_and_deleted(store: TestStore) {
        let secret = seal(&store, "issuer", b"old").await;
        let mut tx = store.write(alice()).await.unwrap();
        secrets::replace(&mut tx, &secret, b"new").await.unwrap();
        let absent = secrets::replace(&mut tx, &id("sec-none"), b"new").await.unwrap_err();
        assert_eq!(absent.to_string(), "there is no secret sec-none");
        tx.commit(entry()).await.unwrap();
        assert_eq!(secrets::open(&store, &secret).await.unwrap().expose(), b"new");
        let mut tx = store.write(alice()).await.unwrap();
        assert!(secrets::delete(&mut tx, &secret).await.unwrap());
        assert!(!secrets::delete(&mut tx, &secret).await.unwrap());
        tx.commit(entry()).await.unwrap();
        assert_eq!(refusal(secrets::open(&store, &secret).await), format!("there is no secret {secret}"));
    }

    async fn one_row_cannot_stand_for_another(store: TestStore) {
        let (weak, strong) = (seal(&store, "issuer", b"weak").await, seal(&store, "issuer", b"strong").await);
        let copy = sql("UPDATE secrets SET wrapped_key = (SELECT s.wrapped_key FROM secrets s WHERE s.id = $2),
                            nonce = (SELECT s.nonce FROM secrets s WHERE s.id = $2), ciphertext = (SELECT s.ciphertext FROM secrets s WHERE s.id = $2)
                        WHERE id = $1");
        run(&store, copy.bind(&strong).bind(&weak)).await.unwrap();
        assert!(refusal(secrets::open(&store, &strong).await).contains("it was changed, or belongs elsewhere"));
        run(&store, sql("UPDATE secrets SET purpose = 'other' WHERE id = $1").bind(&weak)).await.unwrap();
        assert!(secrets::open(&store, &weak).await.is_err());
    }

    async fn keys_rotate_batch_by_batch(store: TestStore) {
        let mut ids = Vec::new();
        for i in 0..7_u8 {
            ids.push(seal(&store, "issuer", &[i]).await);
        }
        let old = store.keyring().active_id().to_owned();
        let (_, new) = Keyring::generate().unwrap();
        let both = with_keys(&store, &new, &[TEST_KEY]).await;
        for (i, id) in ids.iter().enumerate() {
            assert_eq!(secrets::open(&both, id).await.unwrap().expose(), &[u8::try_from(i).unwrap()]);
        }
        assert_eq!(secrets::rewrap_batch(&both, alice(), 3).await.unwrap(), 3);
        let usage = secrets::count_by_key(both.db()).await.unwrap();
        assert_eq!((usage[&old], usage[both.keyring().active_id()]), (4, 3));
        assert_eq!(secrets::rewrap_batch(&both, alice(), 3).await.unwrap(), 3);
        assert_eq!(secrets::rewrap_batch(&both, alice(), 3).await.unwrap(), 1);
        assert_eq!(secrets::rewrap_batch(&both, alice(), 3).await.unwrap(), 0);
        let alone = with_keys(&store, &new, &[]).await;
        for (i, id) in ids.iter().enumerate() {
            assert_eq!(secrets::open(&alone, id).await.unwrap().expose(), &[u8::try_from(i).unwrap()]);
            assert!(refusal(secrets::open(&store, id).await).contains(alone.keyring().active_id()));
        }
        assert_eq!(number(&store, "SELECT count(*) AS n FROM audit_events WHERE action = 'secret.rewrap'").await, 3);
    }

    async fn kept_answers_are_sealed_anew_page_by_page(store: TestStore) {
        let requests = ["a", "b", "c"].map(|key| Request { actor: "alice", key, hash: "h" });
        let (_, new) = Keyring::generate().unwrap();
        let both = with_keys(&store, &new, &[TEST_KEY]).await;
        for (request, under) in requests.iter().zip([&*store, &*store, &both]) {
            let Begin::Fresh(ticket) = idempotency::begin(under, *request, at(0)).await.unwrap() else { panic!("not fresh") };
            let answer = Answer { status: 201, headers: Vec::new(), body: request.key.as_bytes().to_vec() };
            assert!(idempotency::finish(under, &ticket, &answer, at(1)).await.unwrap());
        }
        // One that is still in work has nothing to seal.
        idempotency::begin(&store, Request { actor: "bob", key: "d", hash: "h" }, at(0)).await.unwrap();
        let (mut n, mut pages, mut next) = (0, 0, None);
        loop {
            let done = idempotency::rewrap_page(&both, next, 1, at(2)).await.unwrap();
            (n, pages, next) = (n + done.n, pages + 1, done.next);
            if next.is_none() {
                break;
            }
        }
        assert_eq!((n, pages), (2, 4));
        let alone = with_keys(&store, &new, &[]).await;
        for request in requests {
            let replayed = idempotency::begin(&alone, request, at(3)).await.unwrap();
            assert!(matches!(replayed, Begin::Replay(kept) if kept.body == request.key.as_bytes()));
        }
    }

    async fn a_missing_key_is_named_and_the_value_is_not(store: TestStore) {
        let id = seal(&store, "issuer", b"hunter2").await;
        let (_, new) = Keyring::generate().unwrap();
        let other = with_keys(&store, &new, &[]).await;
        let text = refusal(secrets::open(&other, &id).await);
        assert!(text.contains(store.keyring().active_id()) && text.contains(other.keyring().active_id()), "{text}");
        assert!(!text.contains("hunter2"));
        assert_eq!(secrets::missing_keys(&other).await.unwrap(), [store.keyring().active_id()]);
        assert_eq!(secrets::missing_keys(&store).await.unwrap(), Vec::<String>::new());
        let error = secrets::rewrap_batch(&other, alice(), 10).await.unwrap_err().to_string();
        assert!(error.contains(store.keyring().active_id()), "{error}");
        assert_eq!(secrets::open(&store, &id).await.unwrap().expose(), b"hunter2");
    }

    async fn a_secret_in_use_stays(store: TestStore) {
        let secret = seal(&store, "issuer", b"x").await;
        let insert = sql("INSERT INTO issuers (id, name, type, config, enabled, test_status, secret_id, revision, created_at, updated_at)
                          VALUES ('iss-1', 'x', 'GenericCA', $1, $2, 'untested', $3, 1, $4, $4)");
        run(&store, insert.bind(serde_json::json!({})).bind(true).bind(&secret).bind(crate::common::at(0))).await.unwrap();
        let mut tx = store.write(alice()).await.unwrap();
        assert!(matches!(secrets::delete(&mut tx, &secret).await, Err(StoreError::Reference(_))));
    }

    async fn secrets_of_settings_that_were_replaced_go_after_a_day(store: TestStore) {
        let (used, former, other) = (seal(&store, "config", b"x").await, seal(&store, "config", b"y").await, seal(&store, "authority", b"z").await);
        let insert = sql("INSERT INTO issuers (id, name, type, config, enabled, test_status, secret_id, revision, created_at, updated_at)
                          VALUES ('iss-1', 'x', 'GenericCA', $1, $2, 'untested', $3, 1, $4, $4)");
        run(&store, insert.bind(serde_json::json!({})).bind(true).bind(&used).bind(crate::common::at(0))).await.unwrap();
        let after = |days: i64| alice().at.saturating_add(time::Duration::days(days));
        assert_eq!(certctl_store::retention::former_secrets(&store, after(0)).await.unwrap(), 0, "somebody may be at it");
        assert_eq!(certctl_store::retention::former_secrets(&store, after(2)).await.unwrap(), 1);
        assert!(secrets::open(&store, &former).await.is_err());
        for kept in [&used, &other] {
            secrets::open(&store, kept).await.unwrap();
        }
    }
}
