//! Status responses before openssl.

use certctl_domain::x509::{KeyAlgorithm, RevocationReason};
use certctl_pki::authority::{Validity, random_serial};
use certctl_pki::certificate::Certificate;
use certctl_pki::key::PrivateKey;
use certctl_pki::ocsp::{CertId, CertStatus, IssuerHashes, Refusal, Request, Responder, ResponseSpec, Single, certify};
use certctl_pki::signer::SoftwareSigner;
use time::Duration;

use crate::openssl::Openssl;
use crate::world::{KINDS, World, leaf, now};

async fn responder(world: &World) -> Responder {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let validity = Validity::starting(now(), Duration::days(30), Validity::DEFAULT_BACKDATE).unwrap();
    let serial = random_serial().unwrap();
    let certificate = certify(key.public_key(), &serial, validity, world.ca.certificate(), &world.signer).await.unwrap();
    Responder::new(certificate, Box::new(SoftwareSigner::new(key))).unwrap()
}

fn setup(openssl: &Openssl, world: &World, leaves: &[(&str, &Certificate)]) {
    openssl.put("root.pem", &world.root_certificate().to_pem());
    openssl.put("ca.pem", &world.ca.certificate().to_pem());
    for (name, leaf) in leaves {
        openssl.put(name, &leaf.to_pem());
    }
}

/// Answers what openssl wrote, with one status for all.
async fn answer(openssl: &Openssl, responder: &Responder, status: CertStatus) {
    let request = Request::parse(&openssl.bytes("req.der")).unwrap();
    let (this_update, next_update) = (now(), now().saturating_add(Duration::hours(1)));
    let singles: Vec<_> = request.ids().iter().map(|id| Single { id, status, this_update, next_update }).collect();
    let spec = ResponseSpec { produced_at: now(), singles: &singles, nonce: request.nonce() };
    openssl.put_bytes("resp.der", &responder.sign(&spec).await.unwrap());
}

fn read(openssl: &Openssl, question: &str) -> String {
    let at = now().unix_seconds() + 60;
    // openssl adds the certificates, not another nonce, to the request that it reads back, and takes our instant for its own.
    openssl.run(&format!(
        "ocsp {question} -no_nonce -reqin req.der -respin resp.der -CAfile root.pem -verify_other ca.pem -attime {at} -validity_period 3153600000"
    ))
}

#[tokio::test]
async fn openssl_accepts_answers_of_every_kind_of_ca_for_sha1_and_sha256() {
    for kind in KINDS {
        let world = World::new(kind).await;
        let responder = responder(&world).await;
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let chain = world.issue(&leaf(&key, &["a.test"])).await.unwrap();
        let openssl = Openssl::new();
        setup(&openssl, &world, &[("leaf.pem", chain.leaf())]);
        for hash in ["-sha1", "-sha256", "-sha384"] {
            for nonce in ["-nonce", "-no_nonce"] {
                let question = format!("-issuer ca.pem {hash} -cert leaf.pem");
                openssl.run(&format!("ocsp {question} {nonce} -reqout req.der"));
                let request = Request::parse(&openssl.bytes("req.der")).unwrap();
                assert!(request.ids()[0].is_of(&IssuerHashes::of(world.ca.certificate())), "{hash}");
                assert!(!request.ids()[0].is_of(&IssuerHashes::of(world.root_certificate())), "{hash}");
                assert_eq!(request.ids()[0].serial(), Some(chain.leaf().serial()));
                assert_eq!(request.nonce().is_some(), nonce == "-nonce");
                for (status, wanted) in [
                    (CertStatus::Good, "leaf.pem: good"),
                    (CertStatus::Unknown, "leaf.pem: unknown"),
                    (CertStatus::Revoked { at: now(), reason: RevocationReason::Unspecified }, "leaf.pem: revoked"),
                    (CertStatus::Revoked { at: now(), reason: RevocationReason::KeyCompromise }, "Reason: keyCompromise"),
                ] {
                    answer(&openssl, &responder, status).await;
                    let said = read(&openssl, &question);
                    assert!(said.contains("Response verify OK") && said.contains(wanted), "{kind} {hash}: {said}");
                    assert!(!said.contains("WARNING"), "{kind} {hash}: {said}");
                }
            }
        }
    }
}

#[tokio::test]
async fn several_certificates_are_answered_in_one_response() {
    let world = World::new(KeyAlgorithm::EcdsaP256).await;
    let responder = responder(&world).await;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let (a, b) = (world.issue(&leaf(&key, &["a.test"])).await.unwrap(), world.issue(&leaf(&key, &["b.test"])).await.unwrap());
    let openssl = Openssl::new();
    setup(&openssl, &world, &[("a.pem", a.leaf()), ("b.pem", b.leaf())]);
    let question = "-issuer ca.pem -cert a.pem -cert b.pem";
    openssl.run(&format!("ocsp {question} -reqout req.der"));
    answer(&openssl, &responder, CertStatus::Good).await;
    let said = read(&openssl, question);
    assert!(said.contains("a.pem: good") && said.contains("b.pem: good"), "{said}");
}

#[tokio::test]
async fn the_responder_is_what_the_rfc_asks_for() {
    let world = World::new(KeyAlgorithm::Rsa2048).await;
    let responder = responder(&world).await;
    let openssl = Openssl::new();
    setup(&openssl, &world, &[("responder.pem", responder.certificate())]);
    let text = openssl.run("x509 -in responder.pem -noout -text");
    for wanted in ["OCSP Signing", "OCSP No Check", "CA:FALSE", "Digital Signature", "OCSP Responder for Test Issuing CA"] {
        assert!(text.contains(wanted), "{wanted} is missing: {text}");
    }
    let at = now().unix_seconds();
    openssl.run(&format!("verify -attime {at} -purpose ocsphelper -CAfile root.pem -untrusted ca.pem responder.pem"));
    assert!(responder.not_after() <= now().saturating_add(Duration::days(30)));
    let other = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    assert!(Responder::new(responder.certificate().clone(), Box::new(SoftwareSigner::new(other))).is_err());
}

#[tokio::test]
async fn a_question_of_our_own_is_the_one_that_openssl_asks() {
    let world = World::new(KeyAlgorithm::EcdsaP256).await;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let chain = world.issue(&leaf(&key, &["a.test"])).await.unwrap();
    let openssl = Openssl::new();
    setup(&openssl, &world, &[("leaf.pem", chain.leaf())]);
    openssl.run("ocsp -issuer ca.pem -sha1 -cert leaf.pem -no_nonce -reqout req.der");
    let asked = Request::parse(&openssl.bytes("req.der")).unwrap();
    let own = CertId::new(&IssuerHashes::of(world.ca.certificate()), chain.leaf().serial()).unwrap();
    assert_eq!(asked.ids(), [own]);
}

#[test]
fn refusals_are_read_by_openssl() {
    let openssl = Openssl::new();
    for (refusal, wanted) in [
        (Refusal::Malformed, "malformedrequest"),
        (Refusal::InternalError, "internalerror"),
        (Refusal::TryLater, "trylater"),
        (Refusal::Unauthorized, "unauthorized"),
    ] {
        openssl.put_bytes("resp.der", refusal.to_der());
        let (_, said) = openssl.attempt("ocsp -respin resp.der -noverify");
        assert!(said.to_lowercase().contains(wanted), "{said}");
    }
}
