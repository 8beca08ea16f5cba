//! The verifier that accepts any certificate and remembers it. It stands here and nowhere else.
//!
//! It does check the handshake's signature: without that, anybody could show a certificate whose key they do not have.

use std::sync::{Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs::default_provider, verify_tls12_signature, verify_tls13_signature};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The families of keys between which a server with several certificates chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// RSA
    Rsa,
    /// ECDSA
    Ecdsa,
    /// Ed25519
    Ed25519,
}

impl KeyKind {
    /// The kind of a certificate's key; `None` when it is another.
    #[must_use]
    pub fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        match certificate.public_key().algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.1" => Some(Self::Rsa),
            "1.2.840.10045.2.1" => Some(Self::Ecdsa),
            "1.3.101.112" => Some(Self::Ed25519),
            _ => None,
        }
    }

    fn signs_with(self, scheme: SignatureScheme) -> bool {
        use SignatureScheme as S;
        match self {
            Self::Rsa => matches!(
                scheme,
                S::RSA_PKCS1_SHA256 | S::RSA_PKCS1_SHA384 | S::RSA_PKCS1_SHA512 | S::RSA_PSS_SHA256 | S::RSA_PSS_SHA384 | S::RSA_PSS_SHA512
            ),
            Self::Ecdsa => matches!(scheme, S::ECDSA_NISTP256_SHA256 | S::ECDSA_NISTP384_SHA384 | S::ECDSA_NISTP521_SHA512),
            Self::Ed25519 => scheme == S::ED25519,
        }
    }
}

/// Accepts any chain; remembers the one whose key was proven.
#[derive(Debug)]
pub(super) struct AcceptAny {
    provider: CryptoProvider,
    key_kind: Option<KeyKind>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    chain: Vec<CertificateDer<'static>>,
    proven: bool,
}

impl AcceptAny {
    pub(super) fn new(key_kind: Option<KeyKind>) -> Self {
        Self { provider: default_provider(), key_kind, seen: Mutex::default() }
    }

    /// The chain, once the server has signed with the leaf's key.
    pub(super) fn proven(&self) -> Option<Vec<CertificateDer<'static>>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.proven.then(|| seen.chain.clone())
    }

    fn note_proof(&self, valid: HandshakeSignatureValid) -> HandshakeSignatureValid {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).proven = true;
        valid
    }
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned()).collect();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen { chain, proven: false };
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms).map(|valid| self.note_proof(valid))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms).map(|valid| self.note_proof(valid))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.provider.signature_verification_algorithms.supported_schemes();
        if let Some(kind) = self.key_kind {
            schemes.retain(|scheme| kind.signs_with(*scheme));
        }
        schemes
    }
}
