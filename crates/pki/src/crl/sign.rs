//! From entries to a signed list.

use certctl_domain::time::Timestamp;
use certctl_domain::x509::UriName;
use const_oid::db::rfc5280;
use der::Encode as _;

use super::entries::Entries;
use crate::certificate::Certificate;
use crate::public_key::BadSignature;
use crate::signed::Signed;
use crate::signer::{SignError, Signer};
use crate::tlv::{self, Weight};
use crate::{identifiers, tbs};

/// What a list says beside its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlSpec {
    /// Grows from list to list of one CA (RFC 5280 section 5.2.3).
    pub number: u64,
    /// As of when.
    pub this_update: Timestamp,
    /// By when there is a newer one.
    pub next_update: Timestamp,
    /// The distribution point of the certificates that it is about; `None` for a list about all certificates of the CA.
    pub distribution_point: Option<UriName>,
}

/// A list that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CrlError {
    /// A time or a name cannot be written.
    #[error("the list cannot be written")]
    Der(#[from] der::Error),
    /// keyUsage without cRLSign.
    #[error("the CA certificate of {0} does not allow signing revocation lists (cRLSign)")]
    NotAllowed(String),
    /// Another key than the certificate's.
    #[error("the signer does not hold the key of {0}")]
    OtherSigner(String),
    /// The key did not sign.
    #[error("the list was not signed")]
    Sign(#[from] SignError),
    /// The key signed something else.
    #[error("the signer's signature does not verify")]
    SignatureOfSigner(#[source] BadSignature),
}

/// Signs a list; gives its DER.
///
/// # Errors
/// When the CA may not sign lists, the signer holds another key, or the signer fails.
pub async fn sign(spec: &CrlSpec, entries: Entries, ca: &Certificate, signer: &dyn Signer) -> Result<Vec<u8>, CrlError> {
    if !ca.key_usage_permits(|usage| usage.crl_sign()) {
        return Err(CrlError::NotAllowed(ca.subject().to_owned()));
    }
    if signer.public_key_spki() != ca.spki() {
        return Err(CrlError::OtherSigner(ca.subject().to_owned()));
    }
    let body = body(spec, &entries, ca, signer)?;
    // A long list should not be in memory more often than it must.
    drop(entries);
    let signature = signer.sign(&body).await?;
    ca.public_key().verify(signer.algorithm(), &body, &signature).map_err(CrlError::SignatureOfSigner)?;
    Ok(Signed::assemble(&body, signer.algorithm(), &signature)?)
}

/// `TBSCertList` of version 2 (RFC 5280 section 5.1).
fn body(spec: &CrlSpec, entries: &Entries, ca: &Certificate, signer: &dyn Signer) -> Result<Vec<u8>, CrlError> {
    let mut fields = tlv::integer(V2);
    fields.extend(signer.algorithm().to_any()?.to_der()?);
    fields.extend_from_slice(ca.subject_der());
    fields.extend(tbs::time(spec.this_update)?.to_der()?);
    fields.extend(tbs::time(spec.next_update)?.to_der()?);
    if entries.count() > 0 {
        // Absent when empty (section 5.1.2.6).
        tlv::head(&mut fields, tlv::SEQUENCE, entries.der().len());
    }
    let extensions = tlv::value(tlv::explicit(0), &extensions(spec, ca)?);
    let mut body = Vec::with_capacity(fields.len() + entries.der().len() + extensions.len() + 6);
    tlv::head(&mut body, tlv::SEQUENCE, fields.len() + entries.der().len() + extensions.len());
    body.extend(fields);
    body.extend_from_slice(entries.der());
    body.extend(extensions);
    Ok(body)
}

fn extensions(spec: &CrlSpec, ca: &Certificate) -> Result<Vec<u8>, CrlError> {
    let authority = identifiers::authority_key_id(ca).to_der()?;
    let authority = tlv::extension(rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER, Weight::Plain, &authority)?;
    let number = tlv::extension(rfc5280::ID_CE_CRL_NUMBER, Weight::Plain, &tlv::integer(spec.number))?;
    let scope = match &spec.distribution_point {
        // Must be critical, and the same name as in the certificates (section 5.2.5).
        Some(point) => {
            let name = tlv::value(tlv::implicit(6), point.as_str().as_bytes());
            let point = tlv::value(tlv::explicit(0), &tlv::value(tlv::explicit(0), &name));
            tlv::extension(rfc5280::ID_CE_ISSUING_DISTRIBUTION_POINT, Weight::Critical, &tlv::sequence(&[&point]))?
        }
        None => Vec::new(),
    };
    Ok(tlv::sequence(&[&authority, &number, &scope]))
}

/// Version 2 is written as 1.
const V2: u64 = 1;
