//! What is asked, read with bounds: anybody may send anything.

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode as _, Sequence};
use x509_cert::ext::Extension;

use super::id::CertId;

/// A request that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    ids: Vec<CertId>,
    nonce: Option<Nonce>,
}

/// A number used once, which the response repeats (RFC 9654).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(Vec<u8>);

/// Bytes that are no request that we answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedRequest {
    /// Longer than any honest request.
    #[error("the request has {0} bytes, and the most is {MOST_BYTES}")]
    TooLong(usize),
    /// Not an `OCSPRequest`.
    #[error("the request cannot be read")]
    Der(#[from] der::Error),
    /// Not of version 1.
    #[error("the request is of another version than 1")]
    Version,
    /// No certificate, or too many.
    #[error("the request asks about {0} certificates, where 1 to {MOST_CERTIFICATES} are answered")]
    Certificates(usize),
    /// Empty or too long.
    #[error("the nonce has {0} octets, where 1 to {LONGEST_NONCE} are allowed")]
    Nonce(usize),
    /// More than one nonce.
    #[error("the request has more than one nonce")]
    SeveralNonces,
    /// Something that must be understood and is not.
    #[error("the request has a critical extension that is not known: {0}")]
    CriticalExtension(ObjectIdentifier),
}

impl Request {
    /// Reads a DER `OCSPRequest` (RFC 6960 section 4.1.1). A signature on it is not asked for and not looked at.
    ///
    /// # Errors
    /// Says what is wrong; the client is told no more than "malformed".
    pub fn parse(der: &[u8]) -> Result<Self, MalformedRequest> {
        if der.len() > MOST_BYTES {
            return Err(MalformedRequest::TooLong(der.len()));
        }
        let body = Wire::from_der(der)?.body;
        if body.version != 0 {
            return Err(MalformedRequest::Version);
        }
        if body.requests.is_empty() || body.requests.len() > MOST_CERTIFICATES {
            return Err(MalformedRequest::Certificates(body.requests.len()));
        }
        for request in &body.requests {
            nothing_critical(request.extensions.iter().flatten())?;
        }
        let ids = body.requests.iter().map(|request| CertId::read(request.id)).collect::<der::Result<_>>()?;
        let extensions = body.extensions.unwrap_or_default();
        nothing_critical(extensions.iter().filter(|extension| extension.extn_id != Nonce::OID))?;
        Ok(Self { ids, nonce: nonce(&extensions)? })
    }

    /// Which certificates are asked about; at least one.
    #[must_use]
    pub fn ids(&self) -> &[CertId] {
        &self.ids
    }

    /// The nonce to be repeated.
    #[must_use]
    pub const fn nonce(&self) -> Option<&Nonce> {
        self.nonce.as_ref()
    }
}

impl Nonce {
    /// id-pkix-ocsp-nonce
    pub(super) const OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");

    /// The octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn nonce(extensions: &[Extension]) -> Result<Option<Nonce>, MalformedRequest> {
    let mut nonces = extensions.iter().filter(|extension| extension.extn_id == Nonce::OID);
    let (Some(extension), rest) = (nonces.next(), nonces.next()) else {
        return Ok(None);
    };
    if rest.is_some() {
        return Err(MalformedRequest::SeveralNonces);
    }
    let octets = <&OctetStringRef>::from_der(extension.extn_value.as_bytes())?.as_bytes();
    if octets.is_empty() || octets.len() > LONGEST_NONCE {
        return Err(MalformedRequest::Nonce(octets.len()));
    }
    Ok(Some(Nonce(octets.to_vec())))
}

fn nothing_critical<'a>(mut extensions: impl Iterator<Item = &'a Extension>) -> Result<(), MalformedRequest> {
    match extensions.find(|extension| extension.critical) {
        Some(extension) => Err(MalformedRequest::CriticalExtension(extension.extn_id)),
        None => Ok(()),
    }
}

#[derive(Sequence)]
struct Wire<'a> {
    body: Body<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    signature: Option<AnyRef<'a>>,
}

#[derive(Sequence)]
struct Body<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", default = "version_1")]
    version: u8,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    requestor: Option<AnyRef<'a>>,
    requests: Vec<One<'a>>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Sequence)]
struct One<'a> {
    id: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

const fn version_1() -> u8 {
    0
}

const MOST_BYTES: usize = 16 * 1024;
const MOST_CERTIFICATES: usize = 32;

/// RFC 9654 section 2.1.
const LONGEST_NONCE: usize = 128;

#[cfg(test)]
mod tests;
