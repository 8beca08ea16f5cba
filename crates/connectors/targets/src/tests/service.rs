//! A service that takes up its files by itself, at each handshake, and may forget the intermediates.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use certctl_connector_core::report::{Outcome, Proof, Step};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;

use super::support::{Authority, Issued, Stage};
use crate::TARGETS;

#[derive(Debug)]
struct FromFiles {
    certificate: PathBuf,
    key: PathBuf,
    n_certificates: usize,
}

impl ResolvesServerCert for FromFiles {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chain = CertificateDer::pem_file_iter(&self.certificate).ok()?.filter_map(Result::ok).take(self.n_certificates).collect();
        let key = any_supported_type(&PrivateKeyDer::from_pem_file(&self.key).ok()?).ok()?;
        Some(Arc::new(CertifiedKey::new(chain, key)))
    }
}

struct Service {
    address: SocketAddr,
    _task: JoinSet<()>,
}

/// Serves the pair below `ssl/`, at most so many certificates of it.
async fn serve(stage: &Stage, n_certificates: usize) -> Service {
    let files = FromFiles { certificate: stage.path("ssl/cert.pem"), key: stage.path("ssl/key.pem"), n_certificates };
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(files));
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                if let Ok(mut tls) = acceptor.accept(tcp).await {
                    tls.read_to_end(&mut Vec::new()).await.ok();
                }
            });
        }
    });
    Service { address, _task: task }
}

async fn scene(n_certificates: usize) -> (Stage, Authority, Issued, Service) {
    let (stage, authority) = (Stage::new(), Authority::new());
    let old = authority.issue("web.example.test");
    old.install(&stage.path("ssl/cert.pem"), &stage.path("ssl/key.pem"));
    let service = serve(&stage, n_certificates).await;
    (stage, authority, old, service)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_reload_the_proof_is_still_made() {
    let (stage, authority, old, service) = scene(9).await;
    let target = stage.files(json!({"observe": {"address": service.address.to_string(), "server_names": ["web.example.test"]}}));
    let seen = target.observe().await.unwrap();
    assert_eq!(seen[0].fingerprint, Some(old.fingerprint()));
    let new = authority.issue("web.example.test");
    let report = stage.deploy(&*target, &new).await;
    assert_eq!((&report.outcome, &report.proof), (&Outcome::Deployed, &Proof::Observed), "{report:#?}");
    assert_eq!(report.served[0].chain, new.material().chain_fingerprints());
    assert_eq!(target.observe().await.unwrap(), report.served);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_intermediates_are_seen() {
    let (stage, authority, old, service) = scene(1).await;
    let observe = json!({"observe": {"address": service.address.to_string(), "attempts": 1}});

    // A service whose settings we know must serve the whole chain.
    std::fs::write(stage.path("nginx.conf"), "events {}\n").unwrap();
    let mut test = stage.script("test.sh", "exit 0");
    stage.allow(&[test[0].clone(), "*".to_owned()]);
    test.push("{config}".to_owned());
    let mut config = stage.pair(observe.clone());
    let tools =
        json!({"config_path": stage.text("nginx.conf"), "test_command": test, "reload_command": stage.script("reload.sh", "exit 0")});
    config.as_object_mut().unwrap().extend(tools.as_object().unwrap().clone());
    let report = stage.deploy(&*TARGETS.build("NGINX", config).unwrap(), &authority.issue("web.example.test")).await;
    let failure = report.failure().unwrap();
    assert_eq!(failure.step, Step::Observe);
    assert!(failure.reason.contains("without the intermediates"), "{failure:?}");
    assert_eq!((stage.installed().fingerprint(), &report.proof), (old.fingerprint(), &Proof::Observed));

    // Of any other it is told.
    let report = stage.deploy(&*stage.files(observe), &authority.issue("web.example.test")).await;
    assert_eq!((&report.outcome, &report.proof), (&Outcome::Deployed, &Proof::Observed), "{report:#?}");
    assert!(report.warnings.iter().any(|warning| warning.contains("without the intermediates")), "{:?}", report.warnings);
}
