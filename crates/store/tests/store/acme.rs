//! Accounts at ACME CAs, and challenges.

use certctl_domain::ids::{IssuerId, SecretId};
use certctl_domain::issuer::Issuer;
use certctl_domain::noun::Noun as _;
use certctl_store::acme_accounts::{self, AcmeAccount};
use certctl_store::acme_challenges::{self, AcmeChallenge};
use certctl_store::{Store, StoreError, secrets};
use certctl_testkit::both_databases;

use crate::common::{TestStore, alice, at, entry, id, insert};

async fn issuer(store: &Store) -> IssuerId {
    let draft = serde_json::json!({"name": "le", "type": "ACME"});
    let issuer = Issuer::create(id("iss-le"), serde_json::from_value(draft).unwrap(), at(0)).unwrap();
    insert(store, &issuer).await.unwrap();
    issuer.id
}

async fn begin(store: &Store, issuer: &IssuerId) -> Result<bool, StoreError> {
    let mut tx = store.write(alice()).await?;
    let secret_id: SecretId = secrets::seal(&mut tx, "acme_account", b"key").await?;
    let account = AcmeAccount {
        issuer_id: issuer.clone(),
        directory_url: "https://ca.test/dir".to_owned(),
        secret_id,
        next_secret_id: None,
        account_url: None,
        contact: String::new(),
    };
    let first = acme_accounts::insert(&mut tx, &account).await?;
    if first {
        tx.commit(entry()).await?;
    }
    Ok(first)
}

both_databases! {
    async fn of_replicas_that_begin_together_one_begins_the_account(store: TestStore) {
        let issuer = issuer(&store).await;
        let (one, two) = tokio::join!(begin(&store, &issuer), begin(&store, &issuer));
        assert_eq!(u8::from(one.unwrap()) + u8::from(two.unwrap()), 1);
        let account = acme_accounts::get(store.db(), &issuer, "https://ca.test/dir").await.unwrap().unwrap();
        assert_eq!(acme_accounts::get(store.db(), &issuer, "https://other.test/dir").await.unwrap(), None);
        let mut tx = store.write(alice()).await.unwrap();
        let held = acme_accounts::get_for_update(&mut tx, &issuer, "https://ca.test/dir").await.unwrap().unwrap();
        assert_eq!(held, account);
        let changed = AcmeAccount { account_url: Some("https://ca.test/1".to_owned()), contact: "mailto:a@b.test".to_owned(), ..held };
        acme_accounts::update(&mut tx, &changed).await.unwrap();
        tx.commit(entry()).await.unwrap();
        assert_eq!(acme_accounts::get(store.db(), &issuer, "https://ca.test/dir").await.unwrap(), Some(changed));
    }

    async fn a_challenge_is_answered_until_it_expires_or_is_withdrawn(store: TestStore) {
        let issuer = issuer(&store).await;
        let put = async |token: &str, answer: &str| {
            let mut tx = store.write(alice()).await.unwrap();
            let challenge = AcmeChallenge { token: token.to_owned(), issuer_id: issuer.clone(), key_authorization: answer.to_owned(), server_name: None, expires_at: at(60) };
            acme_challenges::put(&mut tx, &challenge).await.unwrap();
            tx.commit_housekeeping("test").await.unwrap();
        };
        put("t-1", "old").await;
        put("t-1", "new").await;
        put("t-2", "two").await;
        let answer = async |token: &str, second: i64| acme_challenges::answer(store.db(), token, at(second)).await.unwrap();
        assert_eq!(answer("t-1", 59).await.as_deref(), Some("new"));
        assert_eq!((answer("t-1", 60).await, answer("t-3", 0).await), (None, None));
        let mut tx = store.write(alice()).await.unwrap();
        acme_challenges::delete(&mut tx, &id("iss-other"), "t-2").await.unwrap();
        acme_challenges::delete(&mut tx, &issuer, "t-1").await.unwrap();
        tx.commit_housekeeping("test").await.unwrap();
        assert_eq!((answer("t-1", 0).await, answer("t-2", 0).await.as_deref()), (None, Some("two")));
    }
}
