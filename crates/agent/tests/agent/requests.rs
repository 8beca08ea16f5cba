//! Signing requests: the key first, then the request; the same for the same job.

use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex};

use certctl_domain::x509::{KeyAlgorithm, San};
use certctl_pki::csr::Csr;
use certctl_pki::key::PrivateKey;
use certctl_testkit::wait_until;
use serde_json::json;

use crate::common::server::{request_item, with};
use crate::common::{FakeServer, Host, LONG, files_in, read};

#[tokio::test]
async fn the_key_is_on_disk_and_private_before_the_request_leaves() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    let seen = Arc::new(Mutex::new(None));
    let (keys, noted) = (host.state.join("keys/mc-web"), Arc::clone(&seen));
    server.script().on_request = Some(Box::new(move |request| {
        let path = keys.join("job-1.key");
        let modes = (path.metadata().unwrap().mode() & 0o777, keys.metadata().unwrap().mode() & 0o777);
        let key = PrivateKey::from_pem(&read(&path)).unwrap();
        let fits = Csr::parse_pem(&request.csr_pem).unwrap().matches_key(&key);
        *noted.lock().unwrap() = Some((modes, fits, files_in(&keys)));
    }));
    let running = host.start().await;
    server.hand_out(request_item("job-1", "mc-web"));
    let request = server.request(0).await;
    let (modes, fits, files) = seen.lock().unwrap().clone().unwrap();
    assert_eq!((modes, fits), ((0o600, 0o700), true));
    assert_eq!(files, ["job-1.key"], "whole, under its final name");
    assert_eq!((request.job_id.unwrap().to_string().as_str(), request.fence), ("job-1", Some(1)));
    let csr = Csr::parse_pem(&request.csr_pem).unwrap();
    assert_eq!(csr.common_name(), Some("web.example.test"));
    assert!(csr.sans().contains(&San::Ip("10.0.0.7".parse().unwrap())), "an address is an address, not a host name");
    running.stop().await;
}

#[tokio::test]
async fn a_job_that_is_handed_out_again_is_answered_with_the_same_key() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    let running = host.start().await;
    server.hand_out(request_item("job-1", "mc-web"));
    let first = server.request(0).await;
    running.stop().await;
    // Another hand-out, after a restart.
    let running = host.start().await;
    server.hand_out(with(request_item("job-1", "mc-web"), "fence", json!(2)));
    let second = server.request(1).await;
    assert_eq!(second.fence, Some(2));
    let spki = |csr: &str| Csr::parse_pem(csr).unwrap().spki().to_vec();
    assert_eq!(spki(&first.csr_pem), spki(&second.csr_pem));
    // A new job gets a new key, and the old one stays.
    server.hand_out(request_item("job-2", "mc-web"));
    assert_ne!(spki(&server.request(2).await.csr_pem), spki(&first.csr_pem));
    assert_eq!(files_in(&host.state.join("keys/mc-web")), ["job-1.key", "job-2.key"]);
    running.stop().await;
}

#[tokio::test]
async fn the_server_chooses_the_kind_of_key() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    let running = host.start().await;
    let wanted = [KeyAlgorithm::Ed25519, KeyAlgorithm::EcdsaP384, KeyAlgorithm::Rsa2048];
    for (at, algorithm) in wanted.into_iter().enumerate() {
        server.hand_out(with(request_item(&format!("job-{at}"), &format!("mc-{at}")), "key_algorithm", json!(algorithm.as_str())));
    }
    server.request(wanted.len() - 1).await;
    let mut made: Vec<_> = server.script().requests.iter().map(|r| Csr::parse_pem(&r.csr_pem).unwrap().key_algorithm()).collect();
    made.sort_by_key(|algorithm| wanted.iter().position(|known| known == algorithm));
    assert_eq!(made, wanted);
    running.stop().await;
}

#[tokio::test]
async fn names_that_cannot_be_requested_fail_the_job_with_a_reason() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    let running = host.start().await;
    let nameless = with(with(request_item("job-1", "mc-web"), "common_name", json!("")), "sans", json!([]));
    server.hand_out(nameless);
    server.hand_out(with(request_item("job-2", "mc-web"), "sans", json!(["a.*.example.test"])));
    server.hand_out(with(request_item("job-3", "mc-web"), "common_name", json!("x".repeat(65))));
    for job in ["job-1", "job-2", "job-3"] {
        let result = server.result_of(job).await;
        assert_eq!((result.status.as_str(), result.permanent, result.fence), ("Failed", true, Some(1)), "{result:?}");
        assert!(result.error.unwrap().contains("request"));
    }
    assert!(server.script().requests.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_rejected_request_ends_its_job_in_words() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    server.script().refuse.push(("/csr", 422));
    let running = host.start().await;
    server.hand_out(request_item("job-1", "mc-web"));
    let result = server.result_of("job-1").await;
    assert!(result.error.unwrap().contains("rejects the signing request: refused by the test"));
    assert_eq!((result.hint.as_deref(), result.permanent), (Some("hint for 422"), true));
    wait_until("an empty outbox", LONG, async || files_in(&host.state.join("outbox")).is_empty()).await;
    running.stop().await;
}

#[tokio::test]
async fn identifiers_that_carry_paths_are_not_followed() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    let running = host.start().await;
    for (at, id) in ["../../../escape", "..", "a/b", "/etc/x", "a\u{0}b"].iter().enumerate() {
        server.hand_out(with(request_item(&format!("job-bad-{at}"), "mc-web"), "certificate_id", json!(id)));
        let result = server.result_of(&format!("job-bad-{at}")).await;
        assert!(result.error.unwrap().contains("does not understand the work"), "{id}");
    }
    // A job that has no usable id cannot even be answered; what comes after it is done all the same.
    server.hand_out(with(request_item("job-1", "mc-web"), "id", json!("../x")));
    server.hand_out(request_item("job-2", "mc-web"));
    server.request(0).await;
    assert_eq!(files_in(&host.state.join("keys")), ["mc-web"]);
    assert_eq!(files_in(&host.root), ["state"]);
    running.stop().await;
}
