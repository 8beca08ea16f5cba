//! CAs that keep to the letter of RFC 8555, or break it where a client must notice.

use certctl_connector_core::Retry;
use certctl_domain::time::Timestamp;
use serde_json::{Value, json};

use super::bad::{RFC_9773_EXAMPLE, placed};
use super::scripted::{Act, Ca, problem};
use super::support::{Memory, issuer, now, order, step};
use crate::issuer::{ASK_RENEWAL_INFO_AT, Issuer as _, Outcome};

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

#[tokio::test]
async fn the_pause_that_the_ca_wants_after_the_first_window_is_kept() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    let mut directory = directory();
    directory["renewalInfo"] = json!("BASE/ari");
    ca.will("/dir", [Act::Say(200, "", directory)]);
    let ticket = placed(&memory, &ca).await;
    ca.will("/order/1", [Act::Say(200, "", json!({"status": "valid", "certificate": "BASE/cert"}))]);
    ca.will("/cert", [Act::Say(200, "", json!(RFC_9773_EXAMPLE))]);
    let window = json!({"suggestedWindow": {"start": "2026-01-02T04:00:00Z", "end": "2026-01-03T04:00:00Z"}});
    ca.will(
        "/ari/ayhba4dgqehhs3uee6culn4bynq.aidlqye",
        [Act::Say(200, "retry-after: 7200\r\n", window.clone()), Act::Say(200, "", window)],
    );
    let acme = issuer(&memory, ca.config());
    let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut kept = Vec::new();
    for _ in 0..2 {
        let Outcome::Ready(issued) = acme.issue(&order(&["a.test"]), None, Some(&ticket.state), at).await.unwrap() else {
            panic!("the order is valid");
        };
        assert!(issued.ari.is_some());
        kept.push(issued.issuer_ref.get(ASK_RENEWAL_INFO_AT).cloned());
    }
    assert_eq!(kept, [Some(json!("2026-01-01T02:00:00Z")), None]);
}

#[tokio::test]
async fn requests_are_signed_for_urls_as_the_ca_wrote_them() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    // Written again, these would be another text: the path without its dots.
    let odd = json!({"newNonce": "BASE/x/../nonce", "newAccount": "BASE/x/../account", "newOrder": "BASE/x/../order",
        "revokeCert": "BASE/revoke", "keyChange": "BASE/key"});
    ca.will("/dir", [Act::Say(200, "", odd)]);
    ca.will("/account", [Act::Say(201, "location: BASE/x/../account/1\r\n", json!({"status": "valid"}))]);
    ca.will("/order", [Act::Say(201, "location: BASE/x/../order/1\r\n", json!({"status": "pending"}))]);
    let order_object = json!({"status": "pending", "authorizations": ["BASE/x/../authz/1"]});
    ca.will("/order/1", [Act::Say(200, "", order_object), Act::Say(200, "", json!({"status": "ready", "finalize": "BASE/x/../finalize"}))]);
    let challenge = json!({"type": "http-01", "url": "BASE/x/../chall/1", "status": "pending", "token": "t"});
    let authorization = json!({"status": "pending", "identifier": {"type": "dns", "value": "a.test"}, "challenges": [challenge]});
    ca.will("/authz/1", [Act::Say(200, "", authorization)]);
    ca.will("/chall/1", [Act::Say(200, "", json!({"status": "processing"}))]);
    ca.will("/finalize", [Act::Say(200, "", json!({"status": "valid", "certificate": "BASE/x/../cert"}))]);
    ca.will("/cert", [Act::Say(200, "", json!(RFC_9773_EXAMPLE))]);
    let mut ticket = None;
    for _ in 0..3 {
        match step(&issuer(&memory, ca.config()), &order(&["a.test"]), ticket.as_ref()).await.unwrap() {
            Outcome::Pending(next) => ticket = Some(next),
            Outcome::Ready(issued) => assert_eq!(issued.issuer_ref["order"], format!("{}/x/../order/1", ca.base)),
        }
    }
    let account = format!("{}/x/../account/1", ca.base);
    assert_eq!(memory.kept().url.as_ref(), Some(&account));
    for path in ["account", "order", "order/1", "authz/1", "chall/1", "finalize", "cert"] {
        let headers = ca.headers(&format!("/{path}"));
        assert!(!headers.is_empty(), "{path}");
        for header in headers {
            assert_eq!(header["url"], format!("{}/x/../{path}", ca.base));
            assert!(path == "account" || header["kid"] == account, "{header}");
        }
    }
}

#[tokio::test]
async fn an_account_that_was_there_already_is_told_the_contact() {
    for (status, told) in [(201, 0), (200, 1)] {
        let (memory, ca) = (Memory::default(), Ca::start().await);
        ca.will("/account", [Act::Say(status, "location: BASE/account/1\r\n", json!({"status": "valid"}))]);
        ca.will("/account/1", [Act::Say(500, "", Value::Null), Act::Say(200, "", json!({"status": "valid"}))]);
        let mut config = ca.config();
        config["email"] = json!("ops@example.test");
        let acme = issuer(&memory, config);
        if status == 200 {
            step(&acme, &order(&["a.test"]), None).await.unwrap_err();
            assert_eq!(memory.kept().url, None, "nothing was told yet");
        }
        let _placed = step(&acme, &order(&["a.test"]), None).await.unwrap();
        assert_eq!((ca.asked("/account/1"), memory.kept().contact.as_str()), (told * 2, "mailto:ops@example.test"));
    }
}

fn directory() -> Value {
    json!({"newNonce": "BASE/nonce", "newAccount": "BASE/account", "newOrder": "BASE/order", "revokeCert": "BASE/revoke", "keyChange": "BASE/key"})
}
