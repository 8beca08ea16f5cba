//! Changes of the account's key at CAs that refuse them: nobody is kept from certificates.

use certctl_connector_core::Retry;
use certctl_testkit::acme::{StepCa, answer_http};
use serde_json::{Value, json};

use super::bad::placed;
use super::scripted::{Act, Ca, problem, standard};
use super::support::{Memory, issued, issuer, now, order, step};
use crate::acme::jws::AccountKey;
use crate::issuer::{Issuer as _, Outcome};
use crate::surroundings::KeptAccount;

fn unknown() -> Act {
    Act::Say(400, "", problem("accountDoesNotExist", "no such account"))
}

/// An account at the CA, with a change of keys that was begun.
async fn begun(ca: &Ca) -> Memory {
    let memory = Memory::default();
    placed(&memory, ca).await;
    let next = AccountKey::generate().unwrap().to_pkcs8().unwrap();
    memory.set(KeptAccount { next_key: Some(next), ..memory.kept() });
    memory
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn step_ca_which_changes_no_keys_goes_on_issuing() {
    let memory = Memory::default();
    let answers = memory.clone();
    let port = answer_http(move |path| {
        let answer = answers.answer(&path);
        async move { answer }
    })
    .await;
    let step_ca = StepCa::start(port).await;
    let config = json!({"directory_url": step_ca.directory_url(), "ca_bundle_pem": step_ca.trust_pem()});
    let acme = issuer(&memory, config.clone());
    step(&acme, &order(&["a.example.test"]), None).await.unwrap();
    let key = memory.kept().key;
    for _ in 0..7 {
        let error = acme.roll_account_key(now()).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Permanent, "{error}");
        assert!(error.advice().unwrap().contains("does not offer"), "{error}");
    }
    assert!(memory.kept().next_key.is_none() && memory.kept().key.expose() == key.expose());
    assert!(matches!(step(&acme, &order(&["a.example.test"]), None).await, Ok(Outcome::Pending(_))), "the gate is open");
    // Begun by a version that kept the new key for ever.
    let next = AccountKey::generate().unwrap().to_pkcs8().unwrap();
    memory.set(KeptAccount { next_key: Some(next), ..memory.kept() });
    issued(&memory, &config, &order(&["b.example.test"])).await.unwrap();
    assert!(memory.kept().next_key.is_none() && memory.kept().key.expose() == key.expose());
}

#[tokio::test]
async fn a_key_that_the_ca_refuses_is_forgotten_and_one_that_a_gateway_swallowed_is_not() {
    for (status, forgotten) in [(500, true), (403, true), (501, true), (502, false), (504, false)] {
        let ca = Ca::start().await;
        let memory = begun(&ca).await;
        let before = memory.kept();
        ca.will("/account", [unknown()]);
        ca.will("/key", [Act::Say(status, "retry-after: 600\r\n", Value::Null)]);
        let acme = issuer(&memory, ca.config());
        for _ in 0..7 {
            assert!(matches!(step(&acme, &order(&["a.test"]), None).await, Ok(Outcome::Pending(_))), "{status}");
        }
        assert_eq!(memory.kept().next_key.is_none(), forgotten, "{status}");
        assert_eq!(memory.kept().key.expose(), before.key.expose(), "{status}");
        acme.roll_account_key(now()).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_change_that_another_replica_made_meanwhile_is_taken_over() {
    let ca = Ca::start().await;
    let memory = begun(&ca).await;
    let next = memory.kept().next_key.unwrap();
    ca.will("/account", [unknown(), standard("/account")]);
    ca.will("/key", [Act::Say(400, "", problem("malformed", "the old key is not the account's"))]);
    step(&issuer(&memory, ca.config()), &order(&["a.test"]), None).await.unwrap();
    assert!(memory.kept().next_key.is_none());
    assert_eq!(memory.kept().key.expose(), next.expose());
}

#[tokio::test]
async fn a_relative_location_starts_from_the_url_that_was_asked() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    ca.will("/account", [Act::Say(201, "location: /account/7\r\n", json!({"status": "valid"}))]);
    placed(&memory, &ca).await;
    assert_eq!(memory.kept().url, Some(format!("{}/account/7", ca.base)));
}
