//! The shape that requests, certificates and lists share: a body, an algorithm, a signature over the body's bytes.

use der::asn1::{AnyRef, BitStringRef};
use der::{Decode as _, Encode as _, Sequence};

use crate::algorithm::{SignatureAlgorithm, UnsupportedSignature};
use crate::public_key::{BadSignature, PublicKey};

/// `SIGNED{}` (RFC 5280 section 4.1, RFC 2986 section 4.2). The parts stay bytes: the signature is over them as they came.
#[derive(Sequence)]
pub(crate) struct Signed<'a> {
    body: AnyRef<'a>,
    algorithm: AnyRef<'a>,
    signature: BitStringRef<'a>,
}

impl Signed<'_> {
    /// The DER of the body. DER has one form for a length, so this is byte for byte what was read.
    pub(crate) fn body(&self) -> der::Result<Vec<u8>> {
        self.body.to_der()
    }

    /// What the signature says it was made with.
    pub(crate) fn algorithm(&self) -> Result<SignatureAlgorithm, UnsupportedSignature> {
        SignatureAlgorithm::from_any(self.algorithm)
    }

    /// Whether the key made the signature.
    pub(crate) fn verify(&self, key: &PublicKey) -> Result<(), SignedError> {
        let algorithm = self.algorithm()?;
        let signature = self.signature.as_bytes().ok_or_else(|| der::Error::from(der::Tag::BitString.value_error()))?;
        Ok(key.verify(algorithm, &self.body()?, signature)?)
    }

    /// The DER of body, algorithm and signature together.
    pub(crate) fn assemble(body: &[u8], algorithm: SignatureAlgorithm, signature: &[u8]) -> der::Result<Vec<u8>> {
        let algorithm = algorithm.to_any()?;
        Signed { body: AnyRef::from_der(body)?, algorithm: algorithm.to_ref(), signature: BitStringRef::from_bytes(signature)? }.to_der()
    }
}

/// A signature that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// Not `SIGNED{}`.
    #[error("the signed structure cannot be read")]
    Malformed(#[from] der::Error),
    /// Too weak, or unknown.
    #[error("the signature is not accepted")]
    Algorithm(#[from] UnsupportedSignature),
    /// Not made by the key.
    #[error("the signature is not made by the expected key")]
    Signature(#[from] BadSignature),
}

#[cfg(test)]
mod tests {
    use certctl_domain::x509::KeyAlgorithm;

    use super::*;
    use crate::key::PrivateKey;

    #[test]
    fn what_is_assembled_verifies_and_nothing_else() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP384).unwrap();
        let body = [0x30, 3, 2, 1, 7];
        let signature = key.sign(&body).unwrap();
        let der = Signed::assemble(&body, key.signature_algorithm(), &signature).unwrap();
        let read = Signed::from_der(&der).unwrap();
        assert_eq!(read.body().unwrap(), body);
        assert_eq!(read.verify(key.public_key()), Ok(()));

        let other = PrivateKey::generate(KeyAlgorithm::EcdsaP384).unwrap();
        assert_eq!(read.verify(other.public_key()), Err(BadSignature::DoesNotVerify.into()));
        let mut changed = der.clone();
        changed[6] ^= 1;
        assert!(Signed::from_der(&changed).unwrap().verify(key.public_key()).is_err());
    }
}
