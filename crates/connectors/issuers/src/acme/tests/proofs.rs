//! Proofs of many names: nothing that was put out is forgotten, and nobody waits in turn for what can be waited for together.

use std::collections::BTreeSet;

use certctl_connector_core::Retry;
use serde_json::{Value, json};

use super::bad::placed;
use super::scripted::{Act, Ca, problem};
use super::support::{Memory, issuer, order, step};
use crate::acme::order::Progress;
use crate::issuer::{Outcome, Ticket};

const NAMES: [&str; 12] =
    ["n0.test", "n1.test", "n2.test", "n3.test", "n4.test", "n5.test", "n6.test", "n7.test", "n8.test", "n9.test", "n10.test", "n11.test"];
const AUTHORIZATIONS: [&str; 12] =
    ["/az/0", "/az/1", "/az/2", "/az/3", "/az/4", "/az/5", "/az/6", "/az/7", "/az/8", "/az/9", "/az/10", "/az/11"];

fn challenge(kind: &str, status: &str) -> Value {
    json!({"type": kind, "url": "BASE/chall", "status": status, "token": "abc"})
}

fn authorization(name: &str, status: &str, challenge: &Value) -> Act {
    Act::Say(200, "", json!({"status": status, "identifier": {"type": "dns", "value": name}, "challenges": [challenge]}))
}

/// An order at the CA with this many names to prove.
fn ordered(ca: &Ca, n: usize, challenge: &Value) {
    let authorizations: Vec<String> = AUTHORIZATIONS.iter().take(n).map(|path| format!("BASE{path}")).collect();
    ca.will("/order/1", [Act::Say(200, "", json!({"status": "pending", "authorizations": authorizations}))]);
    for (path, name) in AUTHORIZATIONS.into_iter().zip(NAMES).take(n) {
        ca.will(path, [authorization(name, "pending", challenge)]);
    }
}

/// Settings that write records to acme-dns, one account for all, and look for them where nobody answers.
fn acme_dns(ca: &Ca) -> Value {
    let mut config = ca.config();
    config["challenge"] = json!("dns-01");
    config["dns"] = json!("acme-dns");
    config["acme_dns_url"] = json!(ca.base);
    config["acme_dns_accounts"] = json!({"*": {"username": "u", "password": "p", "subdomain": "s"}});
    config["dns_check_servers"] = json!(["127.0.0.1:1"]);
    config
}

fn posted(ticket: &Ticket) -> Vec<bool> {
    let progress: Progress = serde_json::from_value(ticket.state.clone()).unwrap();
    progress.posted.iter().map(|posted| posted.there).collect()
}

fn pending(outcome: Result<Outcome, certctl_connector_core::ConnectorError>) -> Ticket {
    match outcome.unwrap() {
        Outcome::Pending(ticket) => ticket,
        Outcome::Ready(_) => panic!("there is no certificate"),
    }
}

#[tokio::test]
async fn what_was_put_out_before_a_failure_is_noted_and_the_next_failure_counts() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    let (acme, order) = (issuer(&memory, acme_dns(&ca)), order(&NAMES[..2]));
    let ticket = placed(&memory, &ca).await;
    ordered(&ca, 2, &challenge("dns-01", "pending"));
    ca.will("/update", [Act::Say(200, "", json!({"txt": "v"})), Act::Say(500, "", Value::Null)]);
    let ticket = pending(step(&acme, &order, Some(&ticket)).await);
    assert_eq!(posted(&ticket), [true, false], "the second may be there, though nobody saw it");
    assert!(ticket.reason.contains("acme-dns"), "{}", ticket.reason);
    let error = step(&acme, &order, Some(&ticket)).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Transient, "{error}");
    ca.will("/update", [Act::Say(200, "", json!({"txt": "v"}))]);
    let ticket = pending(step(&acme, &order, Some(&ticket)).await);
    assert_eq!(posted(&ticket), [true, true]);
    assert!(ticket.reason.contains("not everywhere yet"), "{}", ticket.reason);
}

#[tokio::test]
async fn what_was_put_out_is_taken_back_when_nobody_will_come_back_to_the_order() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    let ticket = placed(&memory, &ca).await;
    ordered(&ca, 2, &challenge("http-01", "pending"));
    let bad = json!({"type": "http-01", "url": "BASE/chall", "status": "pending", "token": "../x"});
    ca.will("/az/1", [authorization(NAMES[1], "pending", &bad)]);
    let error = step(&issuer(&memory, ca.config()), &order(&NAMES[..2]), Some(&ticket)).await.unwrap_err();
    assert!(error.to_string().contains("token is not base64url"), "{error}");
    assert_eq!(memory.answers(), 0);
}

#[tokio::test]
async fn an_acme_dns_account_has_two_open_proofs_at_a_time() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    let (acme, order) = (issuer(&memory, acme_dns(&ca)), order(&NAMES[..4]));
    let ticket = placed(&memory, &ca).await;
    ordered(&ca, 4, &challenge("dns-01", "pending"));
    ca.will("/update", [Act::Say(200, "", json!({"txt": "v"}))]);
    let ticket = pending(step(&acme, &order, Some(&ticket)).await);
    let ticket = pending(step(&acme, &order, Some(&ticket)).await);
    assert_eq!((ca.asked("/update"), posted(&ticket).len()), (2, 2));
    ca.will("/az/0", [authorization(NAMES[0], "valid", &challenge("dns-01", "valid"))]);
    let ticket = pending(step(&acme, &order, Some(&ticket)).await);
    assert_eq!((ca.asked("/update"), posted(&ticket).len()), (3, 3));
}

#[tokio::test]
async fn many_names_are_looked_for_together() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut config = acme_dns(&ca);
    config["acme_dns_accounts"] =
        NAMES.iter().map(|name| (name.to_string(), json!({"username": "u", "password": "p", "subdomain": name}))).collect();
    config["dns_check_servers"] = json!([silent.local_addr().unwrap()]);
    let (acme, order) = (issuer(&memory, config), order(&NAMES));
    let ticket = placed(&memory, &ca).await;
    ordered(&ca, NAMES.len(), &challenge("dns-01", "pending"));
    ca.will("/update", [Act::Say(200, "", json!({"txt": "v"}))]);
    let first_questions = async {
        let mut from = BTreeSet::new();
        for _ in 0..8 {
            let mut question = [0; 512];
            let (length, _) = silent.recv_from(&mut question).await.unwrap();
            from.insert(question[12..length].to_vec());
        }
        from.len()
    };
    let (names, _) = tokio::join!(first_questions, step(&acme, &order, Some(&ticket)));
    assert_eq!(names, 8, "none was asked for twice before the others were asked for once");
}

#[tokio::test]
async fn a_challenge_that_failed_is_a_refusal_though_its_authorization_is_still_pending() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    let ticket = placed(&memory, &ca).await;
    let mut failed = challenge("http-01", "invalid");
    failed["error"] = problem("connection", "nobody at port 80");
    ordered(&ca, 1, &failed);
    let error = step(&issuer(&memory, ca.config()), &order(&NAMES[..1]), Some(&ticket)).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Permanent);
    assert!(error.to_string().contains("nobody at port 80"), "{error}");
}

#[tokio::test]
async fn no_proof_is_given_for_what_was_not_ordered() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    let ticket = placed(&memory, &ca).await;
    ordered(&ca, 1, &challenge("http-01", "pending"));
    ca.will("/az/0", [authorization("bank.test", "pending", &challenge("http-01", "pending"))]);
    let error = step(&issuer(&memory, ca.config()), &order(&NAMES[..1]), Some(&ticket)).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Permanent);
    assert!(error.to_string().contains("bank.test, which was not ordered"), "{error}");
    assert_eq!((memory.answers(), ca.asked("/chall")), (0, 0));
}
