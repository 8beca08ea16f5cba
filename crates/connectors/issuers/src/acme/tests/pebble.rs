//! Against pebble, which refuses nonces at random and proves every name anew.

use std::time::Duration;

use certctl_connector_core::Retry;
use certctl_domain::renewal::Window;
use certctl_domain::x509::RevocationReason;
use certctl_pki::chain::Chain;
use certctl_testkit::acme::{NameServer, Pebble, PebbleSetup, answer_http};
use serde_json::{Value, json};

use super::support::{Memory, issued, issuer, now, order, step};
use crate::issuer::{Issuer as _, Order, Outcome, Predecessor, Revocation};

async fn pebble(memory: &Memory, setup: PebbleSetup) -> (Pebble, Value) {
    let answers = memory.clone();
    let http_port = answer_http(move |path| {
        let answer = answers.answer(&path);
        async move { answer }
    })
    .await;
    let pebble = Pebble::start(PebbleSetup { http_port, ..setup }).await;
    let config = json!({"directory_url": pebble.directory_url(), "ca_bundle_pem": pebble.trust_pem(), "terms_of_service_agreed": true,
        "email": "ca@example.test"});
    (pebble, config)
}

fn with(config: &Value, more: Value) -> Value {
    let mut config = config.clone();
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn names(chain_pem: &str) -> Vec<String> {
    Chain::parse_pem(chain_pem).unwrap().leaf().sans().iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_addresses_are_proven_over_http_and_one_order_survives_any_number_of_restarts() {
    let memory = Memory::default();
    let (pebble, config) = pebble(&memory, PebbleSetup::default()).await;
    let order = order(&["a.example.test", "b.example.test", "127.0.0.1"]);
    let issued = issued(&memory, &config, &order).await.unwrap();
    let chain = Chain::parse_pem(&issued.chain_pem).unwrap();
    assert_eq!(chain.leaf().spki(), order.csr.spki());
    assert_eq!(chain.leaf().sans().len(), 3);
    assert_eq!((pebble.orders(), pebble.certificates(), pebble.accounts()), (1, 1, 1), "{}", pebble.log());
    assert!(issued.ari.is_some_and(|Window { start, end }| start < end && end < chain.leaf().not_after()));
    assert_eq!(memory.answers(), 0, "what was put out is taken back");
    let expected = certctl_pki::lint::Expected {
        spki: order.csr.spki(),
        sans: order.request.sans(),
        common_name: None,
        usages: order.request.ekus(),
        not_after_max: None,
        now: now(),
    };
    certctl_pki::lint::check_issued(&chain, &expected).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_names_its_predecessor_and_is_made_without_when_the_ca_refuses_that() {
    let memory = Memory::default();
    let (pebble, config) = pebble(&memory, PebbleSetup::default()).await;
    let first = issued(&memory, &config, &order(&["a.example.test"])).await.unwrap();
    let mut renewal = order(&["a.example.test"]);
    renewal.predecessor = Some(Predecessor { chain_pem: first.chain_pem.clone(), issuer_ref: first.issuer_ref.clone() });
    let second = issued(&memory, &config, &renewal).await.unwrap();
    assert_eq!(pebble.log().matches("is a replacement of").count(), 1, "{}", pebble.log());
    // The first was replaced already: pebble refuses to hear of that again.
    let mut again = order(&["a.example.test"]);
    again.predecessor = renewal.predecessor.clone();
    let third = issued(&memory, &config, &again).await.unwrap();
    assert_ne!(second.chain_pem, third.chain_pem);
    assert_eq!((pebble.orders(), pebble.certificates(), pebble.accounts()), (3, 3, 1), "{}", pebble.log());
    let acme = issuer(&memory, config.clone());
    assert!(acme.renewal_info(&third.chain_pem, now()).await.unwrap().is_some());
    // Whoever turns it off is left alone.
    let silent = issuer(&memory, with(&config, json!({"ari": false})));
    assert_eq!(silent.renewal_info(&third.chain_pem, now()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_follows_its_contact_changes_its_key_and_revokes() {
    let memory = Memory::default();
    let (pebble, config) = pebble(&memory, PebbleSetup::default()).await;
    let first = issued(&memory, &config, &order(&["a.example.test"])).await.unwrap();
    let (key, url) = (memory.kept().key, memory.kept().url);
    let acme = issuer(&memory, with(&config, json!({"email": "other@example.test"})));
    acme.roll_account_key(now()).await.unwrap();
    let kept = memory.kept();
    assert_eq!((&kept.url, kept.contact.as_str()), (&url, "mailto:other@example.test"));
    assert!(kept.next_key.is_none() && kept.key.expose() != key.expose());
    let serial = Chain::parse_pem(&first.chain_pem).unwrap().leaf().serial().clone();
    let revocation = Revocation { serial, issuer_ref: first.issuer_ref, chain_pem: first.chain_pem, reason: RevocationReason::Superseded };
    acme.revoke(&revocation).await.unwrap();
    // Told twice, it is still revoked.
    acme.revoke(&revocation).await.unwrap();
    assert_eq!(pebble.accounts(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_keys_that_was_cut_off_is_finished_from_either_side() {
    let memory = Memory::default();
    let (_pebble, config) = pebble(&memory, PebbleSetup::default()).await;
    issued(&memory, &config, &order(&["a.example.test"])).await.unwrap();
    let acme = issuer(&memory, config.clone());
    // Cut off after the CA took the new key: the old one is kept as if nothing had been noted.
    let before = memory.kept();
    acme.roll_account_key(now()).await.unwrap();
    let after = memory.kept();
    memory.set(crate::surroundings::KeptAccount { next_key: Some(after.key.clone()), ..before });
    issued(&memory, &config, &order(&["b.example.test"])).await.unwrap();
    assert_eq!(memory.kept().key.expose(), after.key.expose());
    // Cut off before the CA heard of it.
    let next = crate::acme::jws::AccountKey::generate().unwrap().to_pkcs8().unwrap();
    memory.set(crate::surroundings::KeptAccount { next_key: Some(next.clone()), ..memory.kept() });
    issued(&memory, &config, &order(&["c.example.test"])).await.unwrap();
    assert_eq!(memory.kept().key.expose(), next.expose());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_bound_to_the_one_that_the_ca_knows() {
    let memory = Memory::default();
    let secret = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let (pebble, config) = pebble(&memory, PebbleSetup { binding: Some(("kid-1".into(), secret.into())), ..PebbleSetup::default() }).await;
    let unbound = issuer(&memory, config.clone());
    let error = step(&unbound, &order(&["a.example.test"]), None).await.unwrap_err();
    assert!(error.advice().unwrap().contains("eab_kid"), "{error}");
    assert!(unbound.test(now()).await.is_err());
    let wrong = with(&config, json!({"eab_kid": "kid-1", "eab_hmac": "d3Jvbmcta2V5LXdyb25nLWtleS13cm9uZy1rZXktMDEyMzQ1"}));
    let wrong = issuer(&memory, wrong);
    let error = step(&wrong, &order(&["a.example.test"]), None).await.unwrap_err();
    assert!(!format!("{error:?} {} {wrong:?}", error.explain()).contains("d3Jvbmct"), "{error:?}");
    let bound = with(&config, json!({"eab_kid": "kid-1", "eab_hmac": secret}));
    issued(&memory, &bound, &order(&["a.example.test"])).await.unwrap();
    let acme = issuer(&memory, bound);
    acme.test(now()).await.unwrap();
    assert!(!format!("{acme:?}").contains(secret));
    assert_eq!(pebble.accounts(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profiles_and_roots_are_chosen_among_what_the_ca_offers() {
    let memory = Memory::default();
    let (_pebble, config) = pebble(&memory, PebbleSetup { alternate_roots: 2, ..PebbleSetup::default() }).await;
    let unknown = issuer(&memory, with(&config, json!({"profile": "tlsserver"})));
    let error = step(&unknown, &order(&["a.example.test"]), None).await.unwrap_err();
    assert!(error.advice().unwrap().contains("shortlived"), "{error}");
    let plain = issued(&memory, &config, &order(&["a.example.test"])).await.unwrap();
    let root = |pem: &str| Chain::parse_pem(pem).unwrap().iter().last().unwrap().issuer().to_owned();
    // Its roots have random names: one that is not the usual one is found by asking for another until it differs.
    let short = with(&config, json!({"profile": "shortlived"}));
    let short = issued(&memory, &short, &order(&["a.example.test"])).await.unwrap();
    let leaf = Chain::parse_pem(&short.chain_pem).unwrap();
    assert_eq!(leaf.leaf().not_before().until(leaf.leaf().not_after()).whole_days(), 5);
    let alternate = issuer(&memory, config.clone());
    let account = alternate.accounts().unwrap().current().await.unwrap();
    let url = format!("{}/alternate/1", plain.issuer_ref["certificate"].as_str().unwrap());
    let url = crate::acme::url::Url::parse(&url).unwrap();
    let answer = alternate.client.post(account.signer(), &url, None).await.unwrap();
    let wanted = root(std::str::from_utf8(&answer.body).unwrap());
    assert_ne!(wanted, root(&plain.chain_pem));
    let name = wanted.rsplit("CN=").next().unwrap();
    let preferring = with(&config, json!({"preferred_root": name}));
    let chosen = issued(&memory, &preferring, &order(&["a.example.test"])).await.unwrap();
    assert_eq!(root(&chosen.chain_pem), wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wildcards_are_proven_by_signed_dns_updates_that_are_taken_back() {
    let memory = Memory::default();
    let bind = NameServer::start("example.test").await;
    let (pebble, config) = pebble(&memory, PebbleSetup { dns: Some(bind.address), ..PebbleSetup::default() }).await;
    let config = with(
        &config,
        json!({"challenge": "dns-01", "dns": "rfc2136", "rfc2136_server": bind.address, "rfc2136_key_name": bind.key_name,
        "rfc2136_key": bind.key, "dns_check_servers": [bind.address]}),
    );
    // One record each for the wildcard and the name itself, at the same place.
    let issued = issued(&memory, &config, &order(&["w.example.test", "*.w.example.test", "127.0.0.1"])).await.unwrap();
    assert_eq!(names(&issued.chain_pem).len(), 3);
    assert_eq!((pebble.orders(), memory.answers()), (1, 0));
    let record = crate::acme::dns::TxtRecord {
        domain: String::new(),
        name: "_acme-challenge.w.example.test".into(),
        value: String::new(),
        token: String::new(),
    };
    let missing = crate::acme::dns::propagation::missing(&record, &[bind.address]).await.unwrap();
    assert!(missing.is_some(), "the records are gone");

    let wrong = with(&config, json!({"rfc2136_key": "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnQ="}));
    let error = super::support::issued(&memory, &wrong, &order(&["v.example.test"])).await.unwrap_err();
    assert!(error.explain().contains("BADSIG") && !format!("{error:?}").contains("aHVudGVy"), "{error:?}");
    let elsewhere = super::support::issued(&memory, &config, &order(&["v.elsewhere.test"])).await.unwrap_err();
    assert!(elsewhere.advice().unwrap().contains("rfc2136_zone"), "{elsewhere}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_fails_says_why_and_the_next_attempt_is_a_new_order() {
    let memory = Memory::default();
    let (pebble, config) = pebble(&memory, PebbleSetup::default()).await;
    let wrong = Memory::default();
    // Answers are kept where nobody looks.
    let order = order(&["a.example.test"]);
    let error = issued(&wrong, &config, &order).await.unwrap_err();
    assert!(error.to_string().contains("the proof of a.example.test by http-01"), "{error}");
    assert_eq!(wrong.answers(), 0);
    issued(&memory, &config, &order).await.unwrap();
    assert_eq!((pebble.orders(), pebble.certificates()), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_that_begin_together_make_one_account_and_terms_must_be_agreed_to() {
    let memory = Memory::default();
    let (pebble, config) = pebble(&memory, PebbleSetup::default()).await;
    let silent = issuer(&memory, with(&config, json!({"terms_of_service_agreed": false})));
    let error = step(&silent, &order(&["a.example.test"]), None).await.unwrap_err();
    assert!(error.advice().unwrap().contains("terms_of_service_agreed"), "{error}");
    assert_eq!(pebble.accounts(), 0);
    let (one, two) = (order(&["a.example.test"]), order(&["b.example.test"]));
    // Of two that register one key in the same instant pebble may refuse the later; that attempt is made again, as the engine does.
    let patiently = async |order: &Order| match issued(&memory, &config, order).await {
        Err(error) if error.retry() == Retry::Transient => issued(&memory, &config, order).await,
        done => done,
    };
    let (one, two) = tokio::join!(patiently(&one), patiently(&two));
    assert_eq!((one.unwrap().issuer_ref["account"].clone(), pebble.accounts()), (two.unwrap().issuer_ref["account"].clone(), 1));
    // Nothing is ordered that cannot be had.
    let acme = issuer(&memory, config);
    for (names, hint) in [(&["*.example.test"][..], "rfc2136"), (&["a.test", "me@a.test"], "another issuer")] {
        let error = step(&acme, &order(names), None).await.unwrap_err();
        assert!(error.advice().unwrap().contains(hint), "{error}");
    }
    assert!(matches!(step(&acme, &order(&["c.example.test"]), None).await, Ok(Outcome::Pending(_))));
    certctl_testkit::wait_until("the order to be logged", Duration::from_secs(5), async || pebble.orders() == 3).await;
}
