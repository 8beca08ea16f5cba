//! The seam to whatever holds a CA key: this process today, an HSM or a cloud KMS behind the same trait.

use async_trait::async_trait;

use crate::algorithm::SignatureAlgorithm;
use crate::key::{KeyError, PrivateKey};

/// Something that signs with one key and one algorithm.
#[async_trait]
pub trait Signer: Send + Sync {
    /// The DER `SubjectPublicKeyInfo` of the key.
    fn public_key_spki(&self) -> &[u8];

    /// What [`Signer::sign`] makes.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// Signs the whole message; the digest is the signer's own work. ECDSA signatures are DER (RFC 3279 section 2.2.3).
    ///
    /// # Errors
    /// When the key cannot be reached now, or refuses.
    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// No signature was made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key cannot be reached now; another try may succeed.
    #[error("the signing key cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The key answered, and the answer is no.
    #[error("the signing key refused")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A [`Signer`] over a key in this process.
#[derive(Debug)]
pub struct SoftwareSigner(PrivateKey);

impl SoftwareSigner {
    /// Takes the key in.
    #[must_use]
    pub const fn new(key: PrivateKey) -> Self {
        Self(key)
    }

    /// The key, to be stored.
    #[must_use]
    pub const fn key(&self) -> &PrivateKey {
        &self.0
    }
}

impl From<PrivateKey> for SoftwareSigner {
    fn from(key: PrivateKey) -> Self {
        Self::new(key)
    }
}

#[async_trait]
impl Signer for SoftwareSigner {
    fn public_key_spki(&self) -> &[u8] {
        self.0.spki()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.signature_algorithm()
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.0.sign(message).map_err(|error: KeyError| SignError::Refused(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use certctl_domain::x509::KeyAlgorithm;

    use super::*;
    use crate::public_key::PublicKey;

    #[tokio::test]
    async fn signs_for_every_kind_of_key() {
        for algorithm in KeyAlgorithm::ALL {
            let signer: Box<dyn Signer> = Box::new(SoftwareSigner::new(PrivateKey::generate(algorithm).unwrap()));
            let signature = signer.sign(b"message").await.unwrap();
            let public = PublicKey::from_spki(signer.public_key_spki()).unwrap();
            public.verify(signer.algorithm(), b"message", &signature).unwrap();
        }
    }
}
