//! Structural rules for certificates that we sign ourselves: run over a lint certificate before the CA key is touched.

use certctl_domain::x509::{ExtendedKeyUsage, San};
use const_oid::db::rfc5280;
use der::Decode as _;
use der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::AuthorityInfoAccessSyntax;
use x509_cert::time::Time;

use super::{Finding, Findings, Rule};
use crate::algorithm::{SignatureAlgorithm, name_of};
use crate::certificate::Certificate;
use crate::oids;
use crate::public_key::KeyKind;
use crate::signed::Signed;
use crate::tbs::{TbsCertificate, V3};

/// What the certificate is meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// For a server, client, person or program.
    Leaf,
    /// For signing other certificates.
    Ca,
}

/// Checks a certificate of ours against the rules for its role.
///
/// # Errors
/// Every rule that it breaks.
pub fn check_structure(der: &[u8], role: Role) -> Result<(), Vec<Finding>> {
    let mut findings = Findings::default();
    match read(der) {
        Err(why) => findings.add(Rule::Encoding, why),
        Ok(parts) => {
            findings.encoding(&parts);
            findings.extensions(&parts.certificate);
            match role {
                Role::Leaf => findings.leaf(&parts),
                Role::Ca => findings.ca(&parts.certificate),
            }
        }
    }
    findings.into_result()
}

struct Parts {
    tbs: TbsCertificate,
    outer: Result<SignatureAlgorithm, String>,
    certificate: Certificate,
}

fn read(der: &[u8]) -> Result<Parts, String> {
    let signed = Signed::from_der(der).map_err(|error| error.to_string())?;
    let body = signed.body().map_err(|error| error.to_string())?;
    Ok(Parts {
        tbs: TbsCertificate::from_der(&body).map_err(|error| error.to_string())?,
        outer: signed.algorithm().map_err(|error| error.to_string()),
        certificate: Certificate::parse_der(der).map_err(|error| error.to_string())?,
    })
}

impl Findings {
    fn encoding(&mut self, parts: &Parts) {
        let Parts { tbs, outer, certificate } = parts;
        if tbs.version != V3 {
            self.add(Rule::Version, format!("version {} instead of 3", u16::from(tbs.version) + 1));
        }
        let serial = tbs.serial.value();
        if serial.len() > 20 || serial.first().is_none_or(|first| *first >= 0x80) || serial.iter().all(|b| *b == 0) {
            self.add(Rule::SerialNumber, format!("{} is not a positive number of at most 20 octets", hex::encode(serial)));
        }
        match (outer, SignatureAlgorithm::from_any(tbs.signature.to_ref())) {
            (Ok(outer), Ok(inner)) if *outer == inner => {}
            (Ok(outer), Ok(inner)) => self.add(Rule::SignatureAlgorithm, format!("{inner} inside, {outer} outside")),
            (Err(why), _) => self.add(Rule::SignatureAlgorithm, why),
            (_, Err(why)) => self.add(Rule::SignatureAlgorithm, why.to_string()),
        }
        for time in [tbs.validity.not_before, tbs.validity.not_after] {
            if matches!(time, Time::GeneralTime(_)) && time.to_date_time().year() < 2050 {
                self.add(Rule::Validity, format!("{time} is written as GeneralizedTime before 2050"));
            }
        }
        if certificate.not_before() >= certificate.not_after() {
            self.add(Rule::Validity, "it ends before it begins");
        }
        if let Err(why) = certificate.public_key().supported() {
            self.add(Rule::Key, why.to_string());
        }
    }

    fn extensions(&mut self, certificate: &Certificate) {
        let mut seen = Vec::new();
        for extension in certificate.extensions() {
            if seen.contains(&extension.oid) {
                self.add(Rule::DuplicateExtension, name_of(extension.oid));
            }
            seen.push(extension.oid);
        }
        for extension in certificate.unknown_critical_extensions(&KNOWN_CRITICAL) {
            self.add(Rule::UnknownCriticalExtension, extension);
        }
        match certificate.subject_key_id() {
            Some(id) if id == certificate.public_key().key_id() => {}
            Some(id) => self.add(Rule::SubjectKeyId, format!("{} is not the identifier of the key", hex::encode(id))),
            None => self.add(Rule::SubjectKeyId, "it is absent"),
        }
        if certificate.authority_key_id().is_none_or(|id| id.is_empty()) {
            self.add(Rule::AuthorityKeyId, "it is absent");
        }
        if !is_critical(certificate, rfc5280::ID_CE_KEY_USAGE) {
            self.add(Rule::KeyUsage, "it is absent or not critical");
        }
        if !is_critical(certificate, rfc5280::ID_CE_BASIC_CONSTRAINTS) {
            self.add(Rule::BasicConstraints, "they are absent or not critical");
        }
    }

    fn leaf(&mut self, parts: &Parts) {
        let Parts { tbs, certificate, .. } = parts;
        if certificate.is_ca() || certificate.path_len().is_some() {
            self.add(Rule::LeafIsCa, "basicConstraints say that it is a CA");
        }
        self.leaf_names(tbs, certificate);
        self.leaf_key_usage(certificate);
        self.leaf_extended_key_usage(certificate);
        if certificate.must_staple() && !names_ocsp_responder(certificate) {
            self.add(Rule::MustStaple, "it asks for stapled OCSP responses and names no OCSP responder");
        }
    }

    fn leaf_names(&mut self, tbs: &TbsCertificate, certificate: &Certificate) {
        for name in certificate.other_names() {
            self.add(Rule::SubjectAltName, format!("{name} is not a valid name"));
        }
        if certificate.sans().is_empty() {
            self.add(Rule::SubjectAltName, "there is no name");
        }
        // RFC 5280 section 4.1.2.6: an empty subject makes the names critical, any other does not.
        let empty_subject = tbs.subject.value().is_empty();
        if is_critical(certificate, rfc5280::ID_CE_SUBJECT_ALT_NAME) != empty_subject {
            self.add(Rule::SubjectAltName, "they must be critical exactly when the subject is empty");
        }
        if let Some(name) = certificate.common_name()
            && !certificate.sans().iter().any(|san| san.to_string() == name)
        {
            self.add(Rule::CommonName, format!("{name} is not among the names"));
        }
    }

    fn leaf_key_usage(&mut self, certificate: &Certificate) {
        let Some(usage) = certificate.key_usage() else { return };
        if !usage.digital_signature() {
            self.add(Rule::KeyUsage, "digitalSignature is missing");
        }
        if usage.key_cert_sign() || usage.crl_sign() {
            self.add(Rule::KeyUsage, "it may sign certificates or CRLs");
        }
        let is_rsa = matches!(certificate.public_key().kind(), KeyKind::Rsa { .. });
        if usage.key_encipherment() && !is_rsa {
            self.add(Rule::KeyUsage, "keyEncipherment on a key that cannot encipher");
        }
    }

    fn leaf_extended_key_usage(&mut self, certificate: &Certificate) {
        let usages = certificate.extended_key_usage_oids().unwrap_or_default();
        if usages.is_empty() {
            self.add(Rule::ExtendedKeyUsage, "it is absent or empty");
        }
        if let Some(unknown) = usages.iter().find(|oid| oids::usage_of(**oid).is_none()) {
            self.add(Rule::ExtendedKeyUsage, format!("{} is not a usage that we issue", name_of(*unknown)));
        }
        // RFC 3161 section 2.3.
        let time_stamping = usages.contains(&oids::usage_oid(ExtendedKeyUsage::TimeStamping));
        if time_stamping && (usages.len() > 1 || !is_critical(certificate, rfc5280::ID_CE_EXT_KEY_USAGE)) {
            self.add(Rule::ExtendedKeyUsage, "timeStamping must stand alone and be critical");
        }
    }

    fn ca(&mut self, certificate: &Certificate) {
        if !certificate.is_ca() {
            self.add(Rule::BasicConstraints, "they do not say that it is a CA");
        }
        if !certificate.key_usage().is_some_and(|usage| usage.key_cert_sign() && usage.crl_sign()) {
            self.add(Rule::KeyUsage, "keyCertSign or cRLSign is missing");
        }
        if certificate.common_name().is_none_or(str::is_empty) {
            self.add(Rule::Subject, "a CA needs a common name");
        }
        if certificate.is_self_issued() && certificate.authority_key_id() != certificate.subject_key_id() {
            self.add(Rule::AuthorityKeyId, "it differs from the subject key identifier of a self-signed certificate");
        }
        if !certificate.sans().iter().all(|name| matches!(name, San::Uri(_) | San::Email(_))) {
            self.add(Rule::SubjectAltName, "a CA is not a host");
        }
    }
}

fn is_critical(certificate: &Certificate, oid: ObjectIdentifier) -> bool {
    certificate.extension(oid).is_some_and(|extension| extension.critical)
}

fn names_ocsp_responder(certificate: &Certificate) -> bool {
    let access: Option<AuthorityInfoAccessSyntax> = certificate.decode_extension(rfc5280::ID_PE_AUTHORITY_INFO_ACCESS);
    access.is_some_and(|access| access.0.iter().any(|entry| entry.access_method == rfc5280::ID_AD_OCSP))
}

/// What every client that follows RFC 5280 understands.
const KNOWN_CRITICAL: [ObjectIdentifier; 5] = [
    rfc5280::ID_CE_KEY_USAGE,
    rfc5280::ID_CE_EXT_KEY_USAGE,
    rfc5280::ID_CE_BASIC_CONSTRAINTS,
    rfc5280::ID_CE_SUBJECT_ALT_NAME,
    rfc5280::ID_CE_NAME_CONSTRAINTS,
];

#[cfg(test)]
mod tests {
    use certctl_domain::x509::{KeyAlgorithm, SanSet, Serial};
    use der::asn1::{Any, OctetString};
    use der::{Encode as _, Tag};
    use x509_cert::ext::Extension;
    use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier};

    use super::*;
    use crate::dn::Subject;
    use crate::key::PrivateKey;
    use crate::lint::rules_of;
    use crate::tbs::{self, Extensions, Times};
    use crate::{names, public_key::PublicKey};

    /// A certificate that breaks no rule, until a test changes its body.
    struct Forge {
        key: PrivateKey,
        outer: SignatureAlgorithm,
        body: TbsCertificate,
    }

    impl Forge {
        fn new(role: Role) -> Self {
            let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
            let name = |text: &str| Subject::with_common_name(text).unwrap().to_any().unwrap();
            let (subject, extensions) = match role {
                Role::Leaf => (name("web.test"), leaf_extensions(key.public_key())),
                Role::Ca => (name("Some CA"), ca_extensions(key.public_key())),
            };
            let at = |text: &str| tbs::time(text.parse().unwrap()).unwrap();
            let body = TbsCertificate {
                version: V3,
                serial: tbs::serial(&Serial::parse("0102").unwrap()).unwrap(),
                signature: key.signature_algorithm().to_any().unwrap(),
                issuer: name("Root"),
                validity: Times { not_before: at("2026-01-01T00:00:00Z"), not_after: at("2027-01-01T00:00:00Z") },
                subject,
                public_key: Any::from_der(key.spki()).unwrap(),
                extensions,
            };
            Self { outer: key.signature_algorithm(), key, body }
        }

        fn rules(&self, role: Role) -> Vec<Rule> {
            let body = self.body.to_der().unwrap();
            let der = Signed::assemble(&body, self.outer, &self.key.sign(&body).unwrap()).unwrap();
            rules_of(check_structure(&der, role))
        }

        fn set(&mut self, oid: ObjectIdentifier, value: &[u8]) {
            self.find(oid).extn_value = OctetString::new(value).unwrap();
        }

        fn find(&mut self, oid: ObjectIdentifier) -> &mut Extension {
            self.body.extensions.iter_mut().find(|extension| extension.extn_id == oid).unwrap()
        }

        fn remove(&mut self, oid: ObjectIdentifier) {
            self.body.extensions.retain(|extension| extension.extn_id != oid);
        }
    }

    fn common(key: &PublicKey) -> Extensions {
        let mut extensions = Extensions::default();
        extensions.plain(&SubjectKeyIdentifier(OctetString::new(key.key_id()).unwrap())).unwrap();
        let authority = AuthorityKeyIdentifier { key_identifier: Some(OctetString::new([7; 20]).unwrap()), ..Default::default() };
        extensions.plain(&authority).unwrap();
        extensions
    }

    fn leaf_extensions(key: &PublicKey) -> Vec<Extension> {
        let mut extensions = common(key);
        extensions.critical(&KeyUsage(KeyUsages::DigitalSignature.into())).unwrap();
        extensions.critical(&BasicConstraints { ca: false, path_len_constraint: None }).unwrap();
        extensions.plain_raw(rfc5280::ID_CE_EXT_KEY_USAGE, &vec![rfc5280::ID_KP_SERVER_AUTH].to_der().unwrap()).unwrap();
        let names = names::encode_all(&SanSet::parse(["web.test"]).unwrap()).unwrap();
        extensions.plain_raw(rfc5280::ID_CE_SUBJECT_ALT_NAME, &names).unwrap();
        extensions.into_vec()
    }

    fn ca_extensions(key: &PublicKey) -> Vec<Extension> {
        let mut extensions = common(key);
        extensions.critical(&KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign)).unwrap();
        extensions.critical(&BasicConstraints { ca: true, path_len_constraint: Some(0) }).unwrap();
        extensions.into_vec()
    }

    fn broken(role: Role, change: impl FnOnce(&mut Forge)) -> Vec<Rule> {
        let mut forge = Forge::new(role);
        change(&mut forge);
        forge.rules(role)
    }

    fn leaf(change: impl FnOnce(&mut Forge)) -> Vec<Rule> {
        broken(Role::Leaf, change)
    }

    fn ca(change: impl FnOnce(&mut Forge)) -> Vec<Rule> {
        broken(Role::Ca, change)
    }

    #[test]
    fn good_ones_pass_and_roles_are_not_exchanged() {
        assert_eq!(leaf(|_| {}), []);
        assert_eq!(ca(|_| {}), []);
        assert!(Forge::new(Role::Ca).rules(Role::Leaf).contains(&Rule::LeafIsCa));
        assert!(Forge::new(Role::Leaf).rules(Role::Ca).contains(&Rule::BasicConstraints));
        assert_eq!(rules_of(check_structure(b"junk", Role::Leaf)), [Rule::Encoding]);
    }

    #[test]
    fn encoding() {
        assert_eq!(leaf(|f| f.body.version = 1), [Rule::Version]);
        assert_eq!(leaf(|f| f.body.serial = Any::new(Tag::Integer, [0x7f; 21].as_slice()).unwrap()), [Rule::SerialNumber]);
        assert_eq!(leaf(|f| f.body.serial = Any::new(Tag::Integer, [0x80].as_slice()).unwrap()), [Rule::SerialNumber]);
        assert_eq!(leaf(|f| f.outer = SignatureAlgorithm::EcdsaSha384), [Rule::SignatureAlgorithm]);
        let sha1 = const_oid::db::rfc5912::SHA_1_WITH_RSA_ENCRYPTION.to_der().unwrap();
        assert_eq!(leaf(|f| f.body.signature = Any::new(Tag::Sequence, sha1).unwrap()), [Rule::SignatureAlgorithm]);
        assert_eq!(leaf(|f| std::mem::swap(&mut f.body.validity.not_before, &mut f.body.validity.not_after)), [Rule::Validity]);
        let four_digits = |time: Time| Time::GeneralTime(der::asn1::GeneralizedTime::from_date_time(time.to_date_time()));
        assert_eq!(leaf(|f| f.body.validity.not_after = four_digits(f.body.validity.not_after)), [Rule::Validity]);
    }

    #[test]
    fn extensions_of_both_roles() {
        assert_eq!(leaf(|f| f.remove(rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER)), [Rule::SubjectKeyId]);
        assert_eq!(leaf(|f| f.set(rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER, &[4, 1, 0])), [Rule::SubjectKeyId]);
        assert_eq!(leaf(|f| f.remove(rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER)), [Rule::AuthorityKeyId]);
        assert_eq!(ca(|f| f.set(rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER, &[0x30, 0])), [Rule::AuthorityKeyId]);
        assert_eq!(leaf(|f| f.find(rfc5280::ID_CE_KEY_USAGE).critical = false), [Rule::KeyUsage]);
        assert_eq!(leaf(|f| f.remove(rfc5280::ID_CE_BASIC_CONSTRAINTS)), [Rule::BasicConstraints]);
        assert_eq!(leaf(|f| f.find(rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER).critical = true), [Rule::UnknownCriticalExtension]);
        let again = |f: &mut Forge| f.body.extensions.push(f.body.extensions[0].clone());
        assert_eq!(ca(again), [Rule::DuplicateExtension]);
    }

    #[test]
    fn names_of_a_leaf() {
        assert_eq!(leaf(|f| f.remove(rfc5280::ID_CE_SUBJECT_ALT_NAME)), [Rule::SubjectAltName, Rule::CommonName]);
        assert_eq!(leaf(|f| f.find(rfc5280::ID_CE_SUBJECT_ALT_NAME).critical = true), [Rule::SubjectAltName]);
        assert_eq!(leaf(|f| f.body.subject = Subject::default().to_any().unwrap()), [Rule::SubjectAltName]);
        let other = || Subject::with_common_name("other.test").unwrap().to_any().unwrap();
        assert_eq!(leaf(|f| f.body.subject = other()), [Rule::CommonName]);
        let bad = vec![names::raw_name(2, b"web.test"), names::raw_name(2, b"a_b.test")].to_der().unwrap();
        assert_eq!(leaf(|f| f.set(rfc5280::ID_CE_SUBJECT_ALT_NAME, &bad)), [Rule::SubjectAltName]);
    }

    #[test]
    fn usages_of_a_leaf() {
        let usage = |bits| KeyUsage(bits).to_der().unwrap();
        assert_eq!(leaf(|f| f.set(rfc5280::ID_CE_KEY_USAGE, &usage(KeyUsages::KeyAgreement.into()))), [Rule::KeyUsage]);
        let enciphers = KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment;
        assert_eq!(leaf(|f| f.set(rfc5280::ID_CE_KEY_USAGE, &usage(enciphers))), [Rule::KeyUsage]);
        assert_eq!(leaf(|f| f.set(rfc5280::ID_CE_KEY_USAGE, &usage(KeyUsages::DigitalSignature | KeyUsages::CRLSign))), [Rule::KeyUsage]);

        let extended = |oids: Vec<ObjectIdentifier>| leaf(|f| f.set(rfc5280::ID_CE_EXT_KEY_USAGE, &oids.to_der().unwrap()));
        assert_eq!(leaf(|f| f.remove(rfc5280::ID_CE_EXT_KEY_USAGE)), [Rule::ExtendedKeyUsage]);
        assert_eq!(extended(vec![rfc5280::ANY_EXTENDED_KEY_USAGE]), [Rule::ExtendedKeyUsage]);
        assert_eq!(extended(vec![rfc5280::ID_KP_SERVER_AUTH, rfc5280::ID_KP_OCSP_SIGNING]), [Rule::ExtendedKeyUsage]);
        assert_eq!(extended(vec![rfc5280::ID_KP_TIME_STAMPING]), [Rule::ExtendedKeyUsage]);
        assert_eq!(extended(vec![rfc5280::ID_KP_CLIENT_AUTH, rfc5280::ID_KP_EMAIL_PROTECTION]), []);

        let value = OctetString::new([0x30, 3, 2, 1, 5]).unwrap();
        let staple = Extension { extn_id: oids::TLS_FEATURE, critical: false, extn_value: value };
        assert_eq!(leaf(|f| f.body.extensions.push(staple)), [Rule::MustStaple]);
    }

    #[test]
    fn cas() {
        assert_eq!(ca(|f| f.body.subject = Subject::default().to_any().unwrap()), [Rule::Subject]);
        let sign_only = KeyUsage(KeyUsages::KeyCertSign.into()).to_der().unwrap();
        assert_eq!(ca(|f| f.set(rfc5280::ID_CE_KEY_USAGE, &sign_only)), [Rule::KeyUsage]);
        assert_eq!(ca(|f| f.set(rfc5280::ID_CE_BASIC_CONSTRAINTS, &[0x30, 0])), [Rule::BasicConstraints]);
        assert_eq!(ca(|f| f.body.issuer = f.body.subject.clone()), [Rule::AuthorityKeyId]);
        let names = names::encode_all(&SanSet::parse(["web.test"]).unwrap()).unwrap();
        let value = OctetString::new(names).unwrap();
        let san = Extension { extn_id: rfc5280::ID_CE_SUBJECT_ALT_NAME, critical: false, extn_value: value };
        assert_eq!(ca(|f| f.body.extensions.push(san)), [Rule::SubjectAltName]);
    }
}
