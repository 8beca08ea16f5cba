//! Request, CSR, issuance, deployment.

use certctl_domain::certificate::CertificateStatus;
use certctl_domain::ids::Id as _;
use certctl_domain::job::{JobKind, JobStatus};
use certctl_domain::x509::{KeyAlgorithm, SanSet};
use certctl_engine::deploy::{self, Progress, Report, Retrying};
use certctl_engine::{ErrorKind, agents, certificates, crud, explain};
use certctl_pki::chain::Chain;
use certctl_pki::csr::Csr;
use certctl_pki::key::PrivateKey;
use certctl_testkit::both_databases;
use serde_json::json;

use crate::house::{House, TestAgent, secret};

both_databases! {
    async fn a_request_ends_on_its_target_with_the_names_and_the_key_that_were_asked_for(house: House) {
        let agent = house.agent("web1").await;
        let target = house.target("nginx-1", &agent).await;
        let certificate = house.request(json!({"name": "web", "sans": ["web.example.test", "10.1.2.3"], "target_ids": [target], "key_algorithm": "ECDSA-P384"})).await;
        assert_eq!(certificate.status, CertificateStatus::Pending);

        let item = agent.next().await;
        assert_eq!((item.status, item.key_algorithm), (JobStatus::AwaitingCSR, KeyAlgorithm::EcdsaP384));
        let key = PrivateKey::generate(item.key_algorithm).unwrap();
        let csr = Csr::build(&key, Some(&item.common_name), &SanSet::parse(&item.sans).unwrap()).unwrap();
        agent.submit(&item, &csr).await.unwrap();
        house.until(&item.id, JobStatus::Completed).await;
        let done = agent.deploy().await;
        assert_eq!(done.status, JobStatus::Completed);

        let version = house.versions(&certificate.id).await.remove(0);
        let chain = Chain::parse_pem(&version.pem_chain).unwrap();
        assert_eq!(chain.leaf().spki(), key.spki());
        let names: Vec<_> = chain.leaf().sans().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["web.example.test", "10.1.2.3"]);
        assert_eq!(chain.leaf().fingerprint(), &version.fingerprint_sha256);
        let now = house.certificate(&certificate.id).await;
        assert_eq!((now.status, now.expires_at), (CertificateStatus::Active, Some(version.not_after)));
        assert!(now.last_deployment_at.is_some() && now.next_try_at < Some(version.not_after));
        let said = explain::certificate(&house.admin(), &certificate.id).await.unwrap();
        assert!(said.summary.contains("web is Active") && said.next.is_some_and(|next| next.contains("renewal begins")), "{:?}", said.because);
    }

    async fn a_csr_that_is_not_what_was_asked_for_is_refused_and_nothing_changes(house: House) {
        let agent = house.agent("web1").await;
        let target = house.target("nginx-1", &agent).await;
        house.request(json!({"name": "web", "sans": ["web.example.test"], "target_ids": [target]})).await;
        let item = agent.next().await;
        let key = PrivateKey::generate(item.key_algorithm).unwrap();
        let build = |cn: Option<&str>, sans: &[&str]| Csr::build(&key, cn, &SanSet::parse(sans).unwrap()).unwrap();
        for (csr, code) in [
            (build(Some("evil.test"), &["evil.test"]), "csr_not_approved"),
            (build(Some("web.example.test"), &["web.example.test", "evil.test"]), "csr_not_approved"),
            ("not a CSR".to_owned(), "csr_not_pem"),
        ] {
            let error = agent.submit(&item, &csr).await.unwrap_err();
            assert_eq!((error.kind, error.code), (ErrorKind::Invalid, code), "{error}");
            assert!(error.hint.is_some(), "{error}");
        }
        assert_eq!(house.job(&item.id).await.status, JobStatus::AwaitingCSR);
        agent.submit(&item, &TestAgent::csr(&item)).await.unwrap();
        house.until(&item.id, JobStatus::Completed).await;
    }

    async fn the_same_csr_twice_makes_one_version(house: House) {
        let agent = house.agent("web1").await;
        let target = house.target("nginx-1", &agent).await;
        let certificate = house.request(json!({"name": "web", "sans": ["web.example.test"], "target_ids": [target]})).await;
        let item = agent.next().await;
        let csr = TestAgent::csr(&item);
        let (first, second) = tokio::join!(agent.submit(&item, &csr), agent.submit(&item, &csr));
        assert!(first.is_ok(), "{first:?}");
        // The second came before or after the first was worked on.
        assert!(second.as_ref().is_ok_and(|id| *id == item.id) || second.as_ref().is_err_and(|e| matches!(e.kind, ErrorKind::Conflict | ErrorKind::NotFound)), "{second:?}");
        house.until(&item.id, JobStatus::Completed).await;
        assert_eq!(house.versions(&certificate.id).await.len(), 1);
    }

    async fn each_host_makes_its_own_key_and_gets_its_own_version(house: House) {
        let (one, two) = (house.agent("host1").await, house.agent("host2").await);
        let targets = [house.target("t1", &one).await, house.target("t2", &two).await];
        let certificate = house.request(json!({"name": "web", "sans": ["web.example.test"], "target_ids": targets})).await;
        one.issue(&house).await;
        two.issue(&house).await;
        one.deploy().await;
        two.deploy().await;
        let versions = house.versions(&certificate.id).await;
        let mut holders: Vec<_> = versions.iter().filter_map(|version| version.agent_id.clone()).collect();
        holders.sort();
        let mut wanted = vec![one.id.clone(), two.id.clone()];
        wanted.sort();
        assert_eq!(holders, wanted);
        let theirs = versions.iter().find(|version| version.agent_id.as_ref() == Some(&two.id)).unwrap();
        let error = agents::certificate(&one.ctx, &one.id, &certificate.id, Some(&theirs.id)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
    }

    async fn without_a_target_a_csr_is_awaited_and_taken(house: House) {
        let certificate = house.request(json!({"name": "appliance", "sans": ["appliance.example.test"]})).await;
        let job = house.jobs(&certificate.id, JobKind::Issuance).await.remove(0);
        assert_eq!(job.status, JobStatus::AwaitingCSR);
        assert!(job.hint.is_some_and(|hint| hint.contains("certs csr")));
        let key = PrivateKey::generate(KeyAlgorithm::Rsa2048).unwrap();
        let csr = Csr::build(&key, None, &SanSet::default()).unwrap_or_else(|_| Csr::build(&key, Some("appliance.example.test"), &SanSet::default()).unwrap());
        let job = certificates::submit_csr(&house.admin(), &certificate.id, &csr).await.unwrap();
        house.until(&job.id, JobStatus::Completed).await;
        assert_eq!(certificates::current(&house.admin(), &certificate.id).await.unwrap().key_algorithm, "RSA");
    }

    async fn drafts_that_cannot_be_are_refused_with_every_field(house: House) {
        let agent = house.agent("web1").await;
        let target = house.target("nginx-1", &agent).await;
        let create = async |draft: serde_json::Value| crud::create::<certctl_domain::certificate::Certificate>(&house.admin(), serde_json::from_value(draft).unwrap()).await.unwrap_err();
        let error = create(json!({"name": "x", "sans": ["x.test"], "issuer_id": "iss-none", "certificate_profile_id": "prof-none", "renewal_policy_id": "rp-none", "target_ids": ["tgt-none"]})).await;
        let fields: Vec<_> = error.fields.iter().map(|field| field.field.as_str()).collect();
        assert_eq!(fields, ["certificate_profile_id", "issuer_id", "renewal_policy_id", "target_ids"]);
        house.request(json!({"name": "first", "sans": ["a.test"], "target_ids": [target]})).await;
        let taken = create(json!({"name": "second", "sans": ["b.test"], "target_ids": [target]})).await;
        assert!(taken.detail.contains("already has the certificate `first`"), "{taken}");
        let twice = create(json!({"name": "first", "sans": ["c.test"]})).await;
        assert_eq!((twice.kind, twice.code), (ErrorKind::Conflict, "name_taken"));
    }

    async fn a_deployment_that_fails_waits_with_reason_hint_and_time(house: House) {
        let agent = house.agent("web1").await;
        let target = house.target("nginx-1", &agent).await;
        let certificate = house.request(json!({"name": "web", "sans": ["web.example.test"], "target_ids": [target]})).await;
        agent.issue(&house).await;
        let item = agent.next().await;
        let report = Report { fence: Some(item.fence), error: Some("rolled back at check: nginx -t failed".to_owned()), hint: Some("look at nginx.conf".to_owned()), ..Report::default() };
        let job = deploy::report(&agent.ctx, &agent.id, &item.id, Progress::Failed, report).await.unwrap();
        assert_eq!(job.status, JobStatus::Pending);
        assert!(job.reason.contains("nginx -t failed") && job.hint.as_deref() == Some("look at nginx.conf") && job.scheduled_at > house.engine.now(), "{job:?}");
        let said = explain::certificate(&house.admin(), &certificate.id).await.unwrap();
        assert!(said.because.iter().any(|line| line.contains("nginx -t failed")) && said.hint.as_deref() == Some("look at nginx.conf"), "{said:?}");
        house.clock.advance(time::Duration::minutes(1));
        let again = agent.next().await;
        assert_eq!(again.id, item.id);
        assert!(again.fence > item.fence);
        let permanent = Report { fence: Some(again.fence), error: Some("not allowed".to_owned()), retrying: Retrying::Needless, ..Report::default() };
        let job = deploy::report(&agent.ctx, &agent.id, &again.id, Progress::Failed, permanent).await.unwrap();
        assert_eq!(job.scheduled_at, house.engine.now().saturating_add(time::Duration::hours(1)));
    }

    async fn an_approval_is_needed_from_somebody_else_and_from_nobody_less(house: House) {
        let admin = house.admin();
        let draft = json!({"id": "prof-four-eyes", "name": "four eyes", "requires_approval": true});
        crud::create::<certctl_domain::profile::Profile>(&admin, serde_json::from_value(draft).unwrap()).await.unwrap();
        let agent = house.agent("web1").await;
        let target = house.target("nginx-1", &agent).await;
        let certificate = house.request(json!({"name": "web", "sans": ["web.example.test"], "target_ids": [target], "certificate_profile_id": "prof-four-eyes"})).await;
        let job = house.jobs(&certificate.id, JobKind::Issuance).await.remove(0);
        assert_eq!(job.status, JobStatus::AwaitingApproval);
        assert_eq!(certctl_engine::approve::approve(&admin, &job.id).await.unwrap_err().kind, ErrorKind::Forbidden);
        let refused = agents::submit_csr(&agent.ctx, &agent.id, agents::Submission { certificate: &certificate.id, job: Some(&job.id), fence: None, csr_pem: "x" }).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Conflict);
        certctl_engine::approve::approve(&house.actor("actor-second"), &job.id).await.unwrap();
        agent.issue(&house).await;
    }

    async fn a_token_enrolls_one_agent_once_and_not_after_its_time(house: House) {
        let enroll = async |token: &str, secret_sha256: &str| {
            let enrollment = agents::Enrollment { token: secret(token), name: Some("web1".to_owned()), secret_sha256: secret_sha256.to_owned(), facts: certctl_domain::agent::AgentFacts::default(), ip_address: String::new() };
            agents::enroll(&house.engine, None, enrollment).await
        };
        let hash = "a".repeat(64);
        let mint = async || agents::mint_token(&house.admin(), None, std::collections::BTreeMap::new(), time::Duration::hours(1)).await.unwrap().value.expose().clone();
        let token = mint().await;
        assert_eq!(enroll(&token, "short").await.unwrap_err().code, "invalid_field");
        let other = "b".repeat(64);
        let (one, two) = tokio::join!(enroll(&token, &hash), enroll(&token, &other));
        assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1, "{one:?} {two:?}");
        // An answer that was lost is given again to who has the same secret, and to nobody else.
        let (winner, loser) = if one.is_ok() { (&hash, &other) } else { (&other, &hash) };
        assert_eq!(enroll(&token, winner).await.unwrap().id, one.or(two).unwrap().id);
        assert_eq!(enroll(&token, loser).await.unwrap_err().code, "token_used");
        assert_eq!(enroll("ce_x_0123456789012345678901234567890123456789012", &hash).await.unwrap_err().code, "token_unknown");
        let late = mint().await;
        assert_eq!(enroll(&late, &hash).await.unwrap_err().code, "name_taken");
        house.clock.advance(time::Duration::hours(2));
        assert_eq!(enroll(&late, &hash).await.unwrap_err().code, "token_expired");
    }

    async fn an_agent_speaks_for_its_own_jobs_alone(house: House) {
        let (one, two) = (house.agent("host1").await, house.agent("host2").await);
        let target = house.target("t1", &one).await;
        house.request(json!({"name": "web", "sans": ["web.example.test"], "target_ids": [target]})).await;
        let item = one.next().await;
        let error = two.submit(&item, &TestAgent::csr(&item)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        let error = deploy::report(&two.ctx, &two.id, &item.id, Progress::Failed, Report::default()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert_eq!(house.job(&item.id).await.status, JobStatus::AwaitingCSR);
        assert!(!two.id.as_str().is_empty());
    }
}
