//! CAs that keep to the letter of RFC 8555, or break it where a client must notice.

use certctl_connector_core::Retry;
use serde_json::{Value, json};

use super::bad::placed;
use super::scripted::{Act, Ca, problem};
use super::support::{Memory, issuer, now, order, step};
use crate::issuer::Issuer as _;

/// The nonces of the signed requests to a path, in order.
fn nonces(ca: &Ca, path: &str) -> Vec<String> {
    ca.headers(path).iter().map(|header| header["nonce"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_nonce_that_is_not_base64url_is_ignored() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    let ticket = placed(&memory, &ca).await;
    let acme = issuer(&memory, ca.config());
    ca.will("/nonce", [Act::Say(200, "replay-nonce: first\r\n", Value::Null), Act::Say(200, "replay-nonce: second\r\n", Value::Null)]);
    ca.will("/order/1", [Act::Say(200, "replay-nonce: a b\r\n", json!({"status": "processing"}))]);
    for _ in 0..2 {
        // Reading the directory brings no nonce either.
        ca.will("/dir", [Act::Say(200, "replay-nonce: $\r\n", directory())]);
        step(&acme, &order(&["a.test"]), Some(&ticket)).await.unwrap();
    }
    assert_eq!(nonces(&ca, "/order/1"), ["first", "second"]);
    ca.will("/nonce", [Act::Say(200, "replay-nonce: \r\n", Value::Null)]);
    let error = step(&acme, &order(&["a.test"]), Some(&ticket)).await.unwrap_err();
    assert!(error.to_string().contains("no nonce"), "{error}");
}

#[tokio::test]
async fn a_refused_nonce_is_replaced_by_that_of_the_refusal() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    let ticket = placed(&memory, &ca).await;
    let refusal = |headers| Act::Say(400, headers, problem("badNonce", "no"));
    let good = || Act::Say(200, "replay-nonce: last\r\n", json!({"status": "processing"}));

    // The directory brings a nonce that is on the pile; it is taken first, and the second refusal has none of its own.
    let acme = issuer(&memory, ca.config());
    ca.will("/dir", [Act::Say(200, "replay-nonce: pile\r\n", directory())]);
    ca.will("/nonce", [Act::Say(200, "replay-nonce: fresh\r\n", Value::Null)]);
    ca.will("/order/1", [refusal("replay-nonce: own-1\r\n"), refusal("replay-nonce: no nonce\r\n"), good()]);
    acme.test(now()).await.unwrap();
    acme.test(now()).await.unwrap();
    step(&acme, &order(&["a.test"]), Some(&ticket)).await.unwrap();
    assert_eq!(nonces(&ca, "/order/1"), ["pile", "own-1", "fresh"], "a second nonce was on the pile all the time");

    // Refused for ever: another attempt is made later.
    ca.will("/order/1", [refusal("replay-nonce: own\r\n")]);
    let error = step(&acme, &order(&["a.test"]), Some(&ticket)).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Transient, "{error}");
    assert_eq!(nonces(&ca, "/order/1").split_off(3), ["last", "own", "own", "own", "own", "own"]);
}

fn directory() -> Value {
    json!({"newNonce": "BASE/nonce", "newAccount": "BASE/account", "newOrder": "BASE/order", "revokeCert": "BASE/revoke", "keyChange": "BASE/key"})
}
