//! Enrolment: once, with a token, with a server that is whom it should be.

use std::os::unix::fs::MetadataExt as _;

use certctl_agent::enroll::Anchor;
use certctl_agent::identity::{Identity, Trust};
use certctl_connector_core::Retry;
use certctl_domain::x509::Fingerprint;

use crate::common::authority::Authority;
use crate::common::{FakeServer, Host, LONG, files_in, read};

#[tokio::test]
async fn a_token_is_exchanged_for_an_identity_and_only_the_hash_of_the_secret_is_sent() {
    let server = FakeServer::start().await;
    let host = Host::new();
    let identity = host.enroll(host.enrollment(&server, &server.token())).await.unwrap();
    assert_eq!((identity.agent_id.to_string().as_str(), identity.name.as_str(), identity.trust), ("ag-1", "web1", Trust::CaFile));
    let sent = serde_json::to_string(&server.script().enrollments).unwrap();
    let secret = identity.credential.expose().strip_prefix("ca_1_").unwrap();
    assert!(!sent.contains(secret), "the secret does not leave the machine");
    assert_eq!(server.script().enrollments[0].facts.os, "linux");
    for (file, mode) in [("identity.json", 0o600), ("ca.pem", 0o600), ("allow.toml", 0o644)] {
        assert_eq!(host.state.join(file).metadata().unwrap().mode() & 0o777, mode, "{file}");
    }
    assert_eq!(host.state.path().metadata().unwrap().mode() & 0o777, 0o700);
    assert!(!host.state.join("enrollment.json").exists());
}

#[tokio::test]
async fn a_used_or_unknown_token_is_refused_with_a_hint_and_nothing_is_kept() {
    let server = FakeServer::start().await;
    let token = server.token();
    let first = Host::new();
    first.enroll(first.enrollment(&server, &token)).await.unwrap();
    let second = Host::new();
    let error = second.enroll(second.enrollment(&server, &token)).await.unwrap_err();
    assert!(error.to_string().contains("used before, or has expired"), "{error}");
    assert_eq!((error.advice(), error.retry()), (Some("hint for 401"), Retry::Authentication));
    assert!(Identity::load(&second.state).unwrap().is_none());
    assert!(!second.state.join("ca.pem").exists());
}

#[tokio::test]
async fn a_pin_is_enough_when_the_server_shows_it() {
    let server = FakeServer::start().await;
    let host = Host::new();
    let mut enrollment = host.enrollment(&server, &server.token());
    enrollment.anchor = Anchor::Pin(server.authority().fingerprint());
    let identity = host.enroll(enrollment).await.unwrap();
    let kept = identity.ca_pem(&host.state).unwrap().unwrap();
    assert_eq!(kept.split_whitespace().collect::<String>(), server.ca_pem().split_whitespace().collect::<String>());
    // What was pinned is what the agent goes on with.
    let running = host.start().await;
    certctl_testkit::wait_until("a heartbeat", LONG, async || server.script().heartbeats > 0).await;
    running.stop().await;
}

#[tokio::test]
async fn a_pin_that_is_not_shown_or_cannot_vouch_for_the_server_does_not_send_the_token() {
    let server = FakeServer::start().await;
    let host = Host::new();
    let mut enrollment = host.enrollment(&server, &server.token());
    enrollment.anchor = Anchor::Pin(Fingerprint::from_bytes(&[7; 32]));
    let error = host.enroll(enrollment.clone()).await.unwrap_err();
    assert!(error.to_string().contains("shows no certificate with the SHA-256 0707"), "{error}");
    assert!(error.advice().unwrap().contains("between this machine and the server"));
    // Another CA than the one that issued the server's certificate.
    enrollment.anchor = Anchor::Pem(Authority::new("Somebody else").pem().to_owned());
    let error = host.enroll(enrollment).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Transient, "{error}");
    assert!(server.script().enrollments.is_empty() && server.script().tokens.len() == 1);
}

#[tokio::test]
async fn plain_http_and_bad_tokens_are_refused_before_anything_is_sent() {
    let server = FakeServer::start().await;
    let host = Host::new();
    let mut enrollment = host.enrollment(&server, "ck_an_api_key");
    assert!(host.enroll(enrollment.clone()).await.unwrap_err().to_string().contains("API key"));
    enrollment = host.enrollment(&server, &server.token());
    enrollment.server = enrollment.server.replace("https", "http");
    assert!(host.enroll(enrollment).await.unwrap_err().to_string().contains("must begin with https://"));
    assert!(server.script().enrollments.is_empty());
}

#[tokio::test]
async fn an_enrolment_whose_answer_was_lost_offers_the_same_secret_again() {
    let mut server = FakeServer::start().await;
    let host = Host::new();
    let token = server.token();
    server.down().await;
    let error = host.enroll(host.enrollment(&server, &token)).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Transient, "{error}");
    assert_eq!(files_in(host.state.path()), ["agent.lock", "enrollment.json"]);
    let offered = read(&host.state.join("enrollment.json"));
    server.up().await;
    let identity = host.enroll(host.enrollment(&server, &token)).await.unwrap();
    assert!(offered.contains(identity.credential.expose().strip_prefix("ca_1_").unwrap()));
}
