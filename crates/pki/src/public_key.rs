//! Public keys as certificates carry them: what kind, how strong, their key identifier, and whether they made a signature.

use aws_lc_rs::{digest, signature as lc};
use certctl_domain::x509::KeyAlgorithm;
use const_oid::db::{rfc5912, rfc8410};
use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode as _, Sequence};
use spki::SubjectPublicKeyInfoRef;

use crate::algorithm::{SignatureAlgorithm, name_of};

/// A parsed `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7).
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    spki: Vec<u8>,
    bits: Vec<u8>,
    kind: KeyKind,
}

/// What kind of key, including kinds that we meet but do not issue for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, with the length of the modulus.
    Rsa {
        /// Bits of the modulus.
        bits: u32,
        /// Whether the public exponent is odd and at least 3.
        sound_exponent: bool,
    },
    /// An elliptic curve of NIST.
    Ec(Curve),
    /// Another elliptic curve, by name or object identifier.
    OtherCurve(String),
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// Anything else, by name or object identifier.
    Other(String),
}

/// A named curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// secp256r1
    P256,
    /// secp384r1
    P384,
    /// secp521r1
    P521,
}

impl PublicKey {
    /// Reads a DER `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// When it is not one, or its RSA or EC part cannot be read. Weak and unknown keys are read all the same.
    pub fn from_spki(spki: &[u8]) -> Result<Self, MalformedKey> {
        let parsed = SubjectPublicKeyInfoRef::from_der(spki)?;
        let bits = parsed.subject_public_key.as_bytes().ok_or_else(|| der::Tag::BitString.value_error())?;
        let kind = match parsed.algorithm.oid {
            rfc5912::RSA_ENCRYPTION => RsaPublicKey::from_der(bits)?.kind(),
            rfc5912::ID_EC_PUBLIC_KEY => match parsed.algorithm.parameters_oid() {
                Ok(curve) => Curve::from_oid(curve).map_or_else(|| KeyKind::OtherCurve(name_of(curve)), KeyKind::Ec),
                Err(_) => KeyKind::OtherCurve("explicit parameters".to_owned()),
            },
            rfc8410::ID_ED_25519 => KeyKind::Ed25519,
            other => KeyKind::Other(name_of(other)),
        };
        Ok(Self { spki: spki.to_vec(), bits: bits.to_vec(), kind })
    }

    /// The DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// What kind of key.
    #[must_use]
    pub const fn kind(&self) -> &KeyKind {
        &self.kind
    }

    /// `RSA`, `ECDSA`, `Ed25519`, or the name of a kind that we do not issue for.
    #[must_use]
    pub fn family(&self) -> &str {
        match &self.kind {
            KeyKind::Rsa { .. } => "RSA",
            KeyKind::Ec(_) | KeyKind::OtherCurve(_) => "ECDSA",
            KeyKind::Ed25519 => "Ed25519",
            KeyKind::Other(name) => name,
        }
    }

    /// Bits of the modulus or of the curve; `None` for kinds that we do not know.
    #[must_use]
    pub const fn size_bits(&self) -> Option<u32> {
        match &self.kind {
            KeyKind::Rsa { bits, .. } => Some(*bits),
            KeyKind::Ec(curve) => Some(curve.bits()),
            KeyKind::Ed25519 => Some(256),
            KeyKind::OtherCurve(_) | KeyKind::Other(_) => None,
        }
    }

    /// The algorithm, when it is one that we issue for.
    ///
    /// # Errors
    /// Says what is wrong: too small, odd size, other curve, other kind.
    pub fn supported(&self) -> Result<KeyAlgorithm, UnsupportedKey> {
        match &self.kind {
            KeyKind::Rsa { sound_exponent: false, .. } => Err(UnsupportedKey::RsaExponent),
            KeyKind::Rsa { bits: 2048, .. } => Ok(KeyAlgorithm::Rsa2048),
            KeyKind::Rsa { bits: 3072, .. } => Ok(KeyAlgorithm::Rsa3072),
            KeyKind::Rsa { bits: 4096, .. } => Ok(KeyAlgorithm::Rsa4096),
            KeyKind::Rsa { bits, .. } if *bits < 2048 => Err(UnsupportedKey::RsaTooSmall(*bits)),
            KeyKind::Rsa { bits, .. } => Err(UnsupportedKey::RsaSize(*bits)),
            KeyKind::Ec(Curve::P256) => self.uncompressed(64).map(|()| KeyAlgorithm::EcdsaP256),
            KeyKind::Ec(Curve::P384) => self.uncompressed(96).map(|()| KeyAlgorithm::EcdsaP384),
            KeyKind::Ec(Curve::P521) => Err(UnsupportedKey::Curve("P-521".to_owned())),
            KeyKind::Ed25519 => Ok(KeyAlgorithm::Ed25519),
            KeyKind::OtherCurve(curve) => Err(UnsupportedKey::Curve(curve.clone())),
            KeyKind::Other(name) => Err(UnsupportedKey::Kind(name.clone())),
        }
    }

    /// Key identifier by RFC 7093 section 2 method 1: the leftmost 160 bits of the SHA-256 of the key bits.
    #[must_use]
    pub fn key_id(&self) -> [u8; 20] {
        let digest = digest::digest(&digest::SHA256, &self.bits);
        let mut id = [0; 20];
        for (to, from) in id.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        id
    }

    /// The bits of the key itself, without the algorithm: what OCSP and key identifiers hash.
    pub(crate) fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// Whether this key made `signature` over `message`.
    ///
    /// # Errors
    /// When it did not, or the algorithm does not go with the key.
    pub fn verify(&self, algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let verification = self.verification(algorithm).ok_or(BadSignature::AlgorithmOfOtherKey { algorithm })?;
        lc::UnparsedPublicKey::new(verification, &self.bits).verify(message, signature).map_err(|_| BadSignature::DoesNotVerify)
    }

    fn verification(&self, algorithm: SignatureAlgorithm) -> Option<&'static dyn lc::VerificationAlgorithm> {
        use SignatureAlgorithm as S;
        let found: &'static dyn lc::VerificationAlgorithm = match (&self.kind, algorithm) {
            (KeyKind::Rsa { .. }, S::RsaPkcs1Sha256) => &lc::RSA_PKCS1_2048_8192_SHA256,
            (KeyKind::Rsa { .. }, S::RsaPkcs1Sha384) => &lc::RSA_PKCS1_2048_8192_SHA384,
            (KeyKind::Rsa { .. }, S::RsaPkcs1Sha512) => &lc::RSA_PKCS1_2048_8192_SHA512,
            (KeyKind::Rsa { .. }, S::RsaPssSha256) => &lc::RSA_PSS_2048_8192_SHA256,
            (KeyKind::Rsa { .. }, S::RsaPssSha384) => &lc::RSA_PSS_2048_8192_SHA384,
            (KeyKind::Rsa { .. }, S::RsaPssSha512) => &lc::RSA_PSS_2048_8192_SHA512,
            (KeyKind::Ec(Curve::P256), S::EcdsaSha256) => &lc::ECDSA_P256_SHA256_ASN1,
            (KeyKind::Ec(Curve::P256), S::EcdsaSha384) => &lc::ECDSA_P256_SHA384_ASN1,
            (KeyKind::Ec(Curve::P256), S::EcdsaSha512) => &lc::ECDSA_P256_SHA512_ASN1,
            (KeyKind::Ec(Curve::P384), S::EcdsaSha256) => &lc::ECDSA_P384_SHA256_ASN1,
            (KeyKind::Ec(Curve::P384), S::EcdsaSha384) => &lc::ECDSA_P384_SHA384_ASN1,
            (KeyKind::Ec(Curve::P384), S::EcdsaSha512) => &lc::ECDSA_P384_SHA512_ASN1,
            (KeyKind::Ec(Curve::P521), S::EcdsaSha256) => &lc::ECDSA_P521_SHA256_ASN1,
            (KeyKind::Ec(Curve::P521), S::EcdsaSha384) => &lc::ECDSA_P521_SHA384_ASN1,
            (KeyKind::Ec(Curve::P521), S::EcdsaSha512) => &lc::ECDSA_P521_SHA512_ASN1,
            (KeyKind::Ed25519, S::Ed25519) => &lc::ED25519,
            _ => return None,
        };
        Some(found)
    }

    /// RFC 5480 section 2.2: compressed points may be refused; few clients read them.
    fn uncompressed(&self, coordinates: usize) -> Result<(), UnsupportedKey> {
        match self.bits.split_first() {
            Some((4, point)) if point.len() == coordinates => Ok(()),
            _ => Err(UnsupportedKey::PointForm),
        }
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublicKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Curve {
    /// Bits of the field.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::P256 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }

    const fn from_oid(oid: ObjectIdentifier) -> Option<Self> {
        match oid {
            rfc5912::SECP_256_R_1 => Some(Self::P256),
            rfc5912::SECP_384_R_1 => Some(Self::P384),
            rfc5912::SECP_521_R_1 => Some(Self::P521),
            _ => None,
        }
    }
}

/// The bytes are no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the public key cannot be read")]
pub struct MalformedKey(#[from] der::Error);

impl From<der::ErrorKind> for MalformedKey {
    fn from(kind: der::ErrorKind) -> Self {
        Self(kind.into())
    }
}

/// A readable key that we do not issue for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedKey {
    /// Fewer than 2048 bits.
    #[error("the RSA key has {0} bits; at least 2048 are required")]
    RsaTooSmall(u32),
    /// A size that nobody uses.
    #[error("the RSA key has {0} bits; supported are 2048, 3072 and 4096")]
    RsaSize(u32),
    /// Even, or 1.
    #[error("the RSA key has a public exponent that is even or 1")]
    RsaExponent,
    /// Another curve.
    #[error("the key is on the curve {0}; supported are P-256 and P-384")]
    Curve(String),
    /// A compressed or hybrid point.
    #[error("the elliptic curve point is not in uncompressed form")]
    PointForm,
    /// Another kind of key.
    #[error("the key is of the kind {0}; supported are RSA, ECDSA and Ed25519")]
    Kind(String),
}

/// The signature is not this key's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// Such as an ECDSA signature beside an RSA key.
    #[error("the signature algorithm {algorithm} does not go with the key")]
    AlgorithmOfOtherKey {
        /// What the signature says.
        algorithm: SignatureAlgorithm,
    },
    /// The cryptographic check failed.
    #[error("the signature does not verify")]
    DoesNotVerify,
}

/// RFC 8017 appendix A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

impl RsaPublicKey<'_> {
    fn kind(&self) -> KeyKind {
        let exponent = self.exponent.as_bytes();
        let sound_exponent = exponent.last().is_some_and(|last| last % 2 == 1) && exponent != [1];
        KeyKind::Rsa { bits: bit_length(self.modulus.as_bytes()), sound_exponent }
    }
}

/// Bits of a big-endian number without leading zero octets.
fn bit_length(number: &[u8]) -> u32 {
    let whole = u32::try_from(number.len()).unwrap_or(u32::MAX).saturating_mul(8);
    whole.saturating_sub(number.first().map_or(0, |first| first.leading_zeros()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PrivateKey;

    #[test]
    fn knows_every_algorithm_that_we_make() {
        for algorithm in KeyAlgorithm::ALL {
            let key = PrivateKey::generate(algorithm).unwrap();
            let public = PublicKey::from_spki(key.spki()).unwrap();
            assert_eq!(public.supported(), Ok(algorithm));
            assert_eq!(public.family(), algorithm.family());
            assert_eq!(public.size_bits(), Some(algorithm.bits()));
        }
    }

    #[test]
    fn key_identifiers_differ_between_keys_of_one_kind() {
        let id = || PublicKey::from_spki(PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap().spki()).unwrap().key_id();
        assert_ne!(id(), id());
    }

    #[test]
    fn refuses_a_signature_of_another_kind() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let public = PublicKey::from_spki(key.spki()).unwrap();
        let signature = key.sign(b"message").unwrap();
        assert_eq!(public.verify(SignatureAlgorithm::EcdsaSha256, b"message", &signature), Ok(()));
        assert_eq!(public.verify(SignatureAlgorithm::EcdsaSha256, b"other", &signature), Err(BadSignature::DoesNotVerify));
        let algorithm = SignatureAlgorithm::RsaPkcs1Sha256;
        assert_eq!(public.verify(algorithm, b"message", &signature), Err(BadSignature::AlgorithmOfOtherKey { algorithm }));
    }

    #[test]
    fn refuses_an_even_exponent_and_a_compressed_point() {
        // 2048-bit modulus of ones, exponent 4.
        let mut rsa = hex::decode("30820120300d06092a864886f70d01010105000382010d003082010802820101").unwrap();
        rsa.push(0);
        rsa.extend([0xff; 256]);
        rsa.extend([2, 1, 4]);
        assert_eq!(PublicKey::from_spki(&rsa).unwrap().supported(), Err(UnsupportedKey::RsaExponent));

        let mut compressed = hex::decode("3039301306072a8648ce3d020106082a8648ce3d03010703220002").unwrap();
        compressed.extend([0x55; 32]);
        assert_eq!(PublicKey::from_spki(&compressed).unwrap().supported(), Err(UnsupportedKey::PointForm));
    }

    #[test]
    fn counts_bits() {
        assert_eq!([bit_length(&[]), bit_length(&[1]), bit_length(&[0x80, 0]), bit_length(&[0x7f, 0xff])], [0, 1, 16, 15]);
    }
}
