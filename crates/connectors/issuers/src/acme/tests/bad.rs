//! CAs that answer what they should not: too often asked, down, garbage, silence, the same twice, a broken connection.

use std::time::Duration;

use certctl_connector_core::Retry;
use serde_json::{Value, json};

use super::scripted::{Act, Ca, problem, standard};
use super::support::{Memory, issuer, now, order, step};
use crate::issuer::{Issuer as _, Outcome, Ticket};

pub(super) async fn placed(memory: &Memory, ca: &Ca) -> Ticket {
    match step(&issuer(memory, ca.config()), &order(&["a.test"]), None).await.unwrap() {
        Outcome::Pending(ticket) => ticket,
        Outcome::Ready(_) => panic!("ready at once"),
    }
}

#[tokio::test]
async fn a_limit_holds_for_as_long_as_the_ca_says_and_for_that_order_alone() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    let acme = issuer(&memory, ca.config());
    ca.will("/order", [Act::Say(429, "retry-after: 7200\r\n", problem("rateLimited", "too many certificates for a.test"))]);
    let error = step(&acme, &order(&["a.test"]), None).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Throttled { retry_after_seconds: Some(7_200) });
    assert!(error.to_string().contains("too many certificates for a.test"), "{error}");
    ca.will("/order", []);
    assert!(matches!(step(&acme, &order(&["b.test"]), None).await, Ok(Outcome::Pending(_))));
}

#[tokio::test]
async fn a_ca_that_is_busy_is_left_alone_as_a_whole() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    let acme = issuer(&memory, ca.config());
    ca.will("/order", [Act::Say(503, "retry-after: 90\r\n", problem("serverInternal", "busy"))]);
    let error = step(&acme, &order(&["a.test"]), None).await.unwrap_err();
    assert!(matches!(error.retry(), Retry::Transient | Retry::Throttled { .. }), "{error:?}");
    let before = ca.asked.lock().unwrap().len();
    let error = step(&acme, &order(&["b.test"]), None).await.unwrap_err();
    assert!(matches!(error.retry(), Retry::Throttled { retry_after_seconds: Some(89..=91) }), "{error:?}");
    assert_eq!(ca.asked.lock().unwrap().len(), before, "nothing was sent");
}

#[tokio::test]
async fn garbage_silence_and_broken_connections_are_told_and_tried_again_with_the_same_order() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    let ticket = placed(&memory, &ca).await;
    for (act, says) in [
        (Act::Garbage, "is not an order that can be read"),
        (Act::Hang, "did not answer in time"),
        (Act::Close, ""),
        (Act::Say(500, "", Value::Null), "status 500"),
        (Act::Say(200, "", json!({"status": "no such status"})), "is not an order"),
    ] {
        ca.will("/order/1", [act]);
        let error = step(&issuer(&memory, ca.config()), &order(&["a.test"]), Some(&ticket)).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Transient, "{error:?}");
        assert!(error.explain().contains(says), "{}", error.explain());
    }
    assert_eq!((ca.asked("/order"), ca.asked("/account")), (1, 1));
    ca.will("/order/1", [Act::Say(404, "", Value::Null)]);
    let error = step(&issuer(&memory, ca.config()), &order(&["a.test"]), Some(&ticket)).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Permanent);
    assert!(error.advice().unwrap().contains("new order"), "{error}");
}

#[tokio::test]
async fn a_ca_that_fails_five_times_in_a_row_is_not_asked_a_sixth_time() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    ca.will("/dir", [Act::Close]);
    let acme = issuer(&memory, ca.config());
    let mut last = None;
    for _ in 0..8 {
        last = Some(acme.test(now()).await.unwrap_err());
    }
    assert!(matches!(last.unwrap().retry(), Retry::Throttled { .. }));
    assert_eq!(ca.asked("/dir"), 5);
}

#[tokio::test]
async fn nonces_that_are_always_refused_and_the_same_answer_twice_end() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    let ticket = placed(&memory, &ca).await;
    ca.will("/order/1", [Act::Say(400, "", problem("badNonce", "no"))]);
    let error = step(&issuer(&memory, ca.config()), &order(&["a.test"]), Some(&ticket)).await.unwrap_err();
    assert!(error.to_string().contains("badNonce"), "{error}");
    assert!((2..=10).contains(&ca.asked("/order/1")));
    // Ready, however often it is finalized.
    ca.will("/order/1", [Act::Say(200, "", json!({"status": "ready", "finalize": "BASE/finalize"}))]);
    ca.will("/finalize", [Act::Say(200, "", json!({"status": "ready", "finalize": "BASE/finalize"}))]);
    let Outcome::Pending(again) = step(&issuer(&memory, ca.config()), &order(&["a.test"]), Some(&ticket)).await.unwrap() else {
        panic!("there is no certificate");
    };
    assert_eq!(again.state, ticket.state);
    assert!(again.poll_at > now());
}

#[tokio::test]
async fn an_account_that_the_ca_lost_is_registered_again_with_the_same_key() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    placed(&memory, &ca).await;
    let key = memory.kept().key;
    ca.will("/account", [Act::Say(201, "location: BASE/account/2\r\n", json!({"status": "valid"}))]);
    ca.will("/order", [Act::Say(400, "", problem("accountDoesNotExist", "who?")), standard("/order")]);
    placed(&memory, &ca).await;
    assert_eq!(memory.kept().url, Some(format!("{}/account/2", ca.base)));
    assert_eq!(memory.kept().key.expose(), key.expose());
}

#[tokio::test]
async fn our_own_budget_makes_an_order_wait_and_not_fail() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    let mut config = ca.config();
    config["requests_per_minute"] = json!(10);
    let acme = issuer(&memory, config);
    for _ in 0..20 {
        if let Outcome::Pending(ticket) = step(&acme, &order(&["a.test"]), None).await.unwrap()
            && ticket.reason.contains("budget")
        {
            assert!(ticket.poll_at > now() && ticket.poll_at < now().saturating_add(time::Duration::minutes(1)));
            return;
        }
    }
    panic!("twenty orders within a budget of ten requests");
}

#[tokio::test]
async fn a_token_that_is_none_reaches_no_path_and_no_command() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    let ticket = placed(&memory, &ca).await;
    ca.will("/order/1", [Act::Say(200, "", json!({"status": "pending", "authorizations": ["BASE/authz"]}))]);
    ca.will(
        "/authz",
        [Act::Say(
            200,
            "",
            json!({"status": "pending", "identifier": {"type": "dns", "value": "a.test"}, "challenges": [
        {"type": "http-01", "url": "BASE/chall", "status": "pending", "token": "../../etc/passwd"}]}),
        )],
    );
    let error = step(&issuer(&memory, ca.config()), &order(&["a.test"]), Some(&ticket)).await.unwrap_err();
    assert!(error.to_string().contains("token is not base64url"), "{error}");
    assert_eq!((memory.answers(), ca.asked("/chall")), (0, 0));
    tokio::time::timeout(Duration::from_secs(5), issuer(&memory, ca.config()).test(now())).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_acme_dns_server_gets_the_text_and_its_refusal_shows_no_password() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    let mut config = ca.config();
    config["dns"] = json!("acme-dns");
    config["acme_dns_url"] = json!(ca.base);
    config["acme_dns_accounts"] = json!({"*": {"username": "u", "password": "hunter2", "subdomain": "s"}});
    let acme = issuer(&memory, config);
    let record = crate::acme::dns::TxtRecord {
        domain: "a.test".into(),
        name: "_acme-challenge.a.test".into(),
        value: "v".into(),
        token: "t".into(),
    };
    ca.will("/update", [Act::Say(200, "", json!({"txt": "v"})), Act::Say(401, "", json!({"error": "forbidden"}))]);
    let writer = crate::acme::dns::writer(&acme).unwrap();
    writer.add(&record, now()).await.unwrap();
    let error = writer.add(&record, now()).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Authentication);
    assert!(error.to_string().starts_with("acme-dns: ") && !format!("{error:?} {acme:?}").contains("hunter2"), "{error:?}");
    assert_eq!(ca.asked("/update"), 2);
}

#[tokio::test]
async fn a_renewal_window_that_makes_no_sense_is_no_answer_and_the_pause_is_the_cas() {
    let (memory, ca) = (Memory::default(), Ca::start().await);
    ca.will(
        "/dir",
        [Act::Say(
            200,
            "",
            json!({"newNonce": "BASE/nonce", "newAccount": "BASE/account", "newOrder": "BASE/order",
        "revokeCert": "BASE/revoke", "keyChange": "BASE/key", "renewalInfo": "BASE/ari"}),
        )],
    );
    // The example certificate of RFC 9773 appendix A.
    let path = "/ari/ayhba4dgqehhs3uee6culn4bynq.aidlqye";
    let acme = issuer(&memory, ca.config());
    let window = |start: &str, end: &str| json!({"suggestedWindow": {"start": start, "end": end}, "explanationURL": "https://ca.test/why"});
    ca.will(
        path,
        [
            Act::Say(200, "retry-after: 21600\r\n", window("2026-01-02T04:00:00Z", "2026-01-03T04:00:00Z")),
            Act::Say(200, "", window("2026-01-03T04:00:00Z", "2026-01-02T04:00:00Z")),
            Act::Say(200, "", window("2026-01-03T04:00:00Z", "2026-01-03T04:00:00Z")),
            Act::Say(404, "", Value::Null),
            Act::Garbage,
        ],
    );
    let suggestion = acme.renewal_info(RFC_9773_EXAMPLE, now()).await.unwrap().unwrap();
    assert_eq!(suggestion.ask_after, Some(Duration::from_secs(21_600)));
    assert_eq!(suggestion.window.start.to_string(), "2026-01-02T04:00:00Z");
    // As if there had been no answer: what was known before stays known.
    for _ in 0..2 {
        let error = acme.renewal_info(RFC_9773_EXAMPLE, now()).await.unwrap_err();
        assert_eq!((error.retry(), error.to_string().contains("ends before it begins")), (Retry::Transient, true), "{error}");
    }
    assert_eq!(acme.renewal_info(RFC_9773_EXAMPLE, now()).await.unwrap(), None);
    assert_eq!(acme.renewal_info(RFC_9773_EXAMPLE, now()).await.unwrap_err().retry(), Retry::Transient);
    assert_eq!(ca.asked(path), 5);
}

pub(super) const RFC_9773_EXAMPLE: &str = "-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----
";
