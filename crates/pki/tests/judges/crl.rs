//! Revocation lists before openssl.

use certctl_domain::x509::{KeyAlgorithm, RevocationReason, Serial, UriName};
use certctl_pki::authority::Publication;
use certctl_pki::crl::{CrlSpec, Entries, Entry, distribution_points, sign};
use certctl_pki::key::PrivateKey;
use certctl_pki::signer::SoftwareSigner;
use time::Duration;

use crate::openssl::Openssl;
use crate::world::{KINDS, World, leaf, now};

fn spec(number: u64) -> CrlSpec {
    CrlSpec { number, this_update: now(), next_update: now().saturating_add(Duration::DAY), distribution_point: None }
}

fn entries<'a>(revoked: impl IntoIterator<Item = (&'a Serial, RevocationReason)>) -> Entries {
    let mut entries = Entries::default();
    for (serial, reason) in revoked {
        entries.push(&Entry { serial: serial.clone(), revoked_at: now(), reason }).unwrap();
    }
    entries
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n", lines.join("\n"))
}

fn verify(openssl: &Openssl, leaf: &str) -> (bool, String) {
    let at = now().unix_seconds() + 60;
    openssl.attempt(&format!("verify -attime {at} -crl_check -CAfile root.pem -untrusted ca.pem -CRLfile crl.pem {leaf}"))
}

#[tokio::test]
async fn openssl_verifies_lists_of_every_kind_of_key_and_refuses_what_they_name() {
    for kind in KINDS {
        let world = World::new(kind).await;
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let (good, bad) = (world.issue(&leaf(&key, &["a.test"])).await.unwrap(), world.issue(&leaf(&key, &["b.test"])).await.unwrap());
        let openssl = Openssl::new();
        openssl.put("root.pem", &world.root_certificate().to_pem());
        openssl.put("ca.pem", &world.ca.certificate().to_pem());
        openssl.put("good.pem", &good.leaf().to_pem());
        openssl.put("bad.pem", &bad.leaf().to_pem());

        let der = sign(&spec(7), entries([]), world.ca.certificate(), &world.signer).await.unwrap();
        openssl.put("crl.pem", &pem(&der));
        let text = openssl.run("crl -in crl.pem -noout -text");
        assert!(text.contains("No Revoked Certificates") && text.contains("Version 2"), "{text}");
        assert!(verify(&openssl, "bad.pem").0);

        let revoked = entries([(bad.leaf().serial(), RevocationReason::KeyCompromise)]);
        let der = sign(&spec(8), revoked, world.ca.certificate(), &world.signer).await.unwrap();
        openssl.put("crl.pem", &pem(&der));
        let (fine, text) = openssl.attempt("crl -in crl.pem -noout -text -CAfile ca.pem -partial_chain");
        // Old releases know no -partial_chain here; the list is verified by `verify` below too.
        assert!(!fine || text.contains("verify OK"), "{kind}: {text}");
        let text = openssl.run("crl -in crl.pem -noout -text");
        for wanted in ["Key Compromise", "X509v3 CRL Number", &bad.leaf().serial().as_str().to_uppercase()] {
            assert!(text.contains(wanted), "{kind}: {wanted} is missing: {text}");
        }
        let (accepted, said) = verify(&openssl, "good.pem");
        assert!(accepted, "{kind}: {said}");
        let (accepted, said) = verify(&openssl, "bad.pem");
        assert!(!accepted && said.contains("certificate revoked"), "{kind}: {said}");
    }
}

#[tokio::test]
async fn every_reason_is_read_back_and_none_is_left_out() {
    let world = World::new(KeyAlgorithm::EcdsaP256).await;
    let serials: Vec<Serial> = (0..RevocationReason::ALL.len()).map(|n| Serial::parse(&format!("10{n:02x}")).unwrap()).collect();
    let all = entries(serials.iter().zip(RevocationReason::ALL));
    assert_eq!(all.count(), 8);
    let openssl = Openssl::new();
    openssl.put("crl.pem", &pem(&sign(&spec(1), all, world.ca.certificate(), &world.signer).await.unwrap()));
    let text = openssl.run("crl -in crl.pem -noout -text");
    for reason in [
        "Key Compromise",
        "CA Compromise",
        "Affiliation Changed",
        "Superseded",
        "Cessation Of Operation",
        "Certificate Hold",
        "Privilege Withdrawn",
    ] {
        assert!(text.contains(reason), "{reason} is missing: {text}");
    }
    assert_eq!(text.matches("X509v3 CRL Reason Code").count(), 7, "none for `unspecified`: {text}");
}

#[tokio::test]
async fn a_list_of_one_distribution_point_counts_for_the_certificates_that_name_it() {
    let world = World::new(KeyAlgorithm::EcdsaP256).await;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let point = UriName::parse("http://pki.test/crl/1").unwrap();
    let mut inside = leaf(&key, &["in.test"]);
    inside.publication = Publication { crl: vec![point.clone()], ..Publication::default() };
    let mut outside = leaf(&key, &["out.test"]);
    outside.publication = Publication { crl: vec![UriName::parse("http://pki.test/crl/2").unwrap()], ..Publication::default() };
    let (inside, outside) = (world.issue(&inside).await.unwrap(), world.issue(&outside).await.unwrap());
    assert_eq!(distribution_points(inside.leaf()), [point.as_str()]);
    assert!(distribution_points(world.ca.certificate()).is_empty());

    let spec = CrlSpec { distribution_point: Some(point), ..spec(3) };
    let openssl = Openssl::new();
    openssl.put("root.pem", &world.root_certificate().to_pem());
    openssl.put("ca.pem", &world.ca.certificate().to_pem());
    openssl.put("in.pem", &inside.leaf().to_pem());
    openssl.put("out.pem", &outside.leaf().to_pem());
    openssl.put("crl.pem", &pem(&sign(&spec, entries([]), world.ca.certificate(), &world.signer).await.unwrap()));
    let text = openssl.run("crl -in crl.pem -noout -text");
    assert!(text.contains("X509v3 Issuing Distribution Point: critical"), "{text}");
    let (accepted, said) = verify(&openssl, "in.pem");
    assert!(accepted, "{said}");
    let (accepted, said) = verify(&openssl, "out.pem");
    assert!(!accepted && said.contains("scope"), "{said}");
}

#[tokio::test]
async fn times_beyond_2049_are_written_as_they_must_be() {
    let world = World::new(KeyAlgorithm::EcdsaP256).await;
    let far = CrlSpec { next_update: "2050-01-01T00:00:00Z".parse().unwrap(), ..spec(1) };
    let der = sign(&far, entries([]), world.ca.certificate(), &world.signer).await.unwrap();
    let contains = |needle: &[u8]| der.windows(needle.len()).any(|window| window == needle);
    assert!(contains(b"\x17\x0d261125120000Z") && contains(b"\x18\x0f20500101000000Z"));
}

#[tokio::test]
async fn another_key_and_a_ca_without_the_right_sign_nothing() {
    let world = World::new(KeyAlgorithm::EcdsaP256).await;
    let other = SoftwareSigner::new(PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
    let error = sign(&spec(1), entries([]), world.ca.certificate(), &other).await.unwrap_err();
    assert!(error.to_string().contains("does not hold the key"), "{error}");
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let chain = world.issue(&leaf(&key, &["a.test"])).await.unwrap();
    let error = sign(&spec(1), entries([]), chain.leaf(), &SoftwareSigner::new(key)).await.unwrap_err();
    assert!(error.to_string().contains("cRLSign"), "{error}");
}

/// 100 000 entries cost their own bytes a few times over, and no tree of objects: the list of 5 MB is held as entries, as body and as
/// the whole, never more than two of them at once.
#[tokio::test]
async fn a_hundred_thousand_entries_are_written_in_their_own_size() {
    let world = World::new(KeyAlgorithm::EcdsaP256).await;
    let before = resident();
    let mut all = Entries::default();
    for n in 0..100_000_u32 {
        let serial = Serial::from_der_bytes(&[&[0x40; 16][..], &n.to_be_bytes()].concat()).unwrap();
        all.push(&Entry { serial, revoked_at: now(), reason: RevocationReason::KeyCompromise }).unwrap();
    }
    let der = sign(&spec(1), all, world.ca.certificate(), &world.signer).await.unwrap();
    let grown = resident().saturating_sub(before);
    assert!((5_000_000..6_000_000).contains(&der.len()), "{}", der.len());
    // The rest is what the allocator keeps while a vector doubles.
    assert!(grown < 40 * 1024, "grew by {grown} KiB");
    let openssl = Openssl::new();
    openssl.put("crl.pem", &pem(&der));
    let text = openssl.run("crl -in crl.pem -noout -nextupdate -crlnumber");
    assert!(text.contains("Nov 26 12:00:00 2026") && text.contains("01"), "{text}");
}

/// KiB of this process at its highest.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
