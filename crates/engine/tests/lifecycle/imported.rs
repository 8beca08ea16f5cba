//! CAs that were made elsewhere.

use certctl_domain::issuer::Issuer;
use certctl_domain::x509::KeyAlgorithm;
use certctl_engine::{crud, issuers};
use certctl_pki::authority::{RootSpec, Validity, random_serial};
use certctl_pki::dn::Subject;
use certctl_pki::key::PrivateKey;
use certctl_pki::signer::SoftwareSigner;
use certctl_testkit::both_databases;
use serde_json::{Value, json};

use crate::house::House;

/// The settings of an issuer with a CA from elsewhere.
async fn settings(house: &House) -> Value {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let key_pem = key.to_pkcs8_pem().unwrap().expose().clone();
    let validity = Validity::starting(house.engine.now(), time::Duration::days(3_650), time::Duration::ZERO).unwrap();
    let spec =
        RootSpec { subject: Subject::with_common_name("Elsewhere").unwrap(), validity, serial: random_serial().unwrap(), path_len: None };
    let root = spec.self_sign(&SoftwareSigner::new(key)).await.unwrap();
    json!({"ca_certificate_pem": root.to_pem(), "ca_key_pem": key_pem})
}

async fn create(house: &House, name: &str, config: &Value) -> certctl_engine::Result<Issuer> {
    let draft = json!({"name": name, "type": "GenericCA", "config": config});
    crud::create::<Issuer>(&house.admin(), serde_json::from_value(draft).unwrap()).await
}

both_databases! {
    async fn a_ca_is_kept_for_one_issuer_alone(house: House) {
        let config = settings(&house).await;
        // Both are there before either is used: the one that is used first has the CA.
        let (first, second) = (create(&house, "first", &config).await.unwrap(), create(&house, "second", &config).await.unwrap());
        issuers::test(&house.admin(), &first.id).await.unwrap();
        let said = format!("is the CA of issuer `{}` already", first.id);
        let refused = issuers::test(&house.admin(), &second.id).await.unwrap_err();
        assert!(format!("{refused:?}").contains(&said), "{refused:?}");
        let refused = create(&house, "third", &config).await.unwrap_err();
        assert!(format!("{refused:?}").contains(&said), "{refused:?}");
        // Another one is welcome, and the first may be changed.
        create(&house, "fourth", &settings(&house).await).await.unwrap();
        issuers::test(&house.admin(), &first.id).await.unwrap();
    }
}
