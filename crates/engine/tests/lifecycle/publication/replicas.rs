//! A revocation on one replica, seen on another.

use std::sync::Arc;
use std::time::Duration;

use certctl_domain::x509::RevocationReason;
use certctl_engine::scheduler::{self, Task};
use certctl_engine::{Engine, crl};
use certctl_testkit::both_databases;
use tokio_util::sync::CancellationToken;

use super::openssl::RelyingParty;
use super::{about, issued, issuer, list, lists_made, public, revoked};
use crate::house::House;

/// Runs the tasks that carry news to a replica, as the server does.
fn running(engine: &Arc<Engine>, names: &[&str], stop: &CancellationToken) {
    let tasks: Vec<Task> = scheduler::TASKS.iter().filter(|task| names.contains(&task.name)).copied().collect();
    assert_eq!(tasks.len(), names.len());
    for task in tasks {
        tokio::spawn(scheduler::run(Arc::clone(engine), task, stop.clone()));
    }
    let (store, stop) = (engine.store().clone(), stop.clone());
    tokio::spawn(async move { store.run_wake(stop).await });
}

both_databases! {
    async fn a_revocation_on_one_replica_is_seen_on_the_other(house: House) {
        let (certificate, version) = issued(&house, "web").await;
        lists_made(&house).await;
        let other = house.second_replica().await;
        let stop = CancellationToken::new();
        let party = RelyingParty::new(&house).await;
        assert!(party.read(&about(&other, &version.serial_number).await).contains("Cert Status: good"));
        assert_eq!(list(&other, None).await.edition.revoked_count, 0);
        // Lists are made by the first, the second only hears of them.
        running(&house.engine, &["revocation_lists"], &stop);
        running(&other, &["revocation_refresh"], &stop);
        house.clock.advance(time::Duration::seconds(15));
        revoked(&house, &certificate, RevocationReason::KeyCompromise).await;
        let what = "the second replica to answer that the certificate is revoked";
        certctl_testkit::wait_until(what, Duration::from_secs(10), async || {
            party.read(&about(&other, &version.serial_number).await).contains("Cert Status: revoked")
        })
        .await;
        certctl_testkit::wait_until("the second replica to serve the new list", Duration::from_secs(10), async || {
            list(&other, None).await.edition.revoked_count == 1
        })
        .await;
        stop.cancel();
    }

    async fn a_list_that_nobody_made_yet_is_not_now(house: House) {
        issued(&house, "web").await;
        let error = crl::fetch(&public(&house.engine), &issuer(), None).await.unwrap_err();
        assert_eq!((error.kind, error.code), (certctl_engine::ErrorKind::Unavailable, "not_published_yet"));
        let error = crl::fetch(&public(&house.engine), &"iss-nobody".parse().unwrap(), None).await.unwrap_err();
        assert_eq!(error.kind, certctl_engine::ErrorKind::NotFound);
    }
}
