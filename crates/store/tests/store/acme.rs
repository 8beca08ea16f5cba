//! Accounts at ACME CAs, and challenges.

use certctl_domain::agent::AgentStatus;
use certctl_domain::challenge::{AnswerState, CannotAnswer, ChallengeKind};
use certctl_domain::ids::{AgentId, IssuerId, SecretId};
use certctl_domain::issuer::Issuer;
use certctl_domain::noun::Noun as _;
use certctl_store::acme_accounts::{self, AcmeAccount};
use certctl_store::acme_challenges::{self, AcmeChallenge};
use certctl_store::db::sql;
use certctl_store::{Store, StoreError, jobs, secrets};
use certctl_testkit::both_databases;

use crate::common::{TestStore, alice, at, entry, id, insert, run};
use crate::{heartbeats, retention};

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

    async fn agents_are_handed_what_is_open_for_jobs_that_have_not_ended(store: TestStore) {
        for (agent, job_id) in [("ag-1", "job-1"), ("ag-2", "job-2")] {
            heartbeats::add(&store, agent, AgentStatus::Online).await;
            retention::certificate(&store, job_id).await;
            retention::job(&store, job_id, job_id, 0, None).await;
        }
        let put = async |token: &str, server_name: Option<&str>, job: &str, agents: &[&str]| {
            let mut tx = store.write(alice()).await.unwrap();
            let challenge = AcmeChallenge {
                token: token.to_owned(),
                issuer_id: id("iss-1"),
                key_authorization: format!("{token}.thumb"),
                server_name: server_name.map(str::to_owned),
                expires_at: at(60),
            };
            acme_challenges::put(&mut tx, &challenge).await.unwrap();
            let agents: Vec<AgentId> = agents.iter().map(|agent| id(agent)).collect();
            acme_challenges::hand_over(&mut tx, token, &id(job), &agents).await.unwrap();
            tx.commit_housekeeping("test").await.unwrap();
        };
        let open = async |agent: &str, second: i64| {
            let open = acme_challenges::of_agent(store.db(), &id(agent), at(second)).await.unwrap();
            open.into_iter().map(|one| (one.kind, one.key_authorization.token().to_owned(), one.server_name)).collect::<Vec<_>>()
        };
        let note = async |agent: &str, token: &str, failed: Option<CannotAnswer>| {
            let mut tx = store.write(alice()).await.unwrap();
            let job = acme_challenges::note(&mut tx, &id(agent), token, failed.as_ref()).await.unwrap();
            tx.commit_housekeeping("test").await.unwrap();
            job
        };
        let states = async |token: &str| {
            let answerers = acme_challenges::answerers(store.db(), token).await.unwrap();
            answerers.into_iter().map(|one| (one.name, one.state)).collect::<Vec<_>>()
        };
        put("t-1", None, "job-1", &["ag-1", "ag-2"]).await;
        put("t-2", Some("a.test"), "job-2", &["ag-1"]).await;
        put("t-3", None, "job-2", &[]).await;
        let (one, two) = ((ChallengeKind::Http01, "t-1".to_owned(), None), (ChallengeKind::TlsAlpn01, "t-2".to_owned(), Some("a.test".to_owned())));
        assert_eq!((open("ag-1", 0).await, open("ag-2", 0).await), (vec![one.clone(), two], vec![one.clone()]));
        assert_eq!(open("ag-1", 60).await, []);

        let failed = CannotAnswer { error: "no".to_owned(), hint: Some("do".to_owned()), permanent: true };
        assert_eq!(note("ag-2", "t-1", Some(failed.clone())).await, Some(id("job-1")));
        assert_eq!((note("ag-2", "t-2", None).await, note("ag-1", "t-9", None).await), (None, None));
        assert_eq!(states("t-1").await, [("ag-1".to_owned(), AnswerState::Awaited), ("ag-2".to_owned(), AnswerState::Failed(failed))]);
        assert_eq!(note("ag-2", "t-1", None).await, Some(id("job-1")));
        // Put out once more, after a crash: what was said stays.
        put("t-1", None, "job-1", &["ag-1", "ag-2"]).await;
        assert_eq!(states("t-1").await, [("ag-1".to_owned(), AnswerState::Awaited), ("ag-2".to_owned(), AnswerState::Ready)]);

        run(&store, sql("UPDATE jobs SET completed_at = $1 WHERE id = 'job-2'").bind(at(1))).await.unwrap();
        assert_eq!(open("ag-1", 1).await, [one]);
        let mut tx = store.write(alice()).await.unwrap();
        let agents = acme_challenges::agents_of(&mut tx, &id("iss-1"), "t-1").await.unwrap();
        assert_eq!((agents.len(), acme_challenges::agents_of(&mut tx, &id("iss-2"), "t-1").await.unwrap().len()), (2, 0));
        acme_challenges::delete(&mut tx, &id("iss-1"), "t-1").await.unwrap();
        tx.commit_housekeeping("test").await.unwrap();
        assert_eq!((open("ag-1", 1).await, states("t-1").await), (vec![], vec![]));
    }

    async fn only_a_job_of_the_server_that_waits_is_hastened(store: TestStore) {
        retention::certificate(&store, "mc-1").await;
        retention::job(&store, "job-1", "mc-1", 0, None).await;
        let hasten = async || {
            let mut tx = store.write(alice()).await.unwrap();
            let hastened = jobs::hasten(&mut tx, &id("job-1")).await.unwrap();
            tx.commit_housekeeping("test").await.unwrap();
            hastened
        };
        let become_ = async |status: &str, worker: &str| {
            let statement = sql("UPDATE jobs SET status = $1, worker = $2, scheduled_at = $3 WHERE id = 'job-1'").bind(status).bind(worker).bind(at(30));
            run(&store, statement).await.unwrap();
        };
        become_("Running", "server").await;
        assert!(!hasten().await);
        become_("Pending", "ag-1").await;
        assert!(!hasten().await);
        become_("Pending", "server").await;
        assert!(hasten().await);
        assert_eq!(jobs::get(store.db(), &id("job-1")).await.unwrap().unwrap().job.scheduled_at, at(0));
        assert!(!hasten().await, "it is due already");
    }
}
