//! In which order CAs are asked when they suggest renewal, how many at once, and when again.

use certctl_domain::certificate::{Certificate, Version};
use certctl_domain::ids::{Id as _, VersionId};
use certctl_domain::issuer::Issuer;
use certctl_domain::x509::{Fingerprint, Serial};
use certctl_engine::crud;
use certctl_issuers::ASK_RENEWAL_INFO_AT;
use certctl_store::db::sql;
use certctl_store::{acme_renewals, certificates, table};
use certctl_testkit::both_databases;
use serde_json::json;
use time::Duration;

use crate::house::House;

/// Certificates of an ACME CA that has no opinion on renewal; copies of one that was really issued.
async fn fleet(house: &House, size: u32, mut change: impl FnMut(u32, &mut Version)) -> Vec<VersionId> {
    let config = json!({"directory_url": "https://ca.example.test/dir", "ari": false});
    let draft = json!({"id": "iss-acme", "name": "acme", "type": "ACME", "config": config});
    let issuer = crud::create::<Issuer>(&house.admin(), serde_json::from_value(draft).unwrap()).await.unwrap();
    let (_, certificate) = house.deployed("web").await;
    let version = house.versions(&certificate.id).await.remove(0);
    let mut tx = house.admin().write().await.unwrap();
    let mut ids = Vec::new();
    for number in 0..size {
        let copy = Certificate { id: format!("cert-{number:03}").parse().unwrap(), name: format!("web-{number}"), ..certificate.clone() };
        table::insert(&mut tx, &copy).await.unwrap();
        let mut version = Version {
            id: VersionId::parse(&format!("ver-{number:03}")).unwrap(),
            certificate_id: copy.id,
            issuer_id: issuer.id.clone(),
            serial_number: Serial::parse(&format!("{:04x}", number + 1)).unwrap(),
            fingerprint_sha256: Fingerprint::from_bytes(&[u8::try_from(number).unwrap(); 32]),
            ..version.clone()
        };
        change(number, &mut version);
        certificates::insert_version(&mut tx, &version, &format!("job-{number:03}").parse().unwrap()).await.unwrap();
        ids.push(version.id);
    }
    tx.commit_housekeeping("test").await.unwrap();
    ids
}

both_databases! {
    async fn every_version_is_asked_about_in_one_run(house: House) {
        fleet(&house, 201, |_, _| {}).await;
        house.run_task("renewal_info").await;
        let asked = house.store.db().fetch_optional(sql("SELECT count(*) AS n FROM acme_renewals")).await.unwrap().unwrap();
        assert_eq!(asked.int("n").unwrap(), 201);
    }

    async fn who_waits_longest_is_asked_about_first(house: House) {
        let ids = fleet(&house, 4, |_, _| {}).await;
        let now = house.engine.now();
        let mut tx = house.admin().write().await.unwrap();
        for (index, minutes) in [(0, 1), (1, 3), (3, 2)] {
            acme_renewals::ask_at(&mut tx, &ids[index], now.saturating_sub(Duration::minutes(minutes))).await.unwrap();
        }
        tx.commit_housekeeping("test").await.unwrap();
        let due = acme_renewals::due(house.store.db(), "ACME", now, 3).await.unwrap();
        assert_eq!(due, [ids[2].clone(), ids[1].clone(), ids[3].clone()]);
    }

    async fn the_first_pause_is_that_which_the_ca_said_at_issuance(house: House) {
        let (now, hours) = (house.engine.now(), Duration::hours(2));
        let told = now.saturating_add(hours).whole_seconds();
        let ids = fleet(&house, 1, |_, version| drop(version.issuer_ref.insert(ASK_RENEWAL_INFO_AT.to_owned(), json!(told)))).await;
        house.run_task("renewal_info").await;
        let due = async |after: Duration| acme_renewals::due(house.store.db(), "ACME", now.saturating_add(after), 9).await.unwrap();
        assert_eq!(due(hours - Duration::MINUTE).await, []);
        assert_eq!(due(hours * 1.125 + Duration::MINUTE).await, ids);
    }
}
