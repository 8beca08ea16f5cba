//! What becomes of certificates, without an agent and without waiting: a CSR is submitted, and the server's work is done at once.

use certctl_domain::auth::ActorKind;
use certctl_domain::x509::{KeyAlgorithm, SanSet};
use certctl_engine::{Ctx, issue, seed};
use certctl_pki::csr::Csr;
use certctl_pki::key::PrivateKey;
use certctl_store::Who;
use certctl_store::jobs::{self, Claim, SERVER};
use serde_json::json;

use crate::support::TestServer;

impl TestServer {
    /// Makes what a fresh installation has: a CA, a profile, a policy.
    pub(crate) async fn seed(&self) {
        seed::seed(&self.engine).await.unwrap();
    }

    /// Requests a certificate and issues its first version; gives its id.
    pub(crate) async fn issue(&self, name: &str) -> String {
        let body = json!({"name": name, "sans": [format!("{name}.example.test")]});
        let id = self.admin().post("/api/v1/certificates", &body).await.is(201).json()["id"].as_str().unwrap().to_owned();
        self.submit_csr(&id, name).await;
        self.work().await;
        id
    }

    /// Issues another version.
    pub(crate) async fn renew(&self, id: &str, name: &str) {
        self.queue_renewal(id, name).await;
        self.work().await;
    }

    /// Brings a renewal so far that only the server's work is left.
    pub(crate) async fn queue_renewal(&self, id: &str, name: &str) {
        self.admin().post(&format!("/api/v1/certificates/{id}/renew"), &json!({})).await.is(202);
        self.submit_csr(id, name).await;
    }

    async fn submit_csr(&self, id: &str, name: &str) {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let host = format!("{name}.example.test");
        let csr = Csr::build(&key, Some(&host), &SanSet::parse([host.as_str()]).unwrap()).unwrap();
        self.admin().post(&format!("/api/v1/certificates/{id}/csr"), &json!({"csr_pem": csr})).await.is(202);
    }

    /// Does what the server's worker would do now.
    pub(crate) async fn work(&self) {
        let ctx = Ctx::system(&self.engine, "job_worker");
        let who = Who { actor: SERVER.to_owned(), kind: ActorKind::System, request_id: None, at: ctx.now() };
        let claim = Claim { worker: SERVER, holder: self.engine.holder(), lease: time::Duration::MINUTE, limit: 100 };
        for row in jobs::claim(&self.store, who, claim).await.unwrap() {
            issue::run(&ctx, row).await.unwrap();
        }
    }
}
