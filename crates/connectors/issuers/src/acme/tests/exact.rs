//! CAs that keep to the letter of RFC 8555, or break it where a client must notice.

use serde_json::{Value, json};

use super::bad::{Act, Ca, placed};
use super::support::{Memory, issuer, order, step};

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

fn directory() -> Value {
    json!({"newNonce": "BASE/nonce", "newAccount": "BASE/account", "newOrder": "BASE/order", "revokeCert": "BASE/revoke", "keyChange": "BASE/key"})
}
