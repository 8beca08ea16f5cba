//! The operators' runbooks, each followed word for word on real servers, with what it is about really broken.

mod access;
mod disaster;
mod encryption_key;
mod expiry;
mod guides;
mod ha;
mod tls;

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde_json::json;

use certctl_testkit::wait_until;

use crate::harness::{Api, LONG};

/// Has a server issue a certificate whose key the test holds, which takes the key of the CA.
async fn issues(api: &Api, name: &str) {
    let host = format!("{name}.example.test");
    let made = api.post("/api/v1/certificates", &json!({"name": name, "sans": [host]})).await.is(201).json();
    let path = format!("/api/v1/certificates/{}", made["id"].as_str().unwrap());
    let mut params = CertificateParams::new([host]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    api.post(&format!("{path}/csr"), &json!({"csr_pem": request})).await.is(202);
    wait_until("a certificate", LONG, async || api.get(&path).await.is(200).json()["status"] == "Active").await;
}
