//! Several who hold keys of one certificate, and what happens when one of them is gone, away or new.

use certctl_domain::certificate::{Certificate, CertificateStatus, VersionState};
use certctl_domain::ids::{AgentId, CertificateId, TargetId};
use certctl_domain::job::{JobKind, JobStatus};
use certctl_domain::target::Target;
use certctl_engine::agents::{self, Retire};
use certctl_engine::deploy::{self, Progress, Report};
use certctl_engine::{certificates, crud, renewal};
use certctl_testkit::both_databases;
use serde_json::{Value, json};

use crate::house::{House, TestAgent};

/// A certificate on targets of two agents, which both have it.
async fn pair(house: &House) -> (TestAgent, TestAgent, Certificate, [TargetId; 2]) {
    let (one, two) = (house.agent("one").await, house.agent("two").await);
    let targets = [house.target("at-one", &one).await, house.target("at-two", &two).await];
    let certificate = house.request(json!({"name": "web", "sans": ["web.example.test"], "target_ids": targets})).await;
    for agent in [&one, &two] {
        agent.issue(house).await;
        agent.deploy().await;
    }
    (one, two, certificate, targets)
}

async fn change(house: &House, id: &CertificateId, fields: Value) {
    let mut draft = serde_json::to_value(certctl_domain::noun::Noun::draft(&house.certificate(id).await)).unwrap();
    draft.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    crud::replace::<Certificate>(&house.admin(), id, serde_json::from_value(draft).unwrap(), None).await.unwrap();
}

async fn enable(house: &House, id: &TargetId, enabled: bool) {
    let target = crud::load::<Target>(&house.admin(), id).await.unwrap();
    let mut draft = serde_json::to_value(certctl_domain::noun::Noun::draft(&target)).unwrap();
    draft["enabled"] = enabled.into();
    crud::replace::<Target>(&house.admin(), id, serde_json::from_value(draft).unwrap(), None).await.unwrap();
}

async fn renewals_of(house: &House, id: &CertificateId, agent: &AgentId) -> usize {
    house.jobs(id, JobKind::Renewal).await.iter().filter(|job| job.agent_id.as_ref() == Some(agent)).count()
}

/// What is in use, by agent.
async fn in_use(house: &House, id: &CertificateId) -> Vec<Option<AgentId>> {
    let mut held: Vec<_> =
        house.versions(id).await.into_iter().filter(|v| v.state == VersionState::Current).map(|version| version.agent_id).collect();
    held.sort();
    held
}

both_databases! {
    async fn an_agent_that_does_not_answer_keeps_no_other_from_its_renewals(house: House) {
        let (one, two, certificate, _) = pair(&house).await;
        for round in 1..=3 {
            house.clock.advance(time::Duration::days(61));
            house.run_task(renewal::TASK).await;
            one.issue(&house).await;
            one.deploy().await;
            assert_eq!(renewals_of(&house, &certificate.id, &one.id).await, round);
        }
        assert_eq!(renewals_of(&house, &certificate.id, &two.id).await, 1, "the one that it has is enough");
        let now = house.certificate(&certificate.id).await;
        assert_eq!(now.status, CertificateStatus::Expired, "one host serves what has ended: {}", now.reason);
        // Back again, it does what waited.
        two.issue(&house).await;
        assert_eq!(house.certificate(&certificate.id).await.status, CertificateStatus::Active);
    }

    async fn what_waited_for_a_csr_by_hand_keeps_no_agent_back(house: House) {
        let certificate = house.request(json!({"name": "web", "sans": ["web.example.test"]})).await;
        let agent = house.agent("late").await;
        let target = house.target("web", &agent).await;
        change(&house, &certificate.id, json!({"target_ids": [target]})).await;
        let by_hand = house.jobs(&certificate.id, JobKind::Issuance).await.into_iter().find(|job| job.agent_id.is_none()).unwrap();
        assert_eq!(by_hand.status, JobStatus::Cancelled);
        agent.issue(&house).await;
        agent.deploy().await;
        house.clock.advance(time::Duration::days(61));
        assert_eq!(house.run_task(renewal::TASK).await, 1);
        agent.issue(&house).await;
    }

    async fn for_a_holder_that_is_gone_nothing_is_renewed(house: House) {
        let (one, two, certificate, targets) = pair(&house).await;
        // The one that stays has a younger version than the one that goes.
        house.clock.advance(time::Duration::days(30));
        certificates::renew(&house.admin(), &certificate.id).await.unwrap();
        one.issue(&house).await;
        one.deploy().await;
        change(&house, &certificate.id, json!({"target_ids": [targets[0]]})).await;
        assert_eq!(in_use(&house, &certificate.id).await, [Some(one.id.clone())]);
        let open = house.jobs(&certificate.id, JobKind::Renewal).await.into_iter().filter(|job| !job.status.is_over()).count();
        assert_eq!(open, 0, "nobody waits for the other one any more");
        let issued = house.versions(&certificate.id).await.len();
        for _ in 0..40 {
            house.clock.advance(time::Duration::hours(36));
            house.run_task(renewal::TASK).await;
            if renewals_of(&house, &certificate.id, &one.id).await > 1 {
                break;
            }
        }
        assert_eq!(house.versions(&certificate.id).await.len(), issued);
        one.issue(&house).await;
        for _ in 0..20 {
            house.clock.advance(time::Duration::hours(2));
            house.run_task(renewal::TASK).await;
        }
        assert_eq!((renewals_of(&house, &certificate.id, &one.id).await, renewals_of(&house, &certificate.id, &two.id).await), (2, 1));
        assert_eq!(house.certificate(&certificate.id).await.status, CertificateStatus::Active);
    }

    async fn a_retired_agent_takes_its_work_along_and_leaves_its_name(house: House) {
        let (one, two, certificate, _) = pair(&house).await;
        certificates::renew(&house.admin(), &certificate.id).await.unwrap();
        agents::retire(&house.admin(), &two.id, Retire::Cascade, "rebuilt").await.unwrap();
        one.issue(&house).await;
        one.deploy().await;
        assert_eq!(in_use(&house, &certificate.id).await, [Some(one.id.clone())]);
        assert_eq!(house.certificate(&certificate.id).await.status, CertificateStatus::Active);
        let again = house.agent("two").await;
        assert_ne!(again.id, two.id);
        let retired = agents::get(&house.admin(), &two.id).await.unwrap();
        assert!(retired.retired_at.is_some() && retired.name.starts_with("two~"), "{}", retired.name);
    }

    async fn with_every_target_disabled_renewal_is_blocked_and_goes_on_when_one_is_enabled(house: House) {
        let (agent, certificate) = house.deployed("web").await;
        let target = house.certificate(&certificate.id).await.target_ids[0].clone();
        enable(&house, &target, false).await;
        house.clock.advance(time::Duration::days(61));
        assert_eq!(house.run_task(renewal::TASK).await, 0);
        let blocked = house.certificate(&certificate.id).await;
        assert!(blocked.reason.contains("disabled") && blocked.hint.is_some(), "{}", blocked.reason);
        enable(&house, &target, true).await;
        // What it had is put in place again at once, and what is due is renewed.
        agent.deploy().await;
        house.clock.advance(time::Duration::hours(24));
        assert_eq!(house.run_task(renewal::TASK).await, 1);
        agent.issue(&house).await;
    }

    async fn a_target_that_was_taken_away_gets_nothing_more(house: House) {
        let (agent, certificate) = house.deployed("web").await;
        let target = house.certificate(&certificate.id).await.target_ids[0].clone();
        certificates::deploy(&house.admin(), &certificate.id, None).await.unwrap();
        let item = agent.next().await;
        let failure = Report { fence: Some(item.fence), error: Some("the disk is full".to_owned()), ..Report::default() };
        deploy::report(&agent.ctx, &agent.id, &item.id, Progress::Failed, failure).await.unwrap();
        change(&house, &certificate.id, json!({"target_ids": []})).await;
        assert_eq!(house.job(&item.id).await.status, JobStatus::Cancelled);
        let other = house.request(json!({"name": "other", "sans": ["other.example.test"], "target_ids": [target]})).await;
        house.clock.advance(time::Duration::hours(2));
        agent.issue(&house).await;
        let item = agent.next().await;
        assert_eq!((item.kind, &item.certificate_id), (JobKind::Deployment, &other.id));
    }

    async fn a_changed_record_that_could_not_be_issued_is_not_forgotten(house: House) {
        let (agent, certificate) = house.deployed("web").await;
        change(&house, &certificate.id, json!({"sans": ["web.example.test", "www.example.test"]})).await;
        let job = house.jobs(&certificate.id, JobKind::Renewal).await.remove(0);
        certctl_engine::jobs::cancel(&house.admin(), &job.id).await.unwrap();
        house.clock.advance(time::Duration::hours(25));
        assert_eq!(house.run_task(renewal::TASK).await, 1, "what is in use is not what the record says");
        agent.issue(&house).await;
        let names: Vec<String> = certificates::current(&house.admin(), &certificate.id)
            .await
            .map(|version| certctl_pki::chain::Chain::parse_pem(&version.pem_chain).unwrap())
            .map(|chain| chain.leaf().sans().iter().map(ToString::to_string).collect())
            .unwrap();
        assert_eq!(names.len(), 2, "{names:?}");
        house.clock.advance(time::Duration::hours(25));
        assert_eq!(house.run_task(renewal::TASK).await, 0);
    }

    async fn a_token_for_any_name_makes_nobody_an_agent_that_was_registered_for_another(house: House) {
        let draft = serde_json::from_value(json!({"name": "db01"})).unwrap();
        let (registered, _) = agents::register(&house.admin(), draft).await.unwrap();
        let token = agents::mint_token(&house.admin(), None, Default::default(), time::Duration::hours(1)).await.unwrap();
        let enrollment = agents::Enrollment {
            token: token.value,
            name: Some("db01".to_owned()),
            secret_sha256: "0".repeat(64),
            facts: Default::default(),
            ip_address: "127.0.0.1".to_owned(),
        };
        let refused = agents::enroll(&house.engine, None, enrollment).await.unwrap_err();
        assert_eq!(refused.code, "name_taken");
        assert!(agents::get(&house.admin(), &registered.id).await.unwrap().last_heartbeat_at.is_none());
    }
}
