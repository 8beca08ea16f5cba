//! Private keys in software: made, read from any usual PEM form, written as PKCS#8, used to sign. Never shown.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    self as lc, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    KeyPair as _,
};
use certctl_domain::secret::Secret;
use certctl_domain::x509::KeyAlgorithm;
use const_oid::db::{rfc5912, rfc8410};
use pkcs8::PrivateKeyInfoRef;
use zeroize::Zeroizing;

use crate::algorithm::{SignatureAlgorithm, name_of};
use crate::pem::{self, PemError};
use crate::public_key::{MalformedKey, PublicKey, UnsupportedKey};

/// A private key and its public half.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
    algorithm: KeyAlgorithm,
}

impl PrivateKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Generate;
        let pair = match algorithm {
            KeyAlgorithm::Rsa2048 => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?),
            KeyAlgorithm::Rsa3072 => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa3072).map_err(failed)?),
            KeyAlgorithm::Rsa4096 => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa4096).map_err(failed)?),
            KeyAlgorithm::EcdsaP256 => Pair::Ec(EcdsaKeyPair::generate(P256).map_err(failed)?),
            KeyAlgorithm::EcdsaP384 => Pair::Ec(EcdsaKeyPair::generate(P384).map_err(failed)?),
            KeyAlgorithm::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
        };
        Self::new(pair)
    }

    /// Reads the one private key in the text: PKCS#8, PKCS#1 or SEC 1, with other text and other blocks around it.
    ///
    /// # Errors
    /// When there is no key or more than one, it is under a password, or of a kind that is not supported.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let blocks = pem::blocks(text)?;
        let mut keys = blocks.iter().filter(|block| block.is_private_key());
        let (Some(block), rest) = (keys.next(), keys.count()) else {
            return Err(KeyError::NoKey);
        };
        if rest > 0 {
            return Err(KeyError::SeveralKeys(rest + 1));
        }
        if block.is_encrypted() {
            return Err(KeyError::Encrypted);
        }
        match block.label() {
            "PRIVATE KEY" => Self::from_pkcs8_der(block.der()),
            "RSA PRIVATE KEY" => Self::new(Pair::Rsa(RsaKeyPair::from_der(block.der()).map_err(rejected)?)),
            "EC PRIVATE KEY" => Self::from_sec1_der(block.der()),
            other => Err(KeyError::UnknownForm(other.to_owned())),
        }
    }

    /// Reads a DER PKCS#8 `PrivateKeyInfo` (RFC 5958).
    ///
    /// # Errors
    /// When it cannot be read or is of a kind that is not supported.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = PrivateKeyInfoRef::try_from(der).map_err(|_| KeyError::Malformed("it is not PKCS#8".to_owned()))?;
        let pair = match info.algorithm.oid {
            rfc5912::RSA_ENCRYPTION => Pair::Rsa(RsaKeyPair::from_pkcs8(der).map_err(rejected)?),
            rfc5912::ID_EC_PUBLIC_KEY => match info.algorithm.parameters_oid() {
                Ok(rfc5912::SECP_256_R_1) => Pair::Ec(EcdsaKeyPair::from_pkcs8(P256, der).map_err(rejected)?),
                Ok(rfc5912::SECP_384_R_1) => Pair::Ec(EcdsaKeyPair::from_pkcs8(P384, der).map_err(rejected)?),
                Ok(other) => return Err(UnsupportedKey::Curve(name_of(other)).into()),
                Err(_) => return Err(UnsupportedKey::Curve("with explicit parameters".to_owned()).into()),
            },
            rfc8410::ID_ED_25519 => Pair::Ed25519(Ed25519KeyPair::from_pkcs8(der).map_err(rejected)?),
            other => return Err(UnsupportedKey::Kind(name_of(other)).into()),
        };
        Self::new(pair)
    }

    /// The key as a PKCS#8 `PRIVATE KEY` block.
    ///
    /// # Errors
    /// When the key cannot be written, which no key of a supported kind does.
    pub fn to_pkcs8_pem(&self) -> Result<Secret<String>, KeyError> {
        Ok(Secret::new(pem::encode("PRIVATE KEY", &self.pkcs8()?)))
    }

    /// The DER `SubjectPublicKeyInfo` of the public half.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        self.public.spki()
    }

    /// The public half.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Kind and size.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// What [`PrivateKey::sign`] makes.
    #[must_use]
    pub const fn signature_algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::for_key(self.algorithm)
    }

    /// Signs the message (not a digest of it) with [`PrivateKey::signature_algorithm`]; ECDSA in DER.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let rng = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&lc::RSA_PKCS1_SHA256, &rng, message, &mut signature).map_err(|_| KeyError::Sign)?;
                Ok(signature)
            }
            Pair::Ec(pair) => Ok(pair.sign(&rng, message).map_err(|_| KeyError::Sign)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.try_sign(message).map_err(|_| KeyError::Sign)?.as_ref().to_vec()),
        }
    }

    /// SEC 1 names the curve inside, or leaves it out: the two that we support are tried.
    fn from_sec1_der(der: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_private_key_der(P256, der).or_else(|_| EcdsaKeyPair::from_private_key_der(P384, der));
        Self::new(Pair::Ec(pair.map_err(|_| KeyError::Malformed("it is not an EC key on P-256 or P-384".to_owned()))?))
    }

    fn new(pair: Pair) -> Result<Self, KeyError> {
        let public = PublicKey::from_spki(pair.spki()?.as_ref())?;
        let algorithm = public.supported()?;
        Ok(Self { pair, public, algorithm })
    }

    fn pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let der = match &self.pair {
            Pair::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair).map(|der| der.as_ref().to_vec()),
            Pair::Ec(pair) => pair.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
            Pair::Ed25519(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair).map(|der| der.as_ref().to_vec()),
        };
        der.map(Zeroizing::new).map_err(|_| KeyError::Write)
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({}, [redacted])", self.algorithm)
    }
}

/// A private key cannot be made, read or used. Never says anything of the key itself.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system gave no randomness.
    #[error("a new key cannot be made: the system gives no randomness")]
    Generate,
    /// The PEM text cannot be read.
    #[error("the key file cannot be read")]
    Pem(#[from] PemError),
    /// No block that ends in `PRIVATE KEY`.
    #[error("there is no private key in the PEM text")]
    NoKey,
    /// More than one private key.
    #[error("there are {0} private keys in the PEM text, where one is expected")]
    SeveralKeys(usize),
    /// Under a password.
    #[error("the private key is encrypted; decrypt it first, for example with `openssl pkey -in key.pem`")]
    Encrypted,
    /// A block such as `DSA PRIVATE KEY`.
    #[error("a private key of the form `{0}` is not supported; convert it to PKCS#8 with `openssl pkcs8 -topk8 -nocrypt`")]
    UnknownForm(String),
    /// The bytes are no consistent key.
    #[error("the private key cannot be read: {0}")]
    Malformed(String),
    /// A readable key of a kind that is not supported.
    #[error("the private key is not supported")]
    Unsupported(#[from] UnsupportedKey),
    /// The public half cannot be read.
    #[error("the public half of the key cannot be read")]
    Public(#[from] MalformedKey),
    /// The key cannot be written as PKCS#8.
    #[error("the private key cannot be written")]
    Write,
    /// The key did not sign.
    #[error("the private key did not sign: the system gives no randomness")]
    Sign,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Pair {
    fn spki(&self) -> Result<PublicKeyX509Der<'static>, KeyError> {
        let failed = |_| KeyError::Write;
        match self {
            Self::Rsa(pair) => pair.public_key().as_der().map_err(failed),
            Self::Ec(pair) => pair.public_key().as_der().map_err(failed),
            Self::Ed25519(pair) => pair.public_key().as_der().map_err(failed),
        }
    }
}

fn rejected(reason: aws_lc_rs::error::KeyRejected) -> KeyError {
    KeyError::Malformed(reason.to_string())
}

static P256: &EcdsaSigningAlgorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
static P384: &EcdsaSigningAlgorithm = &ECDSA_P384_SHA384_ASN1_SIGNING;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_signs_and_survives_a_round_trip_through_pem() {
        for algorithm in KeyAlgorithm::ALL {
            let key = PrivateKey::generate(algorithm).unwrap();
            let pem = key.to_pkcs8_pem().unwrap();
            let read = PrivateKey::from_pem(&format!("some words\n{}", pem.expose())).unwrap();
            assert_eq!((read.algorithm(), read.spki()), (algorithm, key.spki()));
            let signature = read.sign(b"message").unwrap();
            key.public_key().verify(key.signature_algorithm(), b"message", &signature).unwrap();
        }
    }

    #[test]
    fn is_never_shown() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(ECDSA-P256, [redacted])");
        assert_eq!(format!("{:?}", key.to_pkcs8_pem().unwrap()), "[redacted]");
    }

    #[test]
    fn refuses_what_is_not_one_plain_key() {
        let one = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap().to_pkcs8_pem().unwrap();
        let two = format!("{0}{0}", one.expose());
        for (text, wanted) in [
            ("", "no private key"),
            (two.as_str(), "2 private keys"),
            (&pem::encode("ENCRYPTED PRIVATE KEY", b"x"), "encrypted"),
            (&pem::encode("DSA PRIVATE KEY", b"x"), "openssl pkcs8"),
            (&pem::encode("PRIVATE KEY", b"x"), "not PKCS#8"),
            (&pem::encode("EC PRIVATE KEY", b"x"), "P-256 or P-384"),
            (&pem::encode("RSA PRIVATE KEY", b"x"), "cannot be read"),
            ("-----BEGIN PRIVATE KEY-----", "key file cannot be read"),
        ] {
            let error = PrivateKey::from_pem(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
