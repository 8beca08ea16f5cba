//! Certificate signing requests (PKCS #10, RFC 2986): one parser that everything from outside goes through, one builder.
//!
//! A [`Csr`] is proof that its sender holds the private key, and says nothing that a certificate could not say. What the
//! certificate will contain is decided from the record, not from here: callers compare.

mod build;
mod error;
mod requested;
#[cfg(test)]
mod tests;

use certctl_domain::x509::{ExtendedKeyUsage, KeyAlgorithm, San, SanSet, check_common_name};
use der::asn1::AnyRef;
use der::{Decode as _, Encode as _, Sequence};
use x509_cert::attr::Attributes;
use x509_cert::name::Name;

pub use self::error::CsrError;
use self::requested::Requested;
use crate::key::PrivateKey;
use crate::public_key::PublicKey;
use crate::signed::Signed;
use crate::{dn, pem};

/// A request whose signature, key and names have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csr {
    der: Vec<u8>,
    key: PublicKey,
    key_algorithm: KeyAlgorithm,
    common_name: Option<String>,
    names: SanSet,
    requested: Requested,
}

impl Csr {
    /// The most bytes that a request may have, as text or as DER.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Parses text with exactly one PEM block, a `CERTIFICATE REQUEST` or `NEW CERTIFICATE REQUEST`.
    ///
    /// # Errors
    /// At the first thing that is wrong; [`CsrError::code`] and [`CsrError::hint`] say what and what to do.
    pub fn parse_pem(text: &str) -> Result<Self, CsrError> {
        check_size(text.len())?;
        let blocks = pem::blocks(text)?;
        match blocks.as_slice() {
            [] => Err(CsrError::NotPem),
            [block] if matches!(block.label(), LABEL | "NEW CERTIFICATE REQUEST") => Self::parse_der(block.der()),
            [block] => Err(CsrError::WrongBlock(block.label().to_owned())),
            several => Err(CsrError::SeveralBlocks(several.len())),
        }
    }

    /// Parses the DER of one request.
    ///
    /// # Errors
    /// As [`Csr::parse_pem`].
    pub fn parse_der(der: &[u8]) -> Result<Self, CsrError> {
        check_size(der.len())?;
        let request = Signed::from_der(der)?;
        let body = request.body()?;
        let info = RequestInfo::from_der(&body)?;
        if info.version != 0 {
            return Err(CsrError::Version(info.version));
        }
        let key = PublicKey::from_spki(&info.public_key.to_der()?)?;
        let key_algorithm = key.supported()?;
        request.verify(&key).map_err(CsrError::from_signed)?;
        let common_name = common_name(&info.subject)?;
        let requested = Requested::from_attributes(&info.attributes)?;
        let names = all_names(&requested.sans, common_name.as_deref())?;
        Ok(Self { der: der.to_vec(), key, key_algorithm, common_name, names, requested })
    }

    /// Makes a request for the key, as PEM. Needs a common name or a SAN; addresses become iPAddress names.
    ///
    /// # Errors
    /// When there is nothing to ask for, the common name cannot be used, or the key does not sign.
    pub fn build(key: &PrivateKey, common_name: Option<&str>, sans: &SanSet) -> Result<String, CsrError> {
        build::build(key, common_name, sans)
    }

    /// The request as DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The request as one PEM block, freshly written.
    #[must_use]
    pub fn pem(&self) -> String {
        pem::encode(LABEL, &self.der)
    }

    /// The public key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// The DER `SubjectPublicKeyInfo` of the public key.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        self.key.spki()
    }

    /// Kind and size of the key.
    #[must_use]
    pub const fn key_algorithm(&self) -> KeyAlgorithm {
        self.key_algorithm
    }

    /// The common name of the subject, if there is one.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The subject alternative names that are asked for.
    #[must_use]
    pub const fn sans(&self) -> &SanSet {
        &self.requested.sans
    }

    /// All names: the SANs and the common name where it is one. Never empty.
    #[must_use]
    pub const fn names(&self) -> &SanSet {
        &self.names
    }

    /// The extended key usages that are asked for and that profiles know.
    #[must_use]
    pub fn usages(&self) -> &[ExtendedKeyUsage] {
        &self.requested.usages
    }

    /// Whether OCSP must-staple (RFC 7633) is asked for.
    #[must_use]
    pub const fn wants_must_staple(&self) -> bool {
        self.requested.must_staple
    }

    /// Whether the request is for this private key.
    #[must_use]
    pub fn matches_key(&self, key: &PrivateKey) -> bool {
        self.key == *key.public_key()
    }
}

/// RFC 2986 section 4.1.
#[derive(Sequence)]
struct RequestInfo<'a> {
    version: u8,
    subject: Name,
    public_key: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    attributes: Attributes,
}

fn check_size(size: usize) -> Result<(), CsrError> {
    if size > Csr::MAX_BYTES { Err(CsrError::TooLarge { size, limit: Csr::MAX_BYTES }) } else { Ok(()) }
}

fn common_name(subject: &Name) -> Result<Option<String>, CsrError> {
    let mut names = dn::common_names(subject);
    match names.len() {
        0 => Ok(None),
        1 => {
            let name = names.pop().flatten().ok_or(CsrError::CommonNameEncoding)?;
            check_common_name(&name).map_err(CsrError::CommonName)?;
            Ok(Some(name))
        }
        several => Err(CsrError::SeveralCommonNames(several)),
    }
}

fn all_names(sans: &SanSet, common_name: Option<&str>) -> Result<SanSet, CsrError> {
    let common_name = common_name.and_then(|name| San::parse(name).ok());
    let names = SanSet::new(sans.iter().cloned().chain(common_name))
        .map_err(|_| CsrError::TooManyNames { found: sans.len() + 1, limit: SanSet::MAX })?;
    if names.is_empty() { Err(CsrError::NoNames) } else { Ok(names) }
}

const LABEL: &str = "CERTIFICATE REQUEST";
