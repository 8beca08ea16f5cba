//! Renewal by the clock and by hand, and the alerts around it.

use certctl_domain::certificate::{Certificate, CertificateStatus, VersionState};
use certctl_domain::job::{JobKind, JobStatus};
use certctl_engine::{Ctx, certificates, renewal, scheduler};
use certctl_store::db::sql;
use certctl_store::{Who, table};
use certctl_testkit::both_databases;

use crate::house::House;

/// On SQLite there is one writer, so nobody works on anything meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_works_on_is_left_to_the_next_look() {
    let house = House::open(certctl_testkit::Engine::Postgres).await;
    let mut ids = Vec::new();
    for name in ["one", "two", "three"] {
        ids.push(house.deployed(name).await.1.id);
    }
    house.clock.advance(time::Duration::days(61));
    let ctx = Ctx::system(&house.engine, renewal::TASK);
    let mut busy = house.store.write(Who::task("somebody", house.engine.now())).await.unwrap();
    table::get_for_update::<Certificate>(&mut busy, &ids[1]).await.unwrap();
    assert_eq!(renewal::look(&ctx, &ids).await.unwrap(), 2);
    drop(busy);
    assert_eq!(renewal::look(&ctx, &ids).await.unwrap(), 1);
    assert_eq!(renewal::look(&ctx, &ids).await.unwrap(), 0);
    for id in &ids {
        assert_eq!(house.jobs(id, JobKind::Renewal).await.len(), 1);
        assert_eq!(house.certificate(id).await.status, CertificateStatus::RenewalInProgress);
    }
    assert_eq!(house.number("SELECT count(*) AS n FROM audit_events WHERE action = 'certificate.renew'").await, 3);
}

both_databases! {
    async fn the_scheduler_renews_in_time_and_the_old_version_is_superseded(house: House) {
        let (agent, certificate) = house.deployed("web").await;
        assert_eq!(house.run_task(renewal::TASK).await, 0, "not due yet");
        house.clock.advance(time::Duration::days(61));
        assert_eq!(house.run_task(renewal::TASK).await, 1);
        assert_eq!(house.certificate(&certificate.id).await.status, CertificateStatus::RenewalInProgress);
        assert_eq!(house.run_task(renewal::TASK).await, 0, "one job is enough");
        agent.issue(&house).await;
        agent.deploy().await;
        let versions = house.versions(&certificate.id).await;
        assert_eq!((versions[0].state, versions[1].state), (VersionState::Current, VersionState::Superseded));
        let now = house.certificate(&certificate.id).await;
        assert_eq!((now.status, now.expires_at), (CertificateStatus::Active, Some(versions[0].not_after)));
    }

    async fn two_replicas_renew_once(house: House) {
        let (_agent, certificate) = house.deployed("web").await;
        let other = house.second_replica().await;
        house.clock.advance(time::Duration::days(61));
        let (one, two) = (Ctx::system(&house.engine, renewal::TASK), Ctx::system(&other, renewal::TASK));
        let ids = [certificate.id.clone()];
        let (first, second) = tokio::join!(renewal::look(&one, &ids), renewal::look(&two, &ids));
        assert_eq!(first.unwrap() + second.unwrap(), 1);
        let task = scheduler::TASKS.iter().find(|task| task.name == renewal::TASK).unwrap();
        let held = scheduler::once(&one, task).await.unwrap();
        assert!(held.is_some());
        assert_eq!(scheduler::once(&two, task).await.unwrap(), None, "the lease is the other's");
        assert_eq!(house.jobs(&certificate.id, JobKind::Renewal).await.len(), 1);
    }

    async fn renewing_by_hand_twice_is_one_job(house: House) {
        let (_agent, certificate) = house.deployed("web").await;
        let (fresh, first) = certificates::renew(&house.admin(), &certificate.id).await.unwrap();
        let (again, second) = certificates::renew(&house.admin(), &certificate.id).await.unwrap();
        assert!(fresh && !again);
        assert_eq!(first[0].id, second[0].id);
    }

    async fn an_expired_certificate_says_so_and_is_still_renewed(house: House) {
        let (agent, certificate) = house.deployed("web").await;
        house.clock.advance(time::Duration::days(61));
        house.run_task(renewal::TASK).await;
        house.clock.advance(time::Duration::days(40));
        house.run_task(renewal::TASK).await;
        assert_eq!(house.certificate(&certificate.id).await.status, CertificateStatus::Expired);
        agent.issue(&house).await;
        assert_eq!(house.certificate(&certificate.id).await.status, CertificateStatus::Active);
    }

    async fn warnings_are_written_once_per_threshold_and_version(house: House) {
        let (_agent, certificate) = house.deployed("web").await;
        let warnings = async || {
            let statement = sql("SELECT count(*) AS n FROM outbox WHERE type = 'ExpirationWarning' AND certificate_id = $1").bind(&certificate.id);
            house.store.db().fetch_optional(statement).await.unwrap().unwrap().int("n").unwrap()
        };
        house.clock.advance(time::Duration::days(61));
        house.run_task(renewal::TASK).await;
        assert_eq!(warnings().await, 1);
        for _ in 0..3 {
            house.clock.advance(time::Duration::hours(2));
            house.run_task(renewal::TASK).await;
        }
        assert_eq!(warnings().await, 1);
        house.clock.advance(time::Duration::days(20));
        house.run_task(renewal::TASK).await;
        assert_eq!(warnings().await, 2);
    }

    async fn what_is_not_due_any_more_is_not_issued(house: House) {
        let (agent, certificate) = house.deployed("web").await;
        house.clock.advance(time::Duration::days(61));
        house.run_task(renewal::TASK).await;
        let item = agent.next().await;
        // Somebody stops automatic renewal between the decision and the CSR.
        let draft = serde_json::json!({"auto_renew": false});
        let policy = certificate.renewal_policy_id.clone();
        certctl_engine::crud::patch::<certctl_domain::renewal::RenewalPolicy>(&house.admin(), &policy, &draft, None).await.unwrap();
        agent.submit(&item, &crate::house::TestAgent::csr(&item)).await.unwrap();
        let job = house.until(&item.id, JobStatus::Cancelled).await;
        assert!(job.reason.contains("does not renew by itself"), "{job:?}");
        assert_eq!(house.versions(&certificate.id).await.len(), 1);
    }
}
