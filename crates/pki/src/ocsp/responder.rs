//! Delegated responders (RFC 6960 section 4.2.2.2): a short-lived certificate whose key answers in the CA's place.

use certctl_domain::time::Timestamp;
use certctl_domain::x509::Serial;
use const_oid::db::{rfc5280, rfc6960};
use der::asn1::{Any, Null, OctetString};
use der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectKeyIdentifier};

use super::id::IssuerHashes;
use super::response::{self, OcspError, ResponseSpec};
use crate::authority::Validity;
use crate::certificate::{Certificate, CertificateError};
use crate::dn::{InvalidSubject, Subject};
use crate::identifiers;
use crate::public_key::{BadSignature, PublicKey};
use crate::signed::Signed;
use crate::signer::{SignError, Signer};
use crate::tbs::{self, Extensions, TbsCertificate, Times, V3};

/// A responder with its key.
pub struct Responder {
    certificate: Certificate,
    hashes: IssuerHashes,
    signer: Box<dyn Signer>,
}

/// A responder that cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum ResponderError {
    /// The CA's name is too odd.
    #[error("the responder's subject is not possible")]
    Subject(#[from] InvalidSubject),
    /// Something cannot be written.
    #[error("the responder's certificate cannot be written")]
    Der(#[from] der::Error),
    /// The CA's key did not sign.
    #[error("the responder's certificate was not signed")]
    Sign(#[from] SignError),
    /// The CA's key signed something else, or is another key.
    #[error("the signer's signature does not verify")]
    SignatureOfSigner(#[source] BadSignature),
    /// What was signed cannot be read.
    #[error("the responder's certificate cannot be read")]
    Unreadable(#[source] Box<CertificateError>),
    /// The certificate is of another key.
    #[error("the responder's certificate is not for the key that is kept with it")]
    OtherKey,
}

/// Certifies a responder's key: digital signature, OCSP signing, and id-pkix-ocsp-nocheck, because it would have to answer about itself.
///
/// # Errors
/// When the CA does not sign, or is another one than the signer.
pub async fn certify(
    key: &PublicKey,
    serial: &Serial,
    validity: Validity,
    ca: &Certificate,
    signer: &dyn Signer,
) -> Result<Certificate, ResponderError> {
    let mut extensions = Extensions::default();
    extensions.critical(&KeyUsage(KeyUsages::DigitalSignature.into()))?;
    extensions.plain(&ExtendedKeyUsage(vec![rfc5280::ID_KP_OCSP_SIGNING]))?;
    extensions.critical(&BasicConstraints { ca: false, path_len_constraint: None })?;
    extensions.plain(&SubjectKeyIdentifier(OctetString::new(key.key_id())?))?;
    extensions.plain_raw(rfc6960::ID_PKIX_OCSP_NOCHECK, &Null.to_der()?)?;
    extensions.plain(&identifiers::authority_key_id(ca))?;
    let tbs = TbsCertificate {
        version: V3,
        serial: tbs::serial(serial)?,
        signature: signer.algorithm().to_any()?,
        issuer: Any::from_der(ca.subject_der())?,
        validity: Times { not_before: tbs::time(validity.not_before())?, not_after: tbs::time(validity.not_after())? },
        subject: subject(ca)?.to_any()?,
        public_key: Any::from_der(key.spki())?,
        extensions: extensions.into_vec(),
    };
    let body = tbs.to_der()?;
    let signature = signer.sign(&body).await?;
    ca.public_key().verify(signer.algorithm(), &body, &signature).map_err(ResponderError::SignatureOfSigner)?;
    let der = Signed::assemble(&body, signer.algorithm(), &signature)?;
    Certificate::parse_der(&der).map_err(|error| ResponderError::Unreadable(Box::new(error)))
}

impl Responder {
    /// Over its certificate and its key.
    ///
    /// # Errors
    /// When they do not belong together.
    pub fn new(certificate: Certificate, signer: Box<dyn Signer>) -> Result<Self, ResponderError> {
        if signer.public_key_spki() != certificate.spki() {
            return Err(ResponderError::OtherKey);
        }
        let hashes = IssuerHashes::of(&certificate);
        Ok(Self { certificate, hashes, signer })
    }

    /// Its certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Until when clients accept what it signs.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.certificate.not_after()
    }

    /// Signs a response; gives the DER of the whole `OCSPResponse`.
    ///
    /// # Errors
    /// When a time cannot be written, or the key does not sign.
    pub async fn sign(&self, spec: &ResponseSpec<'_>) -> Result<Vec<u8>, OcspError> {
        response::sign(spec, &self.certificate, &self.hashes, self.signer.as_ref()).await
    }
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responder").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// A common name has at most 64 characters (RFC 5280 appendix A.1).
fn subject(ca: &Certificate) -> Result<Subject, InvalidSubject> {
    let name: String = ca.common_name().unwrap_or("certctl").chars().take(64 - PREFIX.len()).collect();
    Subject::with_common_name(&format!("{PREFIX}{}", name.trim_end()))
}

const PREFIX: &str = "OCSP Responder for ";
