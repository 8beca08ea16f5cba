//! Why a certificate is not made, and why a CA certificate is not taken in.

use certctl_domain::time::Timestamp;
use certctl_domain::x509::InvalidName;

use super::load::Outside;
use super::validity::InvalidValidity;
use crate::certificate::{CertificateError, NotSignedBy};
use crate::constraints::{InvalidConstraint, NotPermitted};
use crate::dn::InvalidSubject;
use crate::key::KeyError;
use crate::lint::{Finding, summary};
use crate::public_key::{BadSignature, MalformedKey, UnsupportedKey};
use crate::signer::SignError;

/// A certificate that our CA does not make.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A subject that would not be valid.
    #[error("the subject is not accepted")]
    Subject(#[from] InvalidSubject),
    /// A common name that no SAN can repeat.
    #[error("the common name cannot be a subject alternative name")]
    CommonName(#[source] InvalidName),
    /// More names than one certificate may carry.
    #[error("the names are not accepted")]
    Names(#[source] InvalidName),
    /// Neither a SAN nor a common name.
    #[error("the certificate would have no name")]
    NoNames,
    /// No extended key usage.
    #[error("the certificate would have no extended key usage")]
    NoUsages,
    /// timeStamping beside other usages (RFC 3161 section 2.3).
    #[error("timeStamping cannot stand beside other extended key usages")]
    TimeStampingNotAlone,
    /// Must-staple without an OCSP responder to staple from.
    #[error("must-staple needs an OCSP responder, and the issuer publishes none")]
    MustStapleWithoutOcsp,
    /// A URI that clients cannot fetch.
    #[error("`{0}` cannot be published: not an http or https URI")]
    PublicationUri(String),
    /// A key that we do not issue for.
    #[error("the key is not accepted")]
    Key(#[from] UnsupportedKey),
    /// A key that cannot be read.
    #[error("the key cannot be read")]
    MalformedKey(#[from] MalformedKey),
    /// The CA, or one above it, is expired.
    #[error("the CA `{subject}` expired at {at}")]
    IssuerExpired {
        /// Which CA.
        subject: String,
        /// When.
        at: Timestamp,
    },
    /// The CA, or one above it, is not valid yet.
    #[error("the CA `{subject}` is valid only from {at}")]
    IssuerNotYetValid {
        /// Which CA.
        subject: String,
        /// When.
        at: Timestamp,
    },
    /// Nothing is left of the validity.
    #[error("the validity is not accepted")]
    Validity(#[from] InvalidValidity),
    /// A name that the CA may not issue for.
    #[error("the name constraints of the CA do not allow it")]
    NotPermitted(#[from] NotPermitted),
    /// A usage that the CA may not issue for.
    #[error("the CA `{subject}` may not issue for {usage}")]
    UsageNotPermitted {
        /// Which CA.
        subject: String,
        /// Which usage.
        usage: String,
    },
    /// No CA may stand below this one, or not as many.
    #[error("the path length of the CA allows {allowed} more CAs below it; {wanted} were asked for")]
    PathLength {
        /// CAs that may follow.
        allowed: u32,
        /// CAs that were to follow.
        wanted: u32,
    },
    /// The lint certificate breaks rules.
    #[error("the certificate would break rules: {}", summary(.0))]
    Lint(Vec<Finding>),
    /// Stored bytes that this CA did not prepare.
    #[error("the prepared bytes are not for this CA: {0}")]
    NotOurs(&'static str),
    /// The signer holds another key than the CA certificate.
    #[error("the signing key is not the key of the CA `{0}`")]
    OtherSigner(String),
    /// No signature.
    #[error("the certificate was not signed")]
    Sign(#[from] SignError),
    /// A signature that does not verify.
    #[error("the signer made a signature that does not verify")]
    SignatureOfSigner(#[source] BadSignature),
    /// No throw-away key for the lint certificate.
    #[error("the lint certificate cannot be made")]
    SampleKey(#[from] KeyError),
    /// The signed bytes cannot be read.
    #[error("the signed certificate cannot be read")]
    Unreadable(#[source] Box<CertificateError>),
    /// Something cannot be written as DER.
    #[error("the certificate cannot be written")]
    Encode(#[from] der::Error),
}

impl From<Outside<'_>> for IssueError {
    fn from(outside: Outside<'_>) -> Self {
        match outside {
            Outside::Expired(ca) => Self::IssuerExpired { subject: ca.subject().to_owned(), at: ca.not_after() },
            Outside::NotYetValid(ca) => Self::IssuerNotYetValid { subject: ca.subject().to_owned(), at: ca.not_before() },
        }
    }
}

impl IssueError {
    /// What an operator or requester can do about it, where there is something.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::CommonName(_) => "leave the common name out, or use a host name, address or e-mail address",
            Self::NoNames => "ask for at least one subject alternative name",
            Self::NoUsages => "allow an extended key usage in the profile, such as serverAuth",
            Self::TimeStampingNotAlone => "use a profile of its own for time stamping",
            Self::MustStapleWithoutOcsp => "configure the OCSP address of the issuer, or turn must-staple off in the profile",
            Self::PublicationUri(_) => "use an http:// address that clients can reach",
            Self::Key(_) => "make a new key: ECDSA P-256 or P-384, Ed25519, or RSA of 2048, 3072 or 4096 bits",
            Self::IssuerExpired { .. } => "renew the CA certificate, or move the profile to another issuer",
            Self::IssuerNotYetValid { .. } => "check the clock of this machine",
            Self::NotPermitted(_) | Self::UsageNotPermitted { .. } => "use an issuer whose CA certificate allows it",
            Self::PathLength { .. } => "put the new CA below one that allows more CAs under it",
            Self::OtherSigner(_) => "configure the key that belongs to the CA certificate",
            Self::Sign(SignError::Unavailable(_)) => "check that the HSM or KMS is reachable; the job will try again",
            _ => return None,
        })
    }
}

/// A CA certificate that is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The certificates cannot be read.
    #[error("the CA certificate cannot be read")]
    Certificate(#[from] CertificateError),
    /// The key is not the key of the certificate.
    #[error("the private key does not belong to the CA certificate `{0}`")]
    KeyMismatch(String),
    /// A key that cannot sign here.
    #[error("the key of the CA is not accepted")]
    Key(#[from] UnsupportedKey),
    /// basicConstraints do not say CA:TRUE.
    #[error("`{0}` is not a CA certificate: basicConstraints do not say CA:TRUE")]
    NotCa(String),
    /// keyUsage has no keyCertSign.
    #[error("the CA `{0}` may not sign certificates: its keyUsage has no keyCertSign")]
    NoCertSign(String),
    /// Expired.
    #[error("the CA `{subject}` expired at {at}")]
    Expired {
        /// Which CA.
        subject: String,
        /// When.
        at: Timestamp,
    },
    /// Not valid yet.
    #[error("the CA `{subject}` is valid only from {at}")]
    NotYetValid {
        /// Which CA.
        subject: String,
        /// When.
        at: Timestamp,
    },
    /// A certificate that is not followed by its issuer.
    #[error("the CA chain is broken at `{subject}`")]
    Chain {
        /// Whose issuer does not follow.
        subject: String,
        /// Why.
        #[source]
        source: NotSignedBy,
    },
    /// More CAs in the chain than one of them allows.
    #[error("the CA `{subject}` allows {allowed} CAs below it; the chain has {found}")]
    PathLength {
        /// Which CA.
        subject: String,
        /// CAs that may follow.
        allowed: u32,
        /// CAs that follow.
        found: u32,
    },
    /// Name constraints that we could not keep.
    #[error("the name constraints of the CA `{subject}` are not supported")]
    NameConstraints {
        /// Which CA.
        subject: String,
        /// Why.
        #[source]
        source: InvalidConstraint,
    },
    /// A critical extension that we do not know.
    #[error("the CA `{subject}` has the critical extension {extension}, which is not supported")]
    CriticalExtension {
        /// Which CA.
        subject: String,
        /// Which extension.
        extension: String,
    },
    /// No throw-away key for lint certificates.
    #[error("a key for lint certificates cannot be made")]
    SampleKey(#[from] KeyError),
}

impl From<Outside<'_>> for ImportError {
    fn from(outside: Outside<'_>) -> Self {
        match outside {
            Outside::Expired(ca) => Self::Expired { subject: ca.subject().to_owned(), at: ca.not_after() },
            Outside::NotYetValid(ca) => Self::NotYetValid { subject: ca.subject().to_owned(), at: ca.not_before() },
        }
    }
}

impl ImportError {
    /// What an operator can do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "give the CA certificate as PEM, followed by the certificates above it",
            Self::KeyMismatch(_) => "give the private key from which the CA's request was made; the CA certificate comes first in its file",
            Self::Key(_) => "use a CA key of ECDSA P-256 or P-384, Ed25519, or RSA of 2048, 3072 or 4096 bits",
            Self::NotCa(_) | Self::NoCertSign(_) => "ask the CA above for a subordinate CA certificate",
            Self::Expired { .. } => "renew the CA certificate with the CA above it",
            Self::NotYetValid { .. } => "check the clock of this machine",
            Self::Chain { .. } => "put the certificates in order: issuing CA first, each followed by its issuer",
            Self::PathLength { .. } => "ask the CA above for a greater path length",
            Self::NameConstraints { .. } | Self::CriticalExtension { .. } => "ask the CA above for a certificate without it",
            Self::SampleKey(_) => "check the system's randomness",
        }
    }
}
