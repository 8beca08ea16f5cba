//! Revocation of versions and certificates, archiving, retiring agents.

use certctl_domain::certificate::CertificateStatus;
use certctl_domain::ids::Id as _;
use certctl_domain::job::{JobKind, JobStatus};
use certctl_domain::x509::{RevocationReason, Serial};
use certctl_engine::agents::{self, Retire};
use certctl_engine::revoke::{What, revoke};
use certctl_engine::{ErrorKind, certificates, renewal};
use certctl_testkit::both_databases;
use serde_json::json;

use crate::house::House;

both_databases! {
    async fn an_old_version_is_revoked_by_serial_in_any_spelling_and_the_new_one_lives_on(house: House) {
        let (agent, certificate) = house.deployed("web").await;
        let old = house.versions(&certificate.id).await.remove(0);
        certificates::renew(&house.admin(), &certificate.id).await.unwrap();
        agent.issue(&house).await;
        agent.deploy().await;
        let spelled = old.serial_number.as_str().to_uppercase();
        let what = What::Serial(Serial::parse(&spelled).unwrap());
        let revoked = revoke(&house.admin(), &certificate.id, &what, RevocationReason::Superseded).await.unwrap();
        assert_eq!(revoked[0].id, old.id);
        assert!(revoke(&house.admin(), &certificate.id, &what, RevocationReason::Superseded).await.unwrap().is_empty(), "twice is once");
        assert_eq!(house.certificate(&certificate.id).await.status, CertificateStatus::Active);
        let unknown = What::Serial(Serial::parse("0badc0de").unwrap());
        assert_eq!(revoke(&house.admin(), &certificate.id, &unknown, RevocationReason::Unspecified).await.unwrap_err().kind, ErrorKind::NotFound);
    }

    async fn when_the_version_in_use_is_revoked_a_new_one_is_issued_at_once(house: House) {
        let (agent, certificate) = house.deployed("web").await;
        let version = house.versions(&certificate.id).await.remove(0);
        revoke(&house.admin(), &certificate.id, &What::Version(version.id), RevocationReason::KeyCompromise).await.unwrap();
        assert_eq!(house.run_task(renewal::TASK).await, 1);
        agent.issue(&house).await;
        assert_eq!(house.certificate(&certificate.id).await.status, CertificateStatus::Active);
    }

    async fn a_revoked_certificate_is_over(house: House) {
        let (_agent, certificate) = house.deployed("web").await;
        let revoked = revoke(&house.admin(), &certificate.id, &What::Everything, RevocationReason::CessationOfOperation).await.unwrap();
        assert_eq!(revoked.len(), 1);
        let now = house.certificate(&certificate.id).await;
        assert_eq!((now.status, now.next_try_at), (CertificateStatus::Revoked, None));
        assert_eq!(certificates::renew(&house.admin(), &certificate.id).await.unwrap_err().code, "ended");
        house.clock.advance(time::Duration::days(80));
        assert_eq!(house.run_task(renewal::TASK).await, 0);
        let draft = json!({"environment": "x"});
        let error = certctl_engine::crud::patch::<certctl_domain::certificate::Certificate>(&house.admin(), &certificate.id, &draft, None).await.unwrap_err();
        assert_eq!(error.code, "ended");
    }

    async fn an_archived_certificate_frees_its_name_and_its_targets(house: House) {
        let (_agent, certificate) = house.deployed("web").await;
        certificates::archive(&house.admin(), &certificate.id, None).await.unwrap();
        assert_eq!(house.certificate(&certificate.id).await.status, CertificateStatus::Archived);
        let again = house.request(json!({"name": "web", "sans": ["web.example.test"], "target_ids": certificate.target_ids})).await;
        assert_ne!(again.id, certificate.id);
        assert_eq!(house.versions(&certificate.id).await.len(), 1, "history stays");
    }

    async fn an_agent_in_use_is_retired_by_force_only_and_its_jobs_end(house: House) {
        let (agent, certificate) = house.deployed("web").await;
        certificates::renew(&house.admin(), &certificate.id).await.unwrap();
        let error = agents::retire(&house.admin(), &agent.id, Retire::Unused, "").await.unwrap_err();
        assert!(error.detail.contains("1 targets, 1 certificates and 1 open jobs"), "{error}");
        let (retired, before, _) = agents::retire(&house.admin(), &agent.id, Retire::Cascade, "host is gone").await.unwrap();
        assert!(!before && retired.retired_at.is_some());
        let job = house.jobs(&certificate.id, JobKind::Renewal).await.remove(0);
        assert_eq!(job.status, JobStatus::Cancelled);
        let (_, again, _) = agents::retire(&house.admin(), &agent.id, Retire::Cascade, "x").await.unwrap();
        assert!(again);
        let bearer = format!("{}{}", agents::credential_prefix(&agent.id), "x".repeat(43));
        assert!(house.engine.authenticator().authenticate(&house.engine, &bearer).await.is_err());
        assert!(agent.id.as_str().starts_with("ag-"));
    }
}
