//! Through an ACME CA that misbehaves as real ones do: over the real store, with replicas that are killed in the middle.

use std::sync::Arc;
use std::time::Duration;

use certctl_domain::challenge::{CannotAnswer, ChallengeKind};
use certctl_domain::issuer::Issuer;
use certctl_domain::job::{JobKind, JobStatus};
use certctl_domain::x509::RevocationReason;
use certctl_engine::clock::{Clock as _, FakeClock, SystemClock};
use certctl_engine::error::ErrorKind;
use certctl_engine::{Engine, Options, certificates, challenges, crud, issuers, jobs};
use certctl_pki::chain::Chain;
use certctl_testkit::acme::{Pebble, PebbleSetup, answer_http};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::house::{House, TestAgent};

/// A house beside a pebble that asks it for its proofs.
struct Town {
    house: House,
    pebble: Pebble,
    issuer: Issuer,
}

impl Town {
    async fn open(engine: certctl_testkit::Engine) -> Self {
        // A real CA has a real clock; this one starts with it and is moved on when something waits.
        let house = House::open_at(engine, SystemClock.now()).await;
        let asked = Arc::clone(&house.engine);
        let http_port = answer_http(move |path| {
            let engine = Arc::clone(&asked);
            async move { issuers::http_challenge(&engine, path.strip_prefix("/.well-known/acme-challenge/")?).await.unwrap() }
        })
        .await;
        let pebble = Pebble::start(PebbleSetup { http_port, ..PebbleSetup::default() }).await;
        let config = json!({"directory_url": pebble.directory_url(), "ca_bundle_pem": pebble.trust_pem(), "terms_of_service_agreed": true});
        let draft = json!({"id": "iss-acme", "name": "pebble", "type": "ACME", "config": config});
        let issuer = crud::create::<Issuer>(&house.admin(), serde_json::from_value(draft).unwrap()).await.unwrap();
        Self { house, pebble, issuer }
    }

    /// Waits until a job stands so, with a clock that does not wait.
    async fn until(&self, id: &certctl_domain::ids::JobId, status: JobStatus) {
        certctl_testkit::wait_until(&format!("job {id} to be {status:?}"), Duration::from_secs(60), async || {
            let job = self.house.job(id).await;
            assert!(job.status == status || !job.status.is_over(), "{job:?}");
            if job.status == JobStatus::Pending && job.scheduled_at > self.house.engine.now() {
                self.house.clock.advance(time::Duration::seconds(1));
            }
            job.status == status
        })
        .await;
    }
}

certctl_testkit::both_databases! {
    async fn a_certificate_is_issued_renewed_with_its_predecessor_and_again_when_the_ca_says_so(town: Town) {
        let Town { house, pebble, issuer } = &town;
        assert!(issuers::test(&house.admin(), &issuer.id).await.unwrap().contains("suggests when to renew"));
        let agent = house.agent("web1").await;
        let target = house.target("nginx-1", &agent).await;
        let certificate = house.request(json!({"name": "web", "sans": ["web.example.test"], "target_ids": [target], "issuer_id": issuer.id})).await;
        let item = agent.next().await;
        agent.submit(&item, &crate::house::TestAgent::csr(&item)).await.unwrap();
        town.until(&item.id, JobStatus::Completed).await;
        let first = house.versions(&certificate.id).await.remove(0);
        assert!(first.ari.is_some() && first.issuer_ref.contains_key("order"), "{first:?}");
        agent.deploy().await;

        // The key is changed in between: the account stays the same.
        issuers::roll_account_key(&house.admin(), &issuer.id).await.unwrap();
        certificates::renew(&house.admin(), &certificate.id).await.unwrap();
        let item = agent.next().await;
        agent.submit(&item, &crate::house::TestAgent::csr(&item)).await.unwrap();
        town.until(&item.id, JobStatus::Completed).await;
        let log = pebble.log();
        assert_eq!((pebble.orders(), pebble.certificates(), pebble.accounts()), (2, 2, 1), "{log}");
        assert!(log.contains("is a replacement of"), "{log}");
        let versions = house.versions(&certificate.id).await;
        assert_eq!(versions.len(), 2);
        agent.deploy().await;

        // The CA must revoke, and says so in what it suggests: that is heard of and acted upon.
        let (current, ctx) = (&versions[0], house.admin());
        let connector = house.engine.issuers().get(&ctx, issuer).await.unwrap();
        let revocation = certctl_issuers::Revocation {
            serial: current.serial_number.clone(),
            issuer_ref: current.issuer_ref.clone(),
            chain_pem: current.pem_chain.clone(),
            reason: RevocationReason::Unspecified,
        };
        assert_eq!(house.run_task("renewal_info").await, 0, "nothing changed yet");
        connector.revoke(&revocation).await.unwrap();
        house.clock.advance(time::Duration::hours(28));
        assert_eq!(house.run_task("renewal_info").await, 1);
        assert_eq!(house.run_task(certctl_engine::renewal::TASK).await, 1);
        assert_eq!(house.jobs(&certificate.id, JobKind::Renewal).await.len(), 2);
        assert!(versions.iter().all(|version| Chain::parse_pem(&version.pem_chain).unwrap().iter().count() >= 2));
    }

    async fn the_ca_is_told_to_look_when_the_agent_of_the_host_says_so_and_not_before(town: Town) {
        let Town { house, pebble, issuer } = &town;
        let mut config = issuer.config.clone();
        config.insert("answered_by".to_owned(), json!("agent"));
        let draft = json!({"id": "iss-hosts", "name": "hosts", "type": "ACME", "config": config});
        let issuer = crud::create::<Issuer>(&house.admin(), serde_json::from_value(draft).unwrap()).await.unwrap();
        let (agent, other) = (house.agent("web1").await, house.agent("web2").await);
        let request = async |name: &str| {
            let target = house.target(name, &agent).await;
            let draft = json!({"name": name, "sans": [format!("{name}.example.test")], "target_ids": [target], "issuer_id": issuer.id});
            house.request(draft).await;
            let item = agent.next().await;
            agent.submit(&item, &crate::house::TestAgent::csr(&item)).await.unwrap();
            item.id
        };
        let open = async |agent: &TestAgent, has: &str| challenges::open(&agent.ctx, &agent.id, has, Duration::from_secs(20)).await.unwrap();
        let job = request("web").await;
        let first = open(&agent, "").await;
        assert_eq!((first.challenges.len(), first.challenges[0].kind), (1, ChallengeKind::Http01), "{first:?}");
        let token = first.challenges[0].key_authorization.token();
        assert_eq!(challenges::open(&other.ctx, &other.id, "x", Duration::ZERO).await.unwrap(), challenges::Open::default());
        assert_eq!(challenges::note(&other.ctx, &other.id, token, None).await.unwrap_err().kind, ErrorKind::NotFound);

        // While the agent cannot, nobody is told to look, and people are told why.
        let failed = CannotAnswer { error: "the port is taken".to_owned(), hint: Some("stop the other program".to_owned()), permanent: false };
        challenges::note(&agent.ctx, &agent.id, token, Some(failed)).await.unwrap();
        let failed = certctl_testkit::wait_for("a job that failed for now", Duration::from_secs(60), async || {
            house.clock.advance(time::Duration::seconds(1));
            Some(house.job(&job).await).filter(|job| job.last_error.is_some())
        })
        .await;
        assert_eq!(failed.last_error.as_deref(), Some("agent `web1` cannot answer the CA's challenge: the port is taken"));
        assert_eq!((failed.status, failed.hint.as_deref()), (JobStatus::Pending, Some("stop the other program")));
        assert!(!pebble.log().contains("Pulled a task"), "{}", pebble.log());

        // As soon as it can, that job goes on with that order.
        challenges::note(&agent.ctx, &agent.id, token, None).await.unwrap();
        town.until(&job, JobStatus::Completed).await;
        assert_eq!((pebble.orders(), open(&agent, &first.revision).await), (1, challenges::Open::default()));
        agent.deploy().await;

        // What nobody waits for any more is not open any more.
        let job = request("web2").await;
        let second = open(&agent, "").await;
        assert_eq!(second.challenges.len(), 1);
        jobs::cancel(&house.admin(), &job).await.unwrap();
        assert_eq!(open(&agent, &second.revision).await, challenges::Open::default());
    }

    async fn a_replica_that_is_killed_after_ordering_leaves_an_order_that_another_one_finishes(town: Town) {
        let Town { house, pebble, issuer } = &town;
        house.rest();
        let certificate = house.request(json!({"name": "web", "sans": ["a.example.test", "b.example.test"], "issuer_id": issuer.id})).await;
        let job = house.jobs(&certificate.id, JobKind::Issuance).await.remove(0);
        let item_csr = {
            let key = certctl_pki::key::PrivateKey::generate(certctl_domain::x509::KeyAlgorithm::EcdsaP256).unwrap();
            let names = certctl_domain::x509::SanSet::parse(["a.example.test", "b.example.test"]).unwrap();
            certctl_pki::csr::Csr::build(&key, None, &names).unwrap()
        };
        certificates::submit_csr(&house.admin(), &certificate.id, &item_csr).await.unwrap();
        // Each replica lives a little longer than the one before, from when the order is known.
        for life in 0..200_u64 {
            let clock: &Arc<FakeClock> = &house.clock;
            let options = Options::named(format!("replica-{life}"));
            let engine = Engine::new((*house.store).clone(), Arc::clone(clock) as Arc<dyn certctl_engine::clock::Clock>, options);
            let worker = tokio::spawn(jobs::work(engine, CancellationToken::new()));
            certctl_testkit::wait_until("the order to be noted", Duration::from_secs(30), async || {
                let known = house.job(&job.id).await;
                known.status.is_over() || ticket(house, &job.id).await
            })
            .await;
            drop(tokio::time::timeout(Duration::from_millis(15 * life), std::future::pending::<()>()).await);
            worker.abort();
            drop(worker.await);
            if house.job(&job.id).await.status.is_over() {
                break;
            }
            // Its lease ends, and its job is taken up again.
            house.clock.advance(time::Duration::seconds(90));
            house.run_task("job_reaper").await;
        }
        assert_eq!(house.job(&job.id).await.status, JobStatus::Completed);
        assert_eq!((pebble.orders(), pebble.certificates(), house.versions(&certificate.id).await.len()), (1, 1, 1), "{}", pebble.log());
    }
}

/// Whether the order's URL is in the database.
async fn ticket(house: &House, job: &certctl_domain::ids::JobId) -> bool {
    let statement = certctl_store::db::sql("SELECT ticket FROM issuances WHERE job_id = $1").bind(job);
    let row = house.store.db().fetch_optional(statement).await.unwrap();
    row.is_some_and(|row| row.opt_json("ticket").unwrap().is_some_and(|ticket| ticket["order"].is_string()))
}
