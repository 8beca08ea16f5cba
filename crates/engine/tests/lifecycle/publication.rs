//! What relying parties see of revocations: lists and OCSP, judged by openssl, on one replica and on two.

mod lists;
pub(crate) mod openssl;
mod replicas;
mod responders;
mod status;

use certctl_domain::certificate::{Certificate, Version};
use certctl_domain::ids::{Id as _, IssuerId};
use certctl_domain::x509::{RevocationReason, Serial};
use certctl_engine::ocsp::{self, Answer};
use certctl_engine::revoke::{What, revoke};
use certctl_engine::{Ctx, Engine, crl};
use certctl_pki::chain::Chain;
use serde_json::json;

use crate::house::House;

/// The CA that every installation begins with.
pub(crate) fn issuer() -> IssuerId {
    IssuerId::parse("iss-local").unwrap()
}

pub(crate) fn public(engine: &std::sync::Arc<Engine>) -> Ctx {
    Ctx::system(engine, "publication")
}

/// A certificate with a key of an agent's and nothing else, issued.
pub(crate) async fn issued(house: &House, name: &str) -> (Certificate, Version) {
    issued_with(house, name, json!({})).await
}

pub(crate) async fn issued_with(house: &House, name: &str, more: serde_json::Value) -> (Certificate, Version) {
    let agent = house.agent(&format!("{name}-host")).await;
    let target = house.target(&format!("{name}-web"), &agent).await;
    let mut draft = json!({"name": name, "sans": [format!("{name}.example.test")], "target_ids": [target]});
    draft.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let certificate = house.request(draft).await;
    agent.issue(house).await;
    let version = house.versions(&certificate.id).await.remove(0);
    (certificate, version)
}

async fn revoked(house: &House, certificate: &Certificate, reason: RevocationReason) {
    assert_eq!(revoke(&house.admin(), &certificate.id, &What::Everything, reason).await.unwrap().len(), 1);
}

/// Makes the lists that are due, and lets the first replica see them.
pub(crate) async fn lists_made(house: &House) -> u64 {
    let made = house.run_task("revocation_lists").await;
    house.run_task("revocation_refresh").await;
    made
}

pub(crate) async fn list(engine: &std::sync::Arc<Engine>, shard: Option<i64>) -> std::sync::Arc<crl::Served> {
    crl::fetch(&public(engine), &issuer(), shard).await.unwrap()
}

pub(crate) fn chain(version: &Version) -> Chain {
    Chain::parse_pem(&version.pem_chain).unwrap()
}

/// The answer about a serial number, in whatever form.
pub(crate) async fn about(engine: &std::sync::Arc<Engine>, serial: &Serial) -> Vec<u8> {
    bytes(&ocsp::answer_about(&public(engine), &issuer(), serial).await)
}

fn bytes(answer: &Answer) -> Vec<u8> {
    match answer {
        Answer::Shared(kept) => kept.der.to_vec(),
        Answer::Single(der) => der.to_vec(),
        Answer::Refused(refusal) => refusal.to_der().to_vec(),
    }
}
