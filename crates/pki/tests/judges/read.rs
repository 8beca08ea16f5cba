//! Certificates as they are found: old, weak and odd ones are read and described, never refused for their weakness.

use certctl_domain::x509::San;
use certctl_pki::certificate::Certificate;
use certctl_pki::chain::Chain;
use certctl_pki::public_key::{KeyKind, UnsupportedKey};

use crate::openssl::Openssl;

fn made(openssl: &Openssl, options: &str) -> Certificate {
    openssl.run(&format!("req -x509 -nodes -keyout key.pem -out cert.pem -text -days 30 {options}"));
    Certificate::parse_pem(&openssl.get("cert.pem")).unwrap_or_else(|error| panic!("{options}: {error}"))
}

#[test]
fn weak_and_unknown_keys_are_described() {
    let openssl = Openssl::new();
    let weak = made(&openssl, "-newkey rsa:1024 -sha1 -subj /CN=old.test");
    assert_eq!((weak.public_key().family(), weak.public_key().size_bits()), ("RSA", Some(1024)));
    assert_eq!((weak.key_algorithm(), weak.signature_algorithm()), (None, None));
    assert_eq!(weak.public_key().supported(), Err(UnsupportedKey::RsaTooSmall(1024)));
    assert!(weak.verify_signed_by(&weak).is_err());

    let large = made(&openssl, "-newkey ec -pkeyopt ec_paramgen_curve:P-521 -sha512 -subj /CN=large.test");
    assert_eq!((large.public_key().family(), large.public_key().size_bits()), ("ECDSA", Some(521)));
    large.verify_signed_by(&large).unwrap();

    let koblitz = made(&openssl, "-newkey ec -pkeyopt ec_paramgen_curve:secp256k1 -subj /CN=k1.test");
    assert!(matches!(koblitz.public_key().kind(), KeyKind::OtherCurve(name) if name.contains("1.3.132.0.10")));
    let ed448 = made(&openssl, "-newkey ed448 -subj /CN=448.test");
    assert!(matches!(ed448.public_key().kind(), KeyKind::Other(_)));
    assert!(ed448.verify_signed_by(&ed448).is_err());
}

#[test]
fn names_of_every_kind_are_shown() {
    let openssl = Openssl::new();
    let names = "DNS:ok.test,DNS:under_score.test,IP:10.0.0.1,email:a@b.test,URI:urn:x:y,RID:1.2.3,otherName:1.2.3;UTF8:x";
    let found = made(&openssl, &format!("-newkey ed25519 -subj /C=DE/O=A,B/CN=one/CN=two -addext subjectAltName={names}"));
    assert_eq!(found.sans().iter().map(San::to_string).collect::<Vec<_>>(), ["ok.test", "10.0.0.1", "a@b.test", "urn:x:y"]);
    assert_eq!(found.other_names(), ["dns:under_score.test", "registeredID", "otherName"]);
    assert_eq!(found.subject(), "CN=two,CN=one,O=A\\,B,C=DE");
    assert_eq!((found.common_name(), found.issuer()), (Some("two"), found.subject()));
    let key_id = openssl.run("x509 -in cert.pem -noout -ext subjectKeyIdentifier").lines().last().unwrap().trim().replace(':', "");
    assert_eq!(hex::encode_upper(found.subject_key_id().unwrap()), key_id);
    assert_eq!(found.authority_key_id(), found.subject_key_id());
}

#[test]
fn version_1_certificates_are_read() {
    let openssl = Openssl::new();
    openssl.run("req -new -nodes -newkey rsa:2048 -subj /CN=v1.test -keyout key.pem -out csr.pem");
    openssl.run("x509 -req -in csr.pem -signkey key.pem -set_serial 5 -days 1 -out cert.pem");
    let found = Certificate::parse_pem(&openssl.get("cert.pem")).unwrap();
    assert_eq!((found.serial().as_str(), found.is_ca(), found.sans().len()), ("05", false, 0));
    assert!(found.key_usage().is_none() && found.authority_key_id().is_none());
}

#[test]
fn openssls_fullchain_is_read() {
    let openssl = Openssl::new();
    let first = made(&openssl, "-newkey ed25519 -subj /CN=a.test");
    let text = openssl.get("cert.pem");
    let second = made(&openssl, "-newkey ed25519 -subj /CN=b.test");
    let chain = Chain::parse_pem(&format!("{text}{}{}", openssl.get("key.pem"), openssl.get("cert.pem"))).unwrap();
    assert_eq!(chain.iter().collect::<Vec<_>>(), [&first, &second]);
}
