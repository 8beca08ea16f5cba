//! What is answered: a signed response, or one of the refusals that need no signature.

use certctl_domain::time::Timestamp;
use certctl_domain::x509::RevocationReason;
use const_oid::db::rfc6960;
use der::Encode as _;

use super::id::{CertId, IssuerHashes};
use super::request::Nonce;
use crate::certificate::Certificate;
use crate::public_key::BadSignature;
use crate::signer::{SignError, Signer};
use crate::tlv::{self, Weight};

/// How a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertStatus {
    /// It was issued and is not revoked.
    Good,
    /// It was revoked.
    Revoked {
        /// Since when.
        at: Timestamp,
        /// Why.
        reason: RevocationReason,
    },
    /// Nothing is known of it.
    Unknown,
}

/// The answer about one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Single<'a> {
    /// Which, as it was asked.
    pub id: &'a CertId,
    /// How it stands.
    pub status: CertStatus,
    /// As of when that is known to be so.
    pub this_update: Timestamp,
    /// By when something newer is known.
    pub next_update: Timestamp,
}

/// A response that is to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseSpec<'a> {
    /// Now.
    pub produced_at: Timestamp,
    /// In the order of the request.
    pub singles: &'a [Single<'a>],
    /// The request's nonce.
    pub nonce: Option<&'a Nonce>,
}

/// Why there is no answer (RFC 6960 section 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// What came is no request.
    Malformed,
    /// A fault of ours.
    InternalError,
    /// Not now.
    TryLater,
    /// Not ours to answer (RFC 5019 section 2.2.3).
    Unauthorized,
}

/// A response that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum OcspError {
    /// A time cannot be written.
    #[error("the response cannot be written")]
    Der(#[from] der::Error),
    /// The key did not sign.
    #[error("the response was not signed")]
    Sign(#[from] SignError),
    /// The key signed something else.
    #[error("the signer's signature does not verify")]
    SignatureOfSigner(#[source] BadSignature),
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Malformed, Self::InternalError, Self::TryLater, Self::Unauthorized];

    /// The DER of the whole response.
    #[must_use]
    pub const fn to_der(self) -> &'static [u8] {
        match self {
            Self::Malformed => &[tlv::SEQUENCE, 3, tlv::ENUMERATED, 1, 1],
            Self::InternalError => &[tlv::SEQUENCE, 3, tlv::ENUMERATED, 1, 2],
            Self::TryLater => &[tlv::SEQUENCE, 3, tlv::ENUMERATED, 1, 3],
            Self::Unauthorized => &[tlv::SEQUENCE, 3, tlv::ENUMERATED, 1, 6],
        }
    }

    /// In a word, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::InternalError => "internal_error",
            Self::TryLater => "try_later",
            Self::Unauthorized => "unauthorized",
        }
    }
}

/// Signs a response with the responder's key; gives the DER of the whole `OCSPResponse`.
pub(super) async fn sign(
    spec: &ResponseSpec<'_>,
    certificate: &Certificate,
    hashes: &IssuerHashes,
    signer: &dyn Signer,
) -> Result<Vec<u8>, OcspError> {
    let body = data(spec, hashes)?;
    let signature = signer.sign(&body).await?;
    certificate.public_key().verify(signer.algorithm(), &body, &signature).map_err(OcspError::SignatureOfSigner)?;
    let basic = tlv::sequence(&[
        &body,
        &signer.algorithm().to_any()?.to_der()?,
        // No bit of the last octet is unused.
        &tlv::value(tlv::BIT_STRING, &[&[0], signature.as_slice()].concat()),
        &tlv::value(tlv::explicit(0), &tlv::sequence(&[certificate.der()])),
    ]);
    let bytes = tlv::sequence(&[&rfc6960::ID_PKIX_OCSP_BASIC.to_der()?, &tlv::value(tlv::OCTET_STRING, &basic)]);
    let successful = [tlv::ENUMERATED, 1, 0];
    Ok(tlv::sequence(&[&successful, &tlv::value(tlv::explicit(0), &bytes)]))
}

/// `ResponseData` (RFC 6960 section 4.2.1), of version 1, which is not written; the responder by its key.
fn data(spec: &ResponseSpec<'_>, hashes: &IssuerHashes) -> der::Result<Vec<u8>> {
    let by_key = tlv::value(tlv::explicit(2), &tlv::value(tlv::OCTET_STRING, hashes.key_sha1()));
    let singles = spec.singles.iter().map(single).collect::<der::Result<Vec<_>>>()?;
    let extensions = match spec.nonce {
        Some(nonce) => {
            let value = tlv::value(tlv::OCTET_STRING, nonce.as_bytes());
            tlv::value(tlv::explicit(1), &tlv::sequence(&[&tlv::extension(Nonce::OID, Weight::Plain, &value)?]))
        }
        None => Vec::new(),
    };
    Ok(tlv::sequence(&[&by_key, &tlv::generalized_time(spec.produced_at)?, &tlv::value(tlv::SEQUENCE, &singles.concat()), &extensions]))
}

fn single(single: &Single<'_>) -> der::Result<Vec<u8>> {
    let status = match single.status {
        CertStatus::Good => tlv::value(tlv::implicit(0), &[]),
        CertStatus::Unknown => tlv::value(tlv::implicit(2), &[]),
        CertStatus::Revoked { at, reason } => {
            let reason = match reason {
                RevocationReason::Unspecified => Vec::new(),
                reason => tlv::value(tlv::explicit(0), &[tlv::ENUMERATED, 1, reason.code()]),
            };
            tlv::value(tlv::explicit(1), &[tlv::generalized_time(at)?, reason].concat())
        }
    };
    Ok(tlv::sequence(&[
        single.id.der(),
        &status,
        &tlv::generalized_time(single.this_update)?,
        &tlv::value(tlv::explicit(0), &tlv::generalized_time(single.next_update)?),
    ]))
}
