//! Requests forged byte by byte: each thing that may be wrong, alone.

use certctl_domain::x509::KeyAlgorithm;
use const_oid::db::{rfc5280, rfc5912};
use der::Tag;
use der::asn1::{Any, ObjectIdentifier, OctetString, SetOfVec};
use proptest::prelude::*;
use x509_cert::attr::Attribute;
use x509_cert::ext::Extension;

use super::*;
use crate::dn::Subject;
use crate::names::raw_name;
use crate::public_key::{BadSignature, UnsupportedKey};
use crate::signed::Signed;

/// A request that is right in everything that a test does not change.
struct Forge {
    key: PrivateKey,
    version: u8,
    subject: Any,
    names: Vec<Any>,
    extensions: Vec<Extension>,
}

impl Forge {
    fn new() -> Self {
        let subject = Subject::default().to_any().unwrap();
        Self { key: PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap(), version: 0, subject, names: vec![], extensions: vec![] }
    }

    fn subject_of(mut self, names: &[(Tag, &[u8])]) -> Self {
        use x509_cert::attr::AttributeTypeAndValue;
        use x509_cert::name::{RdnSequence, RelativeDistinguishedName};
        let mut subject = RdnSequence::default();
        for (tag, bytes) in names {
            let value = Any::new(*tag, *bytes).unwrap();
            let mut rdn = RelativeDistinguishedName::default();
            rdn.insert(AttributeTypeAndValue { oid: const_oid::db::rfc4519::COMMON_NAME, value }).unwrap();
            subject.push(rdn);
        }
        self.subject = Any::encode_from(&subject).unwrap();
        self
    }

    fn common_name(self, name: &str) -> Self {
        self.subject_of(&[(Tag::Utf8String, name.as_bytes())])
    }

    fn name(mut self, number: u32, bytes: &[u8]) -> Self {
        self.names.push(raw_name(number, bytes));
        self
    }

    fn dns(self, name: &str) -> Self {
        self.name(2, name.as_bytes())
    }

    fn extension(mut self, extn_id: ObjectIdentifier, value: &[u8]) -> Self {
        self.extensions.push(Extension { extn_id, critical: true, extn_value: OctetString::new(value).unwrap() });
        self
    }

    fn body(&self) -> Vec<u8> {
        #[derive(Sequence)]
        struct Body {
            version: u8,
            subject: Any,
            public_key: Any,
            #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
            attributes: Attributes,
        }
        let mut extensions = self.extensions.clone();
        if !self.names.is_empty() {
            let value = OctetString::new(self.names.to_der().unwrap()).unwrap();
            extensions.push(Extension { extn_id: rfc5280::ID_CE_SUBJECT_ALT_NAME, critical: false, extn_value: value });
        }
        let mut attributes = Attributes::default();
        if !extensions.is_empty() {
            let values = SetOfVec::try_from(vec![Any::encode_from(&extensions).unwrap()]).unwrap();
            attributes.insert(Attribute { oid: rfc5912::ID_EXTENSION_REQ, values }).unwrap();
        }
        let public_key = Any::from_der(self.key.spki()).unwrap();
        Body { version: self.version, subject: self.subject.clone(), public_key, attributes }.to_der().unwrap()
    }

    fn signed_by(&self, key: &PrivateKey) -> Vec<u8> {
        let body = self.body();
        Signed::assemble(&body, key.signature_algorithm(), &key.sign(&body).unwrap()).unwrap()
    }

    fn parse(&self) -> Result<Csr, CsrError> {
        Csr::parse_der(&self.signed_by(&self.key))
    }

    fn code(&self) -> &'static str {
        self.parse().unwrap_err().code()
    }
}

#[test]
fn the_forge_makes_good_requests() {
    let csr = Forge::new().common_name("Web.test").dns("web.test").dns("*.web.test").name(7, &[10, 0, 0, 1]).parse().unwrap();
    assert_eq!(csr.common_name(), Some("Web.test"));
    assert_eq!(*csr.names(), SanSet::parse(["web.test", "*.web.test", "10.0.0.1"]).unwrap());
    assert_eq!(csr.key_algorithm(), KeyAlgorithm::EcdsaP256);
}

#[test]
fn armor() {
    let good = Csr::build(&Forge::new().key, Some("web.test"), &SanSet::default()).unwrap();
    let code = |text: &str| Csr::parse_pem(text).unwrap_err().code();
    assert_eq!(code("hello"), "csr_not_pem");
    assert_eq!(code(""), "csr_not_pem");
    assert_eq!(code("-----BEGIN CERTIFICATE REQUEST-----\nAAAA"), "csr_not_pem");
    assert_eq!(code(&good.replace("MI", "!!")), "csr_not_pem");
    assert_eq!(code(&format!("{good}{good}")), "csr_several_pem_blocks");
    assert_eq!(code(&pem::encode("CERTIFICATE", b"x")), "csr_wrong_pem_block");
    assert_eq!(code(&pem::encode("PRIVATE KEY", b"x")), "csr_wrong_pem_block");
    assert_eq!(code(&pem::encode(LABEL, b"junk")), "csr_malformed");
    assert_eq!(code(&"A".repeat(1024 * 1024)), "csr_too_large");

    let old_label = good.replace(LABEL, "NEW CERTIFICATE REQUEST").replace('\n', "\r\n");
    let with_words = format!("Certificate Request:\n    Data:\n{old_label}");
    assert_eq!(Csr::parse_pem(&with_words).unwrap().pem(), good);
}

#[test]
fn structure() {
    let forge = Forge::new().dns("web.test");
    let good = forge.signed_by(&forge.key);
    let code = |der: &[u8]| Csr::parse_der(der).unwrap_err().code();
    assert_eq!(code(&[good.as_slice(), &[0]].concat()), "csr_malformed");
    assert_eq!(code(&good[..good.len() - 1]), "csr_malformed");
    assert_eq!(code(&vec![0; Csr::MAX_BYTES + 1]), "csr_too_large");
    assert_eq!(Forge { version: 1, ..forge }.code(), "csr_malformed");
}

#[test]
fn proof_of_possession() {
    let forge = Forge::new().dns("web.test");
    let of_other_key = forge.signed_by(&PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
    let error = Csr::parse_der(&of_other_key).unwrap_err();
    assert!(matches!(error, CsrError::Signature(BadSignature::DoesNotVerify)), "{error:?}");

    let of_other_kind = forge.signed_by(&PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap());
    let error = Csr::parse_der(&of_other_kind).unwrap_err();
    assert!(matches!(error, CsrError::Signature(BadSignature::AlgorithmOfOtherKey { .. })), "{error:?}");

    // Every byte of the body is under the signature.
    let good = forge.signed_by(&forge.key);
    let at = good.windows(8).position(|window| window == b"web.test").unwrap();
    let mut changed = good;
    changed[at] = b'x';
    assert_eq!(Csr::parse_der(&changed).unwrap_err().code(), "csr_bad_signature");
}

#[test]
fn no_bit_can_be_changed() {
    let forge = Forge::new().common_name("web.test").dns("web.test");
    let good = forge.signed_by(&forge.key);
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut changed = good.clone();
            changed[at] ^= 1 << bit;
            assert!(Csr::parse_der(&changed).is_err(), "byte {at}, bit {bit} of {}", hex::encode(&good));
        }
    }
}

#[test]
fn common_names() {
    let with = |name: &str| Forge::new().dns("web.test").common_name(name).code();
    assert_eq!(with(&"a".repeat(65)), "csr_bad_common_name");
    assert_eq!(with(""), "csr_bad_common_name");
    assert_eq!(with("we\u{200b}b.test"), "csr_bad_common_name");
    assert_eq!(with("moc.\u{202e}web"), "csr_bad_common_name");
    assert_eq!(with("web\0.test"), "csr_bad_common_name");
    assert_eq!(with("p\u{430}ypal.test"), "csr_bad_common_name");
    let two = [(Tag::Utf8String, b"a.test".as_slice()), (Tag::Utf8String, b"b.test")];
    assert_eq!(Forge::new().dns("a.test").subject_of(&two).code(), "csr_bad_common_name");
    assert_eq!(Forge::new().dns("a.test").subject_of(&[(Tag::Utf8String, &[0xff])]).code(), "csr_bad_common_name");

    let csr = Forge::new().dns("web.test").common_name(&format!("{}.test", "a".repeat(59))).parse().unwrap();
    assert_eq!(csr.names().len(), 2);
    // A common name that is no name of a host stands beside the SANs and is none of them.
    let csr = Forge::new().dns("web.test").common_name("Device 1").parse().unwrap();
    assert_eq!((csr.common_name(), csr.names().len()), (Some("Device 1"), 1));
}

#[test]
fn names() {
    for (number, bytes, code) in [
        (2, b"10.0.0.1".as_slice(), "csr_ip_in_dns_name"),
        (2, b"::1", "csr_ip_in_dns_name"),
        (2, b"w*.test.example", "csr_bad_wildcard"),
        (2, b"a.*.example", "csr_bad_wildcard"),
        (2, b"*.*.example", "csr_bad_wildcard"),
        (2, b"*", "csr_bad_wildcard"),
        (2, b"*.test", "csr_bad_wildcard"),
        (2, "b\u{fc}cher.test".as_bytes(), "csr_bad_name"),
        (2, b"web.test.", "csr_bad_name"),
        (2, b"", "csr_bad_name"),
        (2, b"a b.test", "csr_bad_name"),
        (2, b"under_score.test", "csr_bad_name"),
        (2, b"-web.test", "csr_bad_name"),
        (2, b"web\0.test", "csr_bad_name"),
        (2, b"xn--pypal-4ve.test", "csr_bad_name"),
        (2, b"xn--\xe2\x80\x8b.test", "csr_bad_name"),
        (1, b"nobody", "csr_bad_name"),
        (1, "\u{fc}@web.test".as_bytes(), "csr_bad_name"),
        (6, b"no scheme", "csr_bad_name"),
        (6, "https://\u{fc}.test".as_bytes(), "csr_bad_name"),
        (7, &[10, 0, 0], "csr_bad_ip_address"),
        (7, &[], "csr_bad_ip_address"),
        (0, b"", "csr_name_kind_not_supported"),
        (4, b"", "csr_name_kind_not_supported"),
        (8, &[42, 3], "csr_name_kind_not_supported"),
        (9, b"x", "csr_malformed"),
    ] {
        assert_eq!(Forge::new().dns("web.test").name(number, bytes).code(), code, "[{number}] {bytes:?}");
    }
}

#[test]
fn how_many_names() {
    let with = |count: usize| (0..count).fold(Forge::new(), |forge, index| forge.dns(&format!("h{index}.test")));
    assert_eq!(with(0).code(), "csr_no_names");
    assert_eq!(Forge::new().common_name("Device 1").code(), "csr_no_names");
    assert_eq!(with(100).parse().unwrap().names().len(), 100);
    assert_eq!(with(101).code(), "csr_too_many_names");
    assert_eq!(with(500).code(), "csr_too_many_names");
    // The common name counts too.
    assert_eq!(with(100).common_name("one.more.test").code(), "csr_too_many_names");
}

#[test]
fn extensions() {
    let forge = || Forge::new().dns("web.test");
    let unknown = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.99999.1");
    assert_eq!(forge().extension(unknown, &[5, 0]).code(), "csr_critical_extension");
    assert_eq!(forge().extension(rfc5280::ID_CE_NAME_CONSTRAINTS, &[0x30, 0]).code(), "csr_critical_extension");
    assert_eq!(forge().extension(rfc5280::ID_CE_BASIC_CONSTRAINTS, &[0x30, 3, 1, 1, 0xff]).code(), "csr_asks_for_ca");
    assert_eq!(forge().extension(rfc5280::ID_CE_BASIC_CONSTRAINTS, &[0x30, 0]).parse().unwrap().names().len(), 1);
    assert_eq!(forge().extension(rfc5280::ID_CE_SUBJECT_ALT_NAME, &[0x30, 0]).code(), "csr_duplicate_extension");
    assert_eq!(forge().extension(rfc5280::ID_CE_EXT_KEY_USAGE, b"junk").code(), "csr_malformed");

    let mut plain = forge().extension(unknown, &[5, 0]);
    plain.extensions[0].critical = false;
    assert!(plain.parse().is_ok());

    let usage = [0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2];
    let csr =
        forge().extension(rfc5280::ID_CE_EXT_KEY_USAGE, &usage).extension(crate::oids::TLS_FEATURE, &[0x30, 3, 2, 1, 5]).parse().unwrap();
    assert_eq!((csr.usages(), csr.wants_must_staple()), ([ExtendedKeyUsage::ClientAuth].as_slice(), true));
}

#[test]
fn building_asks_for_something_sound() {
    let key = Forge::new().key;
    let code = |name: Option<&str>| Csr::build(&key, name, &SanSet::default()).unwrap_err().code();
    assert_eq!(code(None), "csr_no_names");
    assert_eq!(code(Some(&"a".repeat(65))), "csr_bad_common_name");
    assert_eq!(code(Some("a\u{202e}b")), "csr_bad_common_name");
}

#[test]
fn every_refusal_has_a_hint_and_says_why() {
    for error in [
        CsrError::NotPem,
        CsrError::TooLarge { size: 2, limit: 1 },
        CsrError::Key(UnsupportedKey::RsaTooSmall(1024)),
        CsrError::Key(UnsupportedKey::Curve("P-521".to_owned())),
        CsrError::NoNames,
        CsrError::AsksForCa,
    ] {
        assert!(error.code().starts_with("csr_") && error.hint().len() > 20 && error.to_string().len() > 20, "{error:?}");
    }
}

fn a_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9]{0,10}(\\.[a-z][a-z0-9]{0,10}){0,3}",
        "\\*(\\.[a-z][a-z0-9]{0,10}){2,3}",
        any::<[u8; 4]>().prop_map(|octets| std::net::Ipv4Addr::from(octets).to_string()),
        any::<[u8; 16]>().prop_map(|octets| std::net::Ipv6Addr::from(octets).to_string()),
        "[a-z]{1,8}@[a-z]{1,8}\\.test",
        "spiffe://[a-z]{1,8}/[a-z/]{0,20}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_built_reads_back(names in proptest::collection::vec(a_name(), 1..20), common_name in proptest::option::of("[a-z]{1,20}\\.test")) {
        let sans = SanSet::parse(&names).unwrap();
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
        let csr = Csr::parse_pem(&Csr::build(&key, common_name.as_deref(), &sans).unwrap()).unwrap();
        prop_assert_eq!(csr.sans(), &sans);
        prop_assert_eq!(csr.common_name(), common_name.as_deref());
        prop_assert!(csr.matches_key(&key));
        prop_assert_eq!(Csr::parse_der(csr.der()).unwrap(), csr);
    }

    #[test]
    fn never_panics(der in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Csr::parse_der(&der).is_err());
    }
}
