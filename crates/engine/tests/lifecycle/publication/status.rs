//! OCSP: what is answered to whom.

use certctl_domain::x509::{RevocationReason, Serial};
use certctl_engine::ocsp::{self, Answer, Outcome};
use certctl_engine::{Ctx, crud};
use certctl_pki::ocsp::Refusal;
use certctl_store::authorities::{self, Purpose};
use certctl_store::db::sql;
use certctl_testkit::both_databases;
use serde_json::json;
use time::Duration;

use super::openssl::RelyingParty;
use super::{about, bytes, chain, issued, issued_with, issuer, lists_made, public, revoked};
use crate::house::House;

async fn ask(ctx: &Ctx, request: &[u8]) -> Answer {
    ocsp::answer(ctx, &issuer(), request).await
}

both_databases! {
    async fn openssl_is_told_what_was_really_issued(house: House) {
        let (certificate, version) = issued(&house, "web").await;
        lists_made(&house).await;
        let party = RelyingParty::new(&house).await;
        party.holds("web.pem", &version);
        let ctx = public(&house.engine);
        for (status, reason) in [("good", ""), ("revoked", "Reason: keyCompromise")] {
            for options in ["-sha1 -nonce", "-sha256 -nonce", "-sha1 -no_nonce", "-sha256 -no_nonce"] {
                let request = party.ask("web.pem", options);
                let hash = options.split(' ').next().unwrap();
                for _ in 0..2 {
                    let said = party.believes("web.pem", hash, &bytes(&ask(&ctx, &request).await));
                    assert!(said.contains(&format!("web.pem: {status}")) && said.contains(reason), "{options}: {said}");
                }
            }
            if status == "good" {
                revoked(&house, &certificate, RevocationReason::KeyCompromise).await;
                house.run_task("revocation_refresh").await;
            }
        }
    }

    async fn an_answer_without_a_nonce_is_signed_once_and_forgotten_with_the_revocation(house: House) {
        let (certificate, version) = issued(&house, "web").await;
        lists_made(&house).await;
        let first = about(&house.engine, &version.serial_number).await;
        assert_eq!(about(&house.engine, &version.serial_number).await, first);
        let counted = |outcome| house.engine.shelf().counts().all().iter().find(|(other, _)| *other == outcome).unwrap().1;
        assert_eq!((counted(Outcome::Good), counted(Outcome::Kept)), (1, 1));
        house.clock.advance(Duration::minutes(30));
        assert_ne!(about(&house.engine, &version.serial_number).await, first, "half of its time is over");
        revoked(&house, &certificate, RevocationReason::Superseded).await;
        house.run_task("revocation_refresh").await;
        let party = RelyingParty::new(&house).await;
        let said = party.read(&about(&house.engine, &version.serial_number).await);
        assert!(said.contains("Cert Status: revoked"), "{said}");
        // Listed by now: it is found as well when the list was made between two looks.
        let (other, version) = issued(&house, "other").await;
        about(&house.engine, &version.serial_number).await;
        revoked(&house, &other, RevocationReason::Superseded).await;
        house.clock.advance(Duration::seconds(15));
        assert_eq!(lists_made(&house).await, 1);
        let said = party.read(&about(&house.engine, &version.serial_number).await);
        assert!(said.contains("Cert Status: revoked"), "{said}");
    }

    async fn a_serial_number_is_found_in_every_spelling(house: House) {
        let (certificate, version) = issued(&house, "web").await;
        revoked(&house, &certificate, RevocationReason::Superseded).await;
        lists_made(&house).await;
        let party = RelyingParty::new(&house).await;
        let plain = version.serial_number.as_str();
        let bare = plain.trim_start_matches('0');
        let colons = plain.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect::<Vec<_>>().join(":");
        for spelled in [plain.to_owned(), plain.to_uppercase(), bare.to_owned(), format!("0x{plain}"), format!("0000{plain}"), colons] {
            let said = party.read(&about(&house.engine, &Serial::parse(&spelled).unwrap()).await);
            assert!(said.contains("Cert Status: revoked"), "{spelled}: {said}");
        }
    }

    async fn a_ca_that_has_ended_answers_nothing_and_makes_no_responder(house: House) {
        let (_, version) = issued(&house, "web").await;
        lists_made(&house).await;
        let party = RelyingParty::new(&house).await;
        party.holds("web.pem", &version);
        let ca = authorities::active(house.store.db(), Purpose::Issuing, Some(&issuer())).await.unwrap().unwrap();
        house.clock.advance(house.engine.now().until(ca.not_after));
        let ctx = public(&house.engine);
        for options in ["-nonce", "-no_nonce"] {
            let answer = ask(&ctx, &party.ask("web.pem", options)).await;
            assert!(matches!(answer, Answer::Refused(Refusal::Unauthorized)), "{answer:?}");
        }
        let answer = ocsp::answer_about(&ctx, &issuer(), &version.serial_number).await;
        assert!(matches!(answer, Answer::Refused(Refusal::Unauthorized)), "{answer:?}");
        let made = house.store.db().fetch_optional(sql("SELECT count(*) AS n FROM ocsp_responders")).await.unwrap().unwrap();
        assert_eq!(made.int("n").unwrap(), 0);
    }

    async fn what_was_not_issued_is_unknown_and_fills_no_memory(house: House) {
        let (_, version) = issued(&house, "web").await;
        lists_made(&house).await;
        let party = RelyingParty::new(&house).await;
        let ctx = public(&house.engine);
        for n in 1..200 {
            let serial = Serial::parse(&format!("7{n:x}")).unwrap();
            assert!(matches!(ocsp::answer_about(&ctx, &issuer(), &serial).await, Answer::Single(_)), "not kept");
        }
        let said = party.read(&about(&house.engine, &Serial::parse("0badc0de").unwrap()).await);
        assert!(said.contains("Cert Status: unknown"), "{said}");
        assert!(matches!(ocsp::answer_about(&ctx, &issuer(), &version.serial_number).await, Answer::Shared(_)));
    }

    async fn another_ca_is_none_of_ours(house: House) {
        let draft = json!({"id": "iss-other", "name": "other", "type": "GenericCA", "config": {"ca_common_name": "Other CA"}});
        crud::create::<certctl_domain::issuer::Issuer>(&house.admin(), serde_json::from_value(draft).unwrap()).await.unwrap();
        let (_, here) = issued(&house, "here").await;
        let (_, there) = issued_with(&house, "there", json!({"issuer_id": "iss-other"})).await;
        lists_made(&house).await;
        let party = RelyingParty::new(&house).await;
        party.holds("here.pem", &here);
        let ctx = public(&house.engine);
        // Asked as if our CA had issued it: its serial number is not known.
        party.run(&format!("ocsp -issuer ca.pem -serial 0x{} -no_nonce -reqout req.der", there.serial_number.as_str()));
        let said = party.read(&bytes(&ask(&ctx, &party.bytes("req.der")).await));
        assert!(said.contains("Cert Status: unknown"), "{said}");
        // Asked of the other issuer: the hashes are of another CA.
        let other = "iss-other".parse().unwrap();
        let request = party.ask("here.pem", "-no_nonce");
        assert!(matches!(ocsp::answer(&ctx, &other, &request).await, Answer::Refused(Refusal::Unauthorized)));
        let nobody = "iss-nobody".parse().unwrap();
        assert!(matches!(ocsp::answer(&ctx, &nobody, &request).await, Answer::Refused(Refusal::Unauthorized)));
        // Each has a responder of its own, and both are believed by who trusts their CA.
        let own = ocsp::answer_about(&ctx, &other, &there.serial_number).await;
        let text = party.read(&bytes(&own));
        assert!(text.contains("OCSP Responder for Other CA") && text.contains("Cert Status: good"), "{text}");
    }

    async fn several_certificates_are_answered_at_once(house: House) {
        let (a, a_version) = issued(&house, "a").await;
        let (_, b_version) = issued(&house, "b").await;
        revoked(&house, &a, RevocationReason::Superseded).await;
        lists_made(&house).await;
        let party = RelyingParty::new(&house).await;
        party.holds("a.pem", &a_version);
        party.holds("b.pem", &b_version);
        let request = party.ask("a.pem", "-cert b.pem -serial 0x1234");
        let said = party.read(&bytes(&ask(&public(&house.engine), &request).await));
        for wanted in ["revoked", "good", "unknown"] {
            assert_eq!(said.matches(&format!("Cert Status: {wanted}")).count(), 1, "{said}");
        }
    }

    async fn garbage_is_malformed(house: House) {
        issued(&house, "web").await;
        lists_made(&house).await;
        let ctx = public(&house.engine);
        for garbage in [&b""[..], b"hello", &[0x30, 0x00], &[0x30; 50_000]] {
            assert!(matches!(ask(&ctx, garbage).await, Answer::Refused(Refusal::Malformed)));
        }
    }

    async fn certificates_that_must_be_stapled_can_be_issued(house: House) {
        let draft = json!({"id": "prof-staple", "name": "staple", "must_staple": true});
        crud::create::<certctl_domain::profile::Profile>(&house.admin(), serde_json::from_value(draft).unwrap()).await.unwrap();
        let (_, version) = issued_with(&house, "web", json!({"certificate_profile_id": "prof-staple"})).await;
        assert!(chain(&version).leaf().must_staple());
    }
}
