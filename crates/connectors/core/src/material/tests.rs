use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

struct Chain {
    leaf: String,
    issuing: String,
    key: String,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![format!("{name}.example.test")]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = at("2026-01-01T00:00:00Z").to_offset();
    params.not_after = at("2026-12-31T00:00:00Z").to_offset();
    params
}

fn chain() -> Chain {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = params("ca");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuing = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    Chain { leaf: params("web").signed_by(&key, &issuer).unwrap().pem(), issuing, key: key.serialize_pem() }
}

fn parse(certificates: &str, key: &str) -> Result<Material, ConnectorError> {
    Material::parse(certificates, &Secret::new(key.to_owned()), at("2026-06-01T00:00:00Z"))
}

#[test]
fn what_belongs_together_is_read_and_written_in_one_form() {
    let Chain { leaf, issuing, key } = chain();
    let material = parse(&format!("{leaf}{issuing}"), &key).unwrap();
    assert_eq!(material.chain_fingerprints().len(), 2);
    assert_eq!(material.key_kind(), Some(KeyKind::Ecdsa));
    assert_eq!(material.dns_names(), ["web.example.test"]);
    assert_eq!(dns_names_in(format!("x\n{leaf}").as_bytes()), ["web.example.test"]);
    assert!(dns_names_in(key.as_bytes()).is_empty());
    assert_eq!(material.fullchain_pem(), format!("{}{}", material.leaf_pem(), material.intermediates_pem()));
    assert_eq!(leaf_in(material.fullchain_pem().as_bytes()).unwrap().0, material.fingerprint());
    // CRLF, text around the blocks and a missing last line end change nothing.
    let messy = format!("subject=web\r\n{}\r\n\r\nissuer\r\n{}", leaf.replace('\n', "\r\n"), issuing.trim_end());
    let same = parse(&messy, key.trim_end()).unwrap();
    assert_eq!(same.fullchain_pem(), material.fullchain_pem());
    assert_eq!(same.key_pem().expose(), material.key_pem().expose());
    assert!(material.key_pem().expose().ends_with("-----END PRIVATE KEY-----\n"));
}

#[test]
fn what_does_not_belong_together_is_refused_with_the_reason() {
    let (one, two) = (chain(), chain());
    let full = format!("{}{}", one.leaf, one.issuing);
    let cases = [
        ("empty certificate", String::new(), one.key.clone(), "certificate is empty"),
        ("blank certificate", "\n".into(), one.key.clone(), "certificate is empty"),
        ("empty key", full.clone(), String::new(), "private key is empty"),
        ("swapped", one.key.clone(), full.clone(), "are swapped"),
        ("key in the certificate", format!("{full}{}", one.key), one.key.clone(), "are swapped"),
        ("another key", full.clone(), two.key.clone(), "does not belong"),
        ("chain upside down", format!("{}{}", one.issuing, one.leaf), one.key.clone(), "does not belong"),
        ("foreign issuer", format!("{}{}", one.leaf, two.leaf), one.key.clone(), "out of order"),
        ("not a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(), one.key.clone(), "cannot be read"),
        ("cut off", full.get(..full.len() - 40).unwrap().to_owned(), one.key.clone(), "cannot be read"),
        ("a request", full.replace("CERTIFICATE-", "CERTIFICATE REQUEST-"), one.key.clone(), "not a certificate"),
        ("encrypted", full.clone(), one.key.replace("PRIVATE", "ENCRYPTED PRIVATE"), "encrypted"),
        ("not a key", full.clone(), "hunter2".into(), "cannot be read"),
    ];
    for (name, certificates, key, why) in cases {
        let error = parse(&certificates, &key).unwrap_err();
        assert!(error.to_string().contains(why), "{name}: {error}");
        let shown = format!("{error:?} {}", error.explain());
        let secret = one.key.lines().nth(1).unwrap();
        assert!(!shown.contains(secret) && !shown.contains("hunter2"), "{name}: {shown}");
    }
    let upside_down = parse(&format!("{}{}", one.issuing, one.leaf), &one.key).unwrap_err();
    assert!(upside_down.advice().unwrap().contains("leaf first"));
}

#[test]
fn an_expired_certificate_is_not_deployed() {
    let Chain { leaf, key, .. } = chain();
    let error = Material::parse(&leaf, &Secret::new(key.clone()), at("2027-01-01T00:00:00Z")).unwrap_err();
    assert!(error.to_string().contains("expired") && error.advice().unwrap().contains("clock"), "{error}");
    // One from the near future is deployed: this machine's clock may be behind.
    let early = Material::parse(&leaf, &Secret::new(key), at("2025-12-31T23:59:00Z")).unwrap();
    assert_eq!(early.not_before(), at("2026-01-01T00:00:00Z"));
}

#[test]
fn the_key_is_never_shown() {
    let Chain { leaf, key, .. } = chain();
    let shown = format!("{:?}", parse(&leaf, &key).unwrap());
    assert!(shown.contains("[redacted]") && !shown.contains(key.lines().nth(1).unwrap()));
}
