//! Signature algorithms: the ones we sign with and the ones we accept from others.
//!
//! An algorithm is matched by the exact bytes of its `AlgorithmIdentifier`; SHA-1 and MD5 are not in the list and so cannot pass.

use certctl_domain::x509::KeyAlgorithm;
use der::Tag;
use der::asn1::{Any, AnyRef, ObjectIdentifier};
use rustls_pki_types::{AlgorithmIdentifier, alg_id};

/// How a certificate, request or list is signed. The ECDSA variants name the digest only; the curve is the key's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaPkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RsaPkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RsaPkcs1Sha512,
    /// RSASSA-PSS with SHA-256, MGF1 and a salt of 32 octets.
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384, MGF1 and a salt of 48 octets.
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512, MGF1 and a salt of 64 octets.
    RsaPssSha512,
    /// ECDSA with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// ECDSA with SHA-512.
    EcdsaSha512,
    /// Ed25519 (RFC 8410).
    Ed25519,
}

impl SignatureAlgorithm {
    /// What a key of this kind signs with unless told otherwise.
    #[must_use]
    pub const fn for_key(key: KeyAlgorithm) -> Self {
        match key {
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => Self::RsaPkcs1Sha256,
            KeyAlgorithm::EcdsaP256 => Self::EcdsaSha256,
            KeyAlgorithm::EcdsaP384 => Self::EcdsaSha384,
            KeyAlgorithm::Ed25519 => Self::Ed25519,
        }
    }

    /// The name that RFCs and openssl use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RsaPkcs1Sha256 => "sha256WithRSAEncryption",
            Self::RsaPkcs1Sha384 => "sha384WithRSAEncryption",
            Self::RsaPkcs1Sha512 => "sha512WithRSAEncryption",
            Self::RsaPssSha256 => "rsassaPss-sha256",
            Self::RsaPssSha384 => "rsassaPss-sha384",
            Self::RsaPssSha512 => "rsassaPss-sha512",
            Self::EcdsaSha256 => "ecdsa-with-SHA256",
            Self::EcdsaSha384 => "ecdsa-with-SHA384",
            Self::EcdsaSha512 => "ecdsa-with-SHA512",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// A key algorithm whose throw-away key can sign with this; used to build lint certificates.
    pub(crate) const fn sample_key(self) -> KeyAlgorithm {
        match self {
            Self::EcdsaSha256 => KeyAlgorithm::EcdsaP256,
            Self::EcdsaSha384 | Self::EcdsaSha512 => KeyAlgorithm::EcdsaP384,
            Self::Ed25519 => KeyAlgorithm::Ed25519,
            _ => KeyAlgorithm::Rsa2048,
        }
    }

    /// The `AlgorithmIdentifier` SEQUENCE.
    pub(crate) fn to_any(self) -> der::Result<Any> {
        Any::new(Tag::Sequence, self.identifier().as_ref())
    }

    /// Reads the `AlgorithmIdentifier` SEQUENCE of a signature.
    pub(crate) fn from_any(identifier: AnyRef<'_>) -> Result<Self, UnsupportedSignature> {
        // The identifier stands outside the signature: nothing else would notice another tag.
        if der::Tagged::tag(&identifier) != Tag::Sequence {
            return Err(UnsupportedSignature::unreadable());
        }
        Self::ALL.into_iter().find(|algorithm| algorithm.is(identifier.value())).ok_or_else(|| UnsupportedSignature::of(identifier))
    }

    fn is(self, identifier: &[u8]) -> bool {
        let ours = self.identifier();
        let ours: &[u8] = ours.as_ref();
        // RFC 4055 section 5: the NULL parameters of PKCS #1 v1.5 must be written, but their absence must be accepted.
        ours == identifier || (self.is_pkcs1() && ours.strip_suffix(&[5, 0]) == Some(identifier))
    }

    const fn is_pkcs1(self) -> bool {
        matches!(self, Self::RsaPkcs1Sha256 | Self::RsaPkcs1Sha384 | Self::RsaPkcs1Sha512)
    }

    const fn identifier(self) -> AlgorithmIdentifier {
        match self {
            Self::RsaPkcs1Sha256 => alg_id::RSA_PKCS1_SHA256,
            Self::RsaPkcs1Sha384 => alg_id::RSA_PKCS1_SHA384,
            Self::RsaPkcs1Sha512 => alg_id::RSA_PKCS1_SHA512,
            Self::RsaPssSha256 => alg_id::RSA_PSS_SHA256,
            Self::RsaPssSha384 => alg_id::RSA_PSS_SHA384,
            Self::RsaPssSha512 => alg_id::RSA_PSS_SHA512,
            Self::EcdsaSha256 => alg_id::ECDSA_SHA256,
            Self::EcdsaSha384 => alg_id::ECDSA_SHA384,
            Self::EcdsaSha512 => alg_id::ECDSA_SHA512,
            Self::Ed25519 => alg_id::ED25519,
        }
    }

    const ALL: [Self; 10] = [
        Self::RsaPkcs1Sha256,
        Self::RsaPkcs1Sha384,
        Self::RsaPkcs1Sha512,
        Self::RsaPssSha256,
        Self::RsaPssSha384,
        Self::RsaPssSha512,
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::EcdsaSha512,
        Self::Ed25519,
    ];
}

impl std::fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A signature made with an algorithm that is too weak or that we do not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signature algorithm {0} is too weak or not supported")]
pub struct UnsupportedSignature(String);

impl UnsupportedSignature {
    fn of(identifier: AnyRef<'_>) -> Self {
        let oid = identifier.sequence(|reader| {
            let oid: ObjectIdentifier = der::Decode::decode(reader)?;
            // The parameters are read and dropped: the name alone is shown.
            let _parameters: Option<AnyRef<'_>> = der::Decode::decode(reader)?;
            Ok::<_, der::Error>(oid)
        });
        oid.map_or_else(|_| Self::unreadable(), |oid| Self(name_of(oid)))
    }

    fn unreadable() -> Self {
        Self("that cannot be read".to_owned())
    }
}

/// The usual name of an object identifier beside its digits, where there is one.
pub(crate) fn name_of(oid: ObjectIdentifier) -> String {
    match const_oid::db::DB.by_oid(&oid) {
        Some(name) => format!("{name} ({oid})"),
        None => oid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use der::Encode as _;

    use super::*;

    #[test]
    fn every_identifier_reads_back() {
        for algorithm in SignatureAlgorithm::ALL {
            let any = algorithm.to_any().unwrap();
            assert_eq!(SignatureAlgorithm::from_any(any.to_ref()), Ok(algorithm));
        }
    }

    #[test]
    fn absent_parameters_are_accepted_for_pkcs1_only() {
        let bare = |algorithm: SignatureAlgorithm| {
            let identifier = algorithm.identifier();
            let identifier: &[u8] = identifier.as_ref();
            let oid: &[u8] = identifier.strip_suffix(&[5, 0]).unwrap_or(&identifier[..11]);
            SignatureAlgorithm::from_any(Any::new(Tag::Sequence, oid).unwrap().to_ref())
        };
        assert_eq!(bare(SignatureAlgorithm::RsaPkcs1Sha256), Ok(SignatureAlgorithm::RsaPkcs1Sha256));
        assert!(bare(SignatureAlgorithm::RsaPssSha256).is_err());
    }

    #[test]
    fn only_a_sequence_is_an_identifier() {
        let value = SignatureAlgorithm::Ed25519.to_any().unwrap().value().to_vec();
        assert!(SignatureAlgorithm::from_any(Any::new(Tag::Set, value).unwrap().to_ref()).is_err());
    }

    #[test]
    fn sha1_is_named_and_refused() {
        let oid = const_oid::db::rfc5912::SHA_1_WITH_RSA_ENCRYPTION;
        let any = Any::new(Tag::Sequence, oid.to_der().unwrap()).unwrap();
        let error = SignatureAlgorithm::from_any(any.to_ref()).unwrap_err().to_string();
        assert!(error.contains("sha1WithRSAEncryption (1.2.840.113549.1.1.5)"), "{error}");
    }
}
