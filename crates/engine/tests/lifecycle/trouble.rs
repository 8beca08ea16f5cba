//! What goes wrong: holders that die, results that come late, issuers that refuse, replicas that share the work.

use std::process::Stdio;
use std::time::Duration;

use certctl_domain::certificate::CertificateStatus;
use certctl_domain::issuer::Issuer;
use certctl_domain::job::{JobKind, JobStatus};
use certctl_domain::x509::RevocationReason;
use certctl_engine::agents;
use certctl_engine::deploy::{self, Progress, Report};
use certctl_engine::revoke::{What, revoke};
use certctl_engine::{ErrorKind, certificates, crud, renewal};
use certctl_store::counters;
use certctl_store::db::sql;
use certctl_testkit::both_databases;
use serde_json::json;

use crate::house::{House, TestAgent};

both_databases! {
    async fn a_deployment_whose_agent_died_is_handed_out_again_and_the_late_result_is_refused(house: House) {
        let agent = house.agent("web1").await;
        let target = house.target("nginx-1", &agent).await;
        house.request(json!({"name": "web", "sans": ["web.example.test"], "target_ids": [target]})).await;
        agent.issue(&house).await;
        let first = agent.next().await;
        house.clock.advance(time::Duration::minutes(2));
        assert_eq!(house.run_task("job_reaper").await, 1);
        let again = agent.next().await;
        assert_eq!(again.id, first.id);
        assert!(again.fence > first.fence);
        let late = deploy::report(&agent.ctx, &agent.id, &first.id, Progress::Completed, Report { fence: Some(first.fence), ..Report::default() }).await.unwrap_err();
        assert_eq!((late.kind, late.code), (ErrorKind::Conflict, "lease_lost"));
        assert_eq!(house.job(&first.id).await.status, JobStatus::Running);
        deploy::report(&agent.ctx, &agent.id, &again.id, Progress::Completed, Report { fence: Some(again.fence), ..Report::default() }).await.unwrap();
        let over = deploy::report(&agent.ctx, &agent.id, &again.id, Progress::Completed, Report { fence: Some(again.fence), ..Report::default() }).await.unwrap_err();
        assert_eq!(over.code, "job_over");
    }

    async fn reporting_keeps_a_lease_alive(house: House) {
        let agent = house.agent("web1").await;
        let target = house.target("nginx-1", &agent).await;
        house.request(json!({"name": "web", "sans": ["web.example.test"], "target_ids": [target]})).await;
        agent.issue(&house).await;
        let item = agent.next().await;
        for _ in 0..5 {
            house.clock.advance(time::Duration::seconds(40));
            deploy::report(&agent.ctx, &agent.id, &item.id, Progress::Running, Report { fence: Some(item.fence), ..Report::default() }).await.unwrap();
            assert_eq!(house.run_task("job_reaper").await, 0);
        }
    }

    async fn a_target_that_serves_something_else_is_not_deployed(house: House) {
        let agent = house.agent("web1").await;
        let target = house.target("nginx-1", &agent).await;
        house.request(json!({"name": "web", "sans": ["web.example.test"], "target_ids": [target]})).await;
        agent.issue(&house).await;
        let item = agent.next().await;
        let report = Report { fence: Some(item.fence), observed_fingerprint: Some("0".repeat(64)), ..Report::default() };
        let job = deploy::report(&agent.ctx, &agent.id, &item.id, Progress::Completed, report).await.unwrap();
        assert_eq!(job.status, JobStatus::Pending);
        assert!(job.reason.contains("serves another certificate"), "{job:?}");
    }

    async fn a_target_that_the_server_sees_otherwise_gets_it_a_few_times_and_people_are_told(house: House) {
        let stranger = Stranger::open().await;
        let (agent, certificate) = house.deployed("web").await;
        certificates::deploy(&house.admin(), &certificate.id, None).await.unwrap();
        for round in 2..=3 {
            let item = agent.next().await;
            let (version, _) = agents::certificate(&agent.ctx, &agent.id, &item.certificate_id, item.version_id.as_ref()).await.unwrap();
            let report = Report {
                fence: Some(item.fence),
                observed_fingerprint: Some(version.fingerprint_sha256.to_string()),
                looked_at: vec![(stranger.address.clone(), Some("web.example.test".to_owned()))],
                ..Report::default()
            };
            deploy::report(&agent.ctx, &agent.id, &item.id, Progress::Completed, report).await.unwrap();
            certctl_testkit::wait_until("the server to have looked often enough", Duration::from_secs(30), async || {
                // It looks again after two seconds of the clock that the test moves.
                house.clock.advance(time::Duration::seconds(1));
                let looks = house.jobs(&certificate.id, JobKind::Validation).await;
                looks.len() == round - 1 && looks.iter().all(|job| job.status == JobStatus::Completed)
            })
            .await;
        }
        let deployments = house.jobs(&certificate.id, JobKind::Deployment).await;
        assert_eq!((deployments.len(), deployments.iter().filter(|job| !job.status.is_over()).count()), (3, 0), "{deployments:#?}");
        for (counter, looks) in [("deployments.mismatched", 2), ("deployments.verified", 0), ("deployments.unseen", 0)] {
            assert_eq!(counters::read(house.store.db(), counter).await.unwrap(), looks, "{counter}");
        }
        let told = house.store.db().fetch_all(sql("SELECT message FROM outbox WHERE type = 'DeploymentFailure'")).await.unwrap();
        assert_eq!(told.len(), 1);
        assert!(told[0].text("message").unwrap().contains("serves another certificate"));
    }

    async fn a_ca_that_does_not_answer_keeps_no_other_from_hearing_of_revocations(house: House) {
        let config = json!({"directory_url": "https://127.0.0.1:1/directory"});
        let draft = serde_json::from_value(json!({"name": "deaf", "type": "ACME", "config": config})).unwrap();
        let deaf = crud::create::<Issuer>(&house.admin(), draft).await.unwrap();
        let (_one, first) = house.deployed("first").await;
        let (_two, second) = house.deployed("second").await;
        let statement = sql("UPDATE certificate_versions SET issuer_id = $1 WHERE certificate_id = $2").bind(&deaf.id).bind(&first.id);
        house.write(statement).await;
        for certificate in [&first, &second] {
            revoke(&house.admin(), &certificate.id, &What::Everything, RevocationReason::KeyCompromise).await.unwrap();
        }
        house.run_task("revocation_teller").await;
        let waiting = async || house.number("SELECT count(*) AS n FROM revocations WHERE issuer_notified_at IS NULL").await;
        assert_eq!(waiting().await, 1, "the other one was told");
        let attempts = async || house.number("SELECT CAST(sum(tell_attempts) AS bigint) AS n FROM revocations").await;
        assert_eq!(attempts().await, 1);
        house.run_task("revocation_teller").await;
        assert_eq!(attempts().await, 1, "not at once again");
        house.clock.advance(time::Duration::seconds(31));
        house.run_task("revocation_teller").await;
        assert_eq!((attempts().await, waiting().await), (2, 1));
    }

    async fn an_issuer_that_is_disabled_blocks_with_a_hint_and_heals(house: House) {
        let (agent, certificate) = house.deployed("web").await;
        house.clock.advance(time::Duration::days(61));
        house.run_task(renewal::TASK).await;
        let item = agent.next().await;
        crud::patch::<Issuer>(&house.admin(), &certificate.issuer_id, &json!({"enabled": false}), None).await.unwrap();
        agent.submit(&item, &TestAgent::csr(&item)).await.unwrap();
        house.until(&item.id, JobStatus::Cancelled).await;
        let said = certctl_engine::explain::certificate(&house.admin(), &certificate.id).await.unwrap();
        assert!(said.next.is_some_and(|next| next.contains("issuer is disabled")) && said.hint.is_some_and(|hint| hint.contains("enable the issuer")));
        crud::patch::<Issuer>(&house.admin(), &certificate.issuer_id, &json!({"enabled": true}), None).await.unwrap();
        house.clock.advance(time::Duration::days(1));
        house.run_task(renewal::TASK).await;
        agent.issue(&house).await;
        assert_eq!(house.certificate(&certificate.id).await.status, CertificateStatus::Active);
    }

    async fn fleet_counters_are_what_is_there(house: House) {
        let (_agent, certificate) = house.deployed("web").await;
        house.request(json!({"name": "other", "sans": ["other.example.test"]})).await;
        let read = async |name: &'static str| counters::read(house.store.db(), name).await.unwrap();
        assert_eq!((read("certificates").await, read("certificates.status.Active").await, read("certificates.status.Pending").await), (2, 1, 1));
        house.run_task("counter_folder").await;
        assert_eq!((read("certificates").await, read("certificates.issued").await, read("agents").await), (2, 1, 1));
        certctl_engine::certificates::archive(&house.admin(), &certificate.id, None).await.unwrap();
        assert_eq!((read("certificates.status.Active").await, read("certificates.status.Archived").await), (0, 1));
    }

    async fn the_built_in_ca_is_founded_once_and_kept(house: House) {
        let issuer: Issuer = crud::load(&house.admin(), &certctl_domain::ids::Id::parse("iss-local").unwrap()).await.unwrap();
        let here = certctl_engine::issuers::authorities(&house.admin(), &issuer.id).await.unwrap();
        let other = house.second_replica().await;
        let ctx = certctl_engine::Ctx::system(&other, "test");
        assert_eq!(certctl_engine::issuers::authorities(&ctx, &issuer.id).await.unwrap(), here);
    }

    async fn an_agent_that_sends_no_csr_is_told_of_once(house: House) {
        let agent = house.agent("web1").await;
        let target = house.target("nginx-1", &agent).await;
        let certificate = house.request(json!({"name": "web", "sans": ["web.example.test"], "target_ids": [target]})).await;
        let told = async || {
            house.number("SELECT count(*) AS n FROM outbox WHERE dedup_key LIKE 'awaiting-csr:%'").await
        };
        house.clock.advance(time::Duration::hours(23));
        house.run_task(renewal::TASK).await;
        assert_eq!(told().await, 0);
        for _ in 0..3 {
            house.clock.advance(time::Duration::hours(2));
            house.run_task(renewal::TASK).await;
        }
        assert_eq!(told().await, 1);
        let now = house.certificate(&certificate.id).await;
        assert!(now.reason.contains("has not sent a CSR") && now.hint.is_some(), "{now:?}");
        agent.issue(&house).await;
        assert_eq!(house.certificate(&certificate.id).await.status, CertificateStatus::Active);
    }
}

/// A TLS server that has a certificate of its own for every name.
struct Stranger {
    address: String,
    _openssl: tokio::process::Child,
    _folder: tempfile::TempDir,
}

impl Stranger {
    async fn open() -> Self {
        let openssl = certctl_testkit::require_program("openssl");
        let folder = tempfile::tempdir().unwrap();
        let mut make = tokio::process::Command::new(&openssl);
        make.args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=stranger -keyout key.pem -out cert.pem".split(' '),
        );
        assert!(make.current_dir(&folder).stderr(Stdio::null()).status().await.unwrap().success());
        let address = certctl_testkit::free_address().to_string();
        let mut serve = tokio::process::Command::new(&openssl);
        serve.args(["s_server", "-quiet", "-key", "key.pem", "-cert", "cert.pem", "-accept", &address]);
        serve.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let server = serve.spawn().unwrap();
        let there = async || tokio::net::TcpStream::connect(&address).await.is_ok();
        certctl_testkit::wait_until("openssl to serve", Duration::from_secs(20), there).await;
        Self { address, _openssl: server, _folder: folder }
    }
}
