//! Delegated responders: made, shared, replaced.

use certctl_engine::publication::certificate;
use certctl_store::authorities::{self, Purpose};
use certctl_store::db::sql;
use certctl_store::ocsp as rows;
use certctl_testkit::both_databases;
use time::Duration;

use super::openssl::RelyingParty;
use super::{about, chain, issued, issuer, lists_made, public};
use crate::house::House;

async fn current(house: &House) -> rows::ResponderRow {
    let db = house.store.db();
    let ca = authorities::active(db, Purpose::Issuing, Some(&issuer())).await.unwrap().unwrap();
    rows::responder(db, &ca.id, house.engine.now()).await.unwrap().unwrap()
}

both_databases! {
    async fn one_is_made_for_each_ca_and_replaced_a_week_before_its_end(house: House) {
        let (_, version) = issued(&house, "web").await;
        lists_made(&house).await;
        assert_eq!(house.run_task("ocsp_responders").await, 1);
        assert_eq!(house.run_task("ocsp_responders").await, 0);
        let first = current(&house).await;
        house.clock.advance(Duration::days(22));
        assert_eq!(house.run_task("ocsp_responders").await, 0);
        house.clock.advance(Duration::days(1) + Duration::minutes(1));
        assert_eq!(house.run_task("ocsp_responders").await, 1);
        let second = current(&house).await;
        assert_ne!(first.secret_id, second.secret_id);
        let party = RelyingParty::new(&house).await;
        party.holds("web.pem", &version);
        party.ask("web.pem", "-no_nonce");
        let answer = about(&house.engine, &version.serial_number).await;
        assert!(party.believes("web.pem", "", &answer).contains("web.pem: good"));
        house.clock.advance(Duration::days(8));
        assert_eq!(house.run_task("ocsp_responders").await, 1, "the first has ended and is forgotten");
        assert_eq!(current(&house).await.secret_id, second.secret_id);
    }

    async fn replicas_agree_on_one(house: House) {
        let (_, version) = issued(&house, "web").await;
        lists_made(&house).await;
        let other = house.second_replica().await;
        let (one, two) = tokio::join!(about(&house.engine, &version.serial_number), about(&other, &version.serial_number));
        let party = RelyingParty::new(&house).await;
        let serial = |response: &[u8]| {
            let text = party.read(response);
            let (_, after) = text.split_once("Certificate:").unwrap();
            after.lines().skip_while(|line| !line.contains("Serial Number")).nth(1).unwrap().trim().to_owned()
        };
        assert_eq!(serial(&one), serial(&two));
    }

    async fn one_whose_key_cannot_be_read_is_replaced(house: House) {
        let (_, version) = issued(&house, "web").await;
        lists_made(&house).await;
        house.run_task("ocsp_responders").await;
        let broken = current(&house).await;
        let mut tx = public(&house.engine).write().await.unwrap();
        tx.execute(sql("UPDATE secrets SET ciphertext = nonce WHERE id = $1").bind(&broken.secret_id)).await.unwrap();
        tx.commit_housekeeping("test").await.unwrap();
        house.clock.advance(Duration::seconds(1));
        let party = RelyingParty::new(&house).await;
        let said = party.read(&about(&house.engine, &version.serial_number).await);
        assert!(said.contains("Cert Status: good"), "{said}");
        assert_ne!(current(&house).await.secret_id, broken.secret_id);
    }

    async fn the_certificate_of_the_ca_can_be_fetched(house: House) {
        let (_, version) = issued(&house, "web").await;
        lists_made(&house).await;
        let ctx = public(&house.engine);
        let der = certificate(&ctx, &issuer(), None).await.unwrap();
        let ca = certctl_pki::certificate::Certificate::parse_der(&der).unwrap();
        chain(&version).leaf().verify_signed_by(&ca).unwrap();
        let root = certificate(&ctx, &issuer(), Some(1)).await.unwrap();
        ca.verify_signed_by(&certctl_pki::certificate::Certificate::parse_der(&root).unwrap()).unwrap();
        assert!(certificate(&ctx, &issuer(), Some(9)).await.is_err());
    }
}
