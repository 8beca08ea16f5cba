//! CAs near their end: those that were founded here are renewed in time, those from elsewhere are told of and taken anew.

use std::sync::Arc;

use certctl_domain::certificate::Version;
use certctl_domain::ids::IssuerId;
use certctl_domain::issuer::Issuer;
use certctl_domain::x509::{KeyAlgorithm, RevocationReason};
use certctl_engine::publication::certificate;
use certctl_engine::revoke::{What, revoke};
use certctl_engine::{Engine, crud, issuers, platform};
use certctl_pki::authority::{RootSpec, Validity, random_serial};
use certctl_pki::certificate::Certificate;
use certctl_pki::dn::Subject;
use certctl_pki::key::PrivateKey;
use certctl_pki::signer::SoftwareSigner;
use certctl_pki::verify::{Purpose, verify_chain};
use certctl_store::authorities::{self, Purpose as Kept};
use certctl_testkit::both_databases;
use serde_json::{Value, json};
use time::Duration;

use crate::house::House;
use crate::publication::openssl::RelyingParty;
use crate::publication::{about, chain, issued, issued_with, issuer, lists_made, public};

const YEAR: Duration = Duration::days(365);

/// The issuing CA and its root.
async fn issuing_and_root(house: &House) -> (Certificate, Certificate) {
    let pem = issuers::authorities(&house.admin(), &issuer()).await.unwrap();
    let chain = certctl_pki::chain::Chain::parse_pem(&pem).unwrap();
    (chain.leaf().clone(), chain.intermediates()[0].clone())
}

fn life(version: &Version) -> Duration {
    version.not_before.until(version.not_after)
}

async fn served(engine: &Arc<Engine>) -> Vec<u8> {
    certificate(&public(engine), &issuer(), None).await.unwrap().to_vec()
}

both_databases! {
    async fn a_ca_is_renewed_before_it_cuts_a_certificate_short(house: House) {
        let (first, first_root) = issuing_and_root(&house).await;
        house.clock.advance(Duration::days(1_824) * 4 / 5);
        assert_eq!(house.run_task("ca_renewal").await, 0, "a fifth of its life and a day are left");
        let (early, version) = issued(&house, "early").await;
        let second = house.second_replica().await;
        lists_made(&house).await;
        house.clock.advance(Duration::DAY);
        assert_eq!(house.run_task("ca_renewal").await, 1);
        assert_eq!(house.run_task("ca_renewal").await, 0, "once is enough");
        let (renewed, root) = issuing_and_root(&house).await;
        assert_eq!((renewed.spki(), renewed.subject_der()), (first.spki(), first.subject_der()));
        assert_ne!(renewed.fingerprint(), first.fingerprint());
        assert_eq!(root, first_root, "the root has years left");
        assert!(house.engine.now().until(renewed.not_after()) > YEAR * 4);

        // What was signed before is as good, and as revocable, as before.
        let party = RelyingParty::new(&house).await;
        party.holds("early.pem", &version);
        lists_made(&house).await;
        let list = crate::publication::list(&house.engine, None).await;
        party.accepts("early.pem", &list.der).unwrap();
        revoke(&house.admin(), &early.id, &What::Everything, RevocationReason::Superseded).await.unwrap();
        house.clock.advance(Duration::minutes(1));
        lists_made(&house).await;
        let party = RelyingParty::new(&house).await;
        party.holds("early.pem", &version);
        for engine in [&house.engine, &second] {
            engine.shelf().look(&public(engine)).await.unwrap();
            assert_eq!(served(engine).await, renewed.der(), "every replica shows the new certificate");
            let said = party.read(&about(engine, &version.serial_number).await);
            assert!(said.contains("Cert Status: revoked"), "{said}");
            let list = crate::publication::list(engine, None).await;
            assert!(party.accepts("early.pem", &list.der).unwrap_err().contains("revoked"));
        }
        assert_eq!(house.number("SELECT count(*) AS n FROM audit_events WHERE action = 'issuer.ca_renewed'").await, 1);
        assert_eq!(house.number("SELECT count(*) AS n FROM outbox WHERE type = 'RenewalSuccess' AND certificate_id IS NULL").await, 1);
    }

    async fn a_root_is_renewed_with_the_ca_that_it_would_cut_short(house: House) {
        let (_, old_root) = issuing_and_root(&house).await;
        let old_platform = Certificate::parse_pem(&platform::ca_pem(&public(&house.engine)).await.unwrap()).unwrap();
        for years in [4, 4] {
            house.clock.advance(YEAR * years + Duration::DAY);
            house.run_task("ca_renewal").await;
        }
        let (ca, root) = issuing_and_root(&house).await;
        assert_eq!(root.spki(), old_root.spki());
        assert_ne!(root.fingerprint(), old_root.fingerprint());
        assert!(house.engine.now().until(ca.not_after()) > YEAR * 4 && root.not_after() > ca.not_after());
        let (_, version) = issued(&house, "late").await;
        assert!(life(&version) >= Duration::days(90), "{}", life(&version));
        // Whoever has the old root believes it, and so does whoever has the new one.
        for trusted in [&old_root, &root] {
            verify_chain(&chain(&version), std::slice::from_ref(trusted), house.engine.now(), Purpose::Server).unwrap();
        }
        let platform = Certificate::parse_pem(&platform::ca_pem(&public(&house.engine)).await.unwrap()).unwrap();
        assert!(platform.not_after() > old_platform.not_after(), "the platform CA is as old as the root");
        platform.verify_signed_by(&old_platform).unwrap();
    }

    async fn a_short_lived_ca_below_a_root_of_the_same_life_is_renewed_in_its_second_half(house: House) {
        let config = json!({"ca_validity_days": 2, "root_validity_days": 2, "validity_days": 90});
        let id = create(&house, "short", &config).await;
        issuers::test(&house.admin(), &id).await.unwrap();
        for _ in 0..5 {
            house.clock.advance(Duration::hours(30));
            assert_eq!(house.run_task("ca_renewal").await, 1);
            issuers::test(&house.admin(), &id).await.unwrap();
        }
        assert_eq!(house.number("SELECT count(*) AS n FROM outbox WHERE type = 'ExpirationWarning'").await, 0);
    }

    async fn a_ca_from_elsewhere_is_told_of_and_taken_anew(house: House) {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let key_pem = key.to_pkcs8_pem().unwrap().expose().clone();
        let signer = SoftwareSigner::new(key);
        let config = json!({"ca_certificate_pem": self_signed(&house, &signer, "Elsewhere").await, "ca_key_pem": key_pem});
        let id = create(&house, "elsewhere", &config).await;
        issuers::test(&house.admin(), &id).await.unwrap();
        let warnings = async || house.number("SELECT count(*) AS n FROM outbox WHERE type = 'ExpirationWarning'").await;
        for (left, told) in [(200, 0), (170, 1), (100, 1), (20, 2), (1, 3)] {
            let now = house.engine.now();
            let end = authorities::active(house.store.db(), Kept::Issuing, Some(&id)).await.unwrap().unwrap().not_after;
            house.clock.advance(now.until(end) - Duration::days(left));
            house.run_task("ca_renewal").await;
            house.run_task("ca_renewal").await;
            assert_eq!(warnings().await, told, "{left} days are left");
        }
        // Another CA is refused, whether by key or by name; a new certificate of the same one is taken.
        let other = SoftwareSigner::new(PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
        let other_key = other.key().to_pkcs8_pem().unwrap().expose().clone();
        for (pem, key) in [
            (self_signed(&house, &other, "Elsewhere").await, &other_key),
            (self_signed(&house, &signer, "Somewhere").await, &key_pem),
        ] {
            let patch = json!({"config": {"ca_certificate_pem": pem, "ca_key_pem": key}});
            let refused = crud::patch::<Issuer>(&house.admin(), &id, &patch, None).await.unwrap_err();
            assert!(format!("{refused:?}").contains("cannot be exchanged"), "{refused:?}");
        }
        let anew = self_signed(&house, &signer, "Elsewhere").await;
        let patch = json!({"config": {"ca_certificate_pem": anew}});
        crud::patch::<Issuer>(&house.admin(), &id, &patch, None).await.unwrap();
        let (_, version) = issued_with(&house, "web", json!({"issuer_id": id})).await;
        assert!(life(&version) >= Duration::days(90), "{}", life(&version));
        house.run_task("ca_renewal").await;
        assert_eq!(warnings().await, 3);
    }
}

async fn self_signed(house: &House, signer: &SoftwareSigner, name: &str) -> String {
    let validity = Validity::starting(house.engine.now(), Duration::days(3_650), Duration::ZERO).unwrap();
    let spec = RootSpec { subject: Subject::with_common_name(name).unwrap(), validity, serial: random_serial().unwrap(), path_len: None };
    spec.self_sign(signer).await.unwrap().to_pem()
}

async fn create(house: &House, name: &str, config: &Value) -> IssuerId {
    let draft = json!({"name": name, "type": "GenericCA", "config": config});
    crud::create::<Issuer>(&house.admin(), serde_json::from_value(draft).unwrap()).await.unwrap().id
}
