//! A certificate as it is read: from our CA, from another one, or from whatever a server out there serves.
//!
//! Reading is lenient on purpose (old CAs bend the rules); what must be strict is asked for by [`crate::lint`].

use aws_lc_rs::digest;
use certctl_domain::time::Timestamp;
use certctl_domain::x509::{ExtendedKeyUsage, Fingerprint, InvalidName, KeyAlgorithm, San, Serial};
use const_oid::db::rfc5280;
use der::Decode as _;
use der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, ExtendedKeyUsage as UsageOids, KeyUsage, SubjectKeyIdentifier};
use x509_cert::name::Name;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::algorithm::{SignatureAlgorithm, name_of};
use crate::names::WireName;
use crate::pem::{self, PemError};
use crate::public_key::{MalformedKey, PublicKey};
use crate::signed::Signed;
pub use crate::signed::SignedError;
use crate::{dn, oids};

/// One X.509 certificate and what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    serial: Serial,
    fingerprint: Fingerprint,
    not_before: Timestamp,
    not_after: Timestamp,
    subject: DistinguishedName,
    issuer: DistinguishedName,
    common_name: Option<String>,
    sans: Vec<San>,
    other_names: Vec<String>,
    public_key: PublicKey,
    basic_constraints: BasicConstraints,
    extensions: Vec<Extension>,
    /// Critical extensions whose identifiers are beyond what [`ObjectIdentifier`] holds, such as those made of a UUID (2.25).
    unnamed_critical: Vec<String>,
}

impl Certificate {
    /// Reads the first certificate in the text.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn parse_pem(text: &str) -> Result<Self, CertificateError> {
        let blocks = pem::blocks(text)?;
        let block = blocks.iter().find(|block| block.is_certificate()).ok_or(CertificateError::NoCertificate)?;
        Self::parse_der(block.der())
    }

    /// Reads the DER of one certificate.
    ///
    /// # Errors
    /// When it is not one, or bytes follow it.
    pub fn parse_der(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|error| CertificateError::Malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(CertificateError::TrailingBytes(rest.len()));
        }
        let extensions = Extension::all_of(&parsed);
        let (sans, other_names) = subject_alternative_names(&extensions);
        let digest = digest::digest(&digest::SHA256, der);
        let fingerprint = <[u8; 32]>::try_from(digest.as_ref()).map_err(|_| CertificateError::Malformed("no digest".to_owned()))?;
        let constraints = parsed.basic_constraints().ok().flatten().map(|extension| extension.value);
        Ok(Self {
            serial: Serial::from_der_bytes(parsed.raw_serial()).map_err(CertificateError::Serial)?,
            fingerprint: Fingerprint::from_bytes(&fingerprint),
            not_before: parsed.validity().not_before.to_datetime().into(),
            not_after: parsed.validity().not_after.to_datetime().into(),
            subject: DistinguishedName::of(parsed.subject()),
            issuer: DistinguishedName::of(parsed.issuer()),
            common_name: common_name(parsed.subject().as_raw()),
            sans,
            other_names,
            public_key: PublicKey::from_spki(parsed.public_key().raw)?,
            basic_constraints: constraints
                .map_or_else(BasicConstraints::default, |found| BasicConstraints { ca: found.ca, path_len: found.path_len_constraint }),
            extensions,
            unnamed_critical: Extension::unnamed_critical(&parsed),
            der: der.to_vec(),
        })
    }

    /// The certificate's bytes.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate as one PEM block.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode(pem::CERTIFICATE, &self.der)
    }

    /// Serial number.
    #[must_use]
    pub const fn serial(&self) -> &Serial {
        &self.serial
    }

    /// SHA-256 of the DER.
    #[must_use]
    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// First second of validity.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Last second of validity.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether the instant lies inside the validity, both ends included (RFC 5280 section 4.1.2.5).
    #[must_use]
    pub fn is_valid_at(&self, at: Timestamp) -> bool {
        let at = at.whole_seconds();
        self.not_before <= at && at <= self.not_after
    }

    /// The subject as RFC 4514 text.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject.text
    }

    /// The issuer as RFC 4514 text.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer.text
    }

    /// The DER of the subject.
    #[must_use]
    pub fn subject_der(&self) -> &[u8] {
        &self.subject.der
    }

    /// The DER of the issuer.
    #[must_use]
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer.der
    }

    /// The most specific common name of the subject.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The most specific common name of the issuer.
    #[must_use]
    pub fn issuer_common_name(&self) -> Option<String> {
        common_name(&self.issuer.der)
    }

    /// Subject alternative names, sorted.
    #[must_use]
    pub fn sans(&self) -> &[San] {
        &self.sans
    }

    /// Subject alternative names that are of another kind or not valid as their kind, as text such as `dns:under_score.test`.
    #[must_use]
    pub fn other_names(&self) -> &[String] {
        &self.other_names
    }

    /// The public key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        self.public_key.spki()
    }

    /// Kind and size of the key, when it is one that we issue for; [`PublicKey::family`] and [`PublicKey::size_bits`] name others.
    #[must_use]
    pub fn key_algorithm(&self) -> Option<KeyAlgorithm> {
        self.public_key.supported().ok()
    }

    /// Whether basicConstraints says CA:TRUE.
    #[must_use]
    pub const fn is_ca(&self) -> bool {
        self.basic_constraints.ca
    }

    /// How many CA certificates may follow below this one.
    #[must_use]
    pub const fn path_len(&self) -> Option<u32> {
        self.basic_constraints.path_len
    }

    /// Key usage; `None` when the extension is absent or cannot be read.
    #[must_use]
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.decode_extension(rfc5280::ID_CE_KEY_USAGE)
    }

    /// Whether the key may be used so: an absent key usage restricts nothing (RFC 5280 section 4.2.1.3), one that cannot be read
    /// permits nothing.
    pub(crate) fn key_usage_permits(&self, asked: impl Fn(KeyUsage) -> bool) -> bool {
        self.extension(rfc5280::ID_CE_KEY_USAGE).is_none() || self.key_usage().is_some_and(asked)
    }

    /// The extended key usages that profiles know.
    #[must_use]
    pub fn extended_key_usages(&self) -> Vec<ExtendedKeyUsage> {
        self.extended_key_usage_oids().unwrap_or_default().into_iter().filter_map(oids::usage_of).collect()
    }

    /// Subject key identifier.
    #[must_use]
    pub fn subject_key_id(&self) -> Option<Vec<u8>> {
        self.decode_extension(rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER).map(|SubjectKeyIdentifier(id)| id.as_bytes().to_vec())
    }

    /// Authority key identifier, the key part.
    #[must_use]
    pub fn authority_key_id(&self) -> Option<Vec<u8>> {
        let authority: AuthorityKeyIdentifier = self.decode_extension(rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER)?;
        authority.key_identifier.map(|id| id.as_bytes().to_vec())
    }

    /// Whether the certificate asks servers to staple OCSP responses (RFC 7633).
    #[must_use]
    pub fn must_staple(&self) -> bool {
        self.extension(oids::TLS_FEATURE).is_some_and(|extension| oids::is_must_staple(&extension.value))
    }

    /// How it is signed; `None` when the algorithm is weak or unknown.
    #[must_use]
    pub fn signature_algorithm(&self) -> Option<SignatureAlgorithm> {
        Signed::from_der(&self.der).ok()?.algorithm().ok()
    }

    /// Whether subject and issuer are the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.subject.der == self.issuer.der
    }

    /// Whether it is signed by its own key, as roots are. A self-issued certificate may be signed by another key of the same CA, as at a
    /// change of keys (RFC 5280 section 3.2). An old root whose algorithm is not accepted any more counts as one.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.is_self_issued() && !matches!(self.verify_signed_by(self), Err(NotSignedBy::Signature(SignedError::Signature(_))))
    }

    /// Whether `issuer` signed this certificate: names agree and the signature verifies. Asks nothing of the issuer's rights.
    ///
    /// # Errors
    /// Says which of the two does not hold.
    pub fn verify_signed_by(&self, issuer: &Self) -> Result<(), NotSignedBy> {
        if self.issuer.der != issuer.subject.der {
            return Err(NotSignedBy::OtherName { wanted: self.issuer.text.clone(), found: issuer.subject.text.clone() });
        }
        let signed = Signed::from_der(&self.der).map_err(SignedError::Malformed)?;
        Ok(signed.verify(&issuer.public_key)?)
    }

    pub(crate) fn extended_key_usage_oids(&self) -> Option<Vec<ObjectIdentifier>> {
        self.decode_extension(rfc5280::ID_CE_EXT_KEY_USAGE).map(|UsageOids(oids)| oids)
    }

    /// The critical extensions that are not among the known ones (RFC 5280 section 4.2), by name.
    pub(crate) fn unknown_critical_extensions(&self, known: &[ObjectIdentifier]) -> Vec<String> {
        let unknown = self.extensions.iter().filter(|extension| extension.critical && !known.contains(&extension.oid));
        unknown.map(|extension| name_of(extension.oid)).chain(self.unnamed_critical.iter().cloned()).collect()
    }

    pub(crate) fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    pub(crate) fn extension(&self, oid: ObjectIdentifier) -> Option<&Extension> {
        self.extensions.iter().find(|extension| extension.oid == oid)
    }

    pub(crate) fn decode_extension<'a, T: der::Decode<'a, Error = der::Error>>(&'a self, oid: ObjectIdentifier) -> Option<T> {
        T::from_der(&self.extension(oid)?.value).ok()
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.subject.text)
            .field("issuer", &self.issuer.text)
            .field("serial", &self.serial.as_str())
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// A certificate that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The PEM armor is broken.
    #[error("the certificate is not valid PEM")]
    Pem(#[from] PemError),
    /// No `CERTIFICATE` block.
    #[error("there is no certificate in the PEM text")]
    NoCertificate,
    /// More certificates than a chain has.
    #[error("there are {found} certificates, more than {limit}")]
    TooMany {
        /// Certificates in the text.
        found: usize,
        /// Certificates allowed.
        limit: usize,
    },
    /// Not the DER of a certificate.
    #[error("the certificate cannot be read: {0}")]
    Malformed(String),
    /// More bytes than the certificate has.
    #[error("{0} bytes follow the certificate")]
    TrailingBytes(usize),
    /// Zero, or much too long.
    #[error("the certificate has a serial number that is not accepted")]
    Serial(#[source] InvalidName),
    /// A public key that cannot be read.
    #[error("the certificate has a public key that cannot be read")]
    Key(#[from] MalformedKey),
}

/// One certificate did not sign another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSignedBy {
    /// The names differ.
    #[error("its issuer is `{wanted}`, not `{found}`")]
    OtherName {
        /// The issuer that the certificate names.
        wanted: String,
        /// The subject of the supposed issuer.
        found: String,
    },
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] SignedError),
}

/// An extension as it stands in the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) oid: ObjectIdentifier,
    pub(crate) critical: bool,
    pub(crate) value: Vec<u8>,
}

impl Extension {
    fn all_of(parsed: &X509Certificate<'_>) -> Vec<Self> {
        let read = |extension: &x509_parser::extensions::X509Extension<'_>| {
            let oid = ObjectIdentifier::from_bytes(extension.oid.as_bytes()).ok()?;
            Some(Self { oid, critical: extension.critical, value: extension.value.to_vec() })
        };
        parsed.extensions().iter().filter_map(read).collect()
    }

    fn unnamed_critical(parsed: &X509Certificate<'_>) -> Vec<String> {
        let unnamed = parsed.extensions().iter().filter(|found| ObjectIdentifier::from_bytes(found.oid.as_bytes()).is_err());
        unnamed.filter(|found| found.critical).map(|found| found.oid.to_string()).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct BasicConstraints {
    ca: bool,
    path_len: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct DistinguishedName {
    der: Vec<u8>,
    text: String,
}

impl DistinguishedName {
    fn of(name: &x509_parser::x509::X509Name<'_>) -> Self {
        Self { der: name.as_raw().to_vec(), text: dn::display(name.as_raw(), name) }
    }
}

fn common_name(subject: &[u8]) -> Option<String> {
    dn::common_names(&Name::from_der(subject).ok()?).pop().flatten()
}

fn subject_alternative_names(extensions: &[Extension]) -> (Vec<San>, Vec<String>) {
    let mut known = Vec::new();
    let mut others = Vec::new();
    for extension in extensions.iter().filter(|extension| extension.oid == rfc5280::ID_CE_SUBJECT_ALT_NAME) {
        match WireName::decode_all(&extension.value) {
            Err(_) => others.push("unreadable".to_owned()),
            Ok(names) => {
                for name in names {
                    match name.to_san() {
                        Some(san) => known.push(san),
                        None => others.push(name.describe()),
                    }
                }
            }
        }
    }
    known.sort();
    known.dedup();
    (known, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_certificate() {
        let made = rcgen::generate_simple_self_signed(["web.test".to_owned()]).unwrap();
        let mut longer = made.cert.der().to_vec();
        longer.push(0);
        for (error, wanted) in [
            (Certificate::parse_pem("").unwrap_err(), "no certificate"),
            (Certificate::parse_pem(&made.signing_key.serialize_pem()).unwrap_err(), "no certificate"),
            (Certificate::parse_pem("-----BEGIN CERTIFICATE-----").unwrap_err(), "not valid PEM"),
            (Certificate::parse_der(b"junk").unwrap_err(), "cannot be read"),
            (Certificate::parse_der(&longer).unwrap_err(), "1 bytes follow"),
        ] {
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }

    #[test]
    fn says_what_stands_in_it() {
        let mut params = rcgen::CertificateParams::new(["web.test".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "Web");
        params.not_before = rcgen::date_time_ymd(2020, 1, 2);
        params.not_after = rcgen::date_time_ymd(2051, 1, 2);
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0xff, 1]));
        params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], vec![0x30, 3, 2, 1, 5])];
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();

        let read = Certificate::parse_pem(&made.pem()).unwrap();
        assert_eq!(read.serial().as_str(), "00ff01");
        assert_eq!(read.not_after().to_string(), "2051-01-02T00:00:00Z");
        assert_eq!(read.common_name(), Some("Web"));
        assert_eq!(read.sans().iter().map(San::to_string).collect::<Vec<_>>(), ["web.test", "10.0.0.1"]);
        assert!(read.other_names().is_empty() && !read.is_ca() && read.must_staple());
        assert_eq!(read.signature_algorithm(), Some(SignatureAlgorithm::EcdsaSha256));
        assert_eq!(Certificate::parse_pem(&read.to_pem()).unwrap(), read);
        read.verify_signed_by(&read).unwrap();
        assert!(read.is_valid_at(read.not_before()) && read.is_valid_at(read.not_after()));
        assert!(!read.is_valid_at(read.not_after().saturating_add(time::Duration::SECOND)));
    }
}
