//! Why a request was refused: a stable code for scripts, a sentence for people, and what to do next.

use certctl_domain::x509::InvalidName;

use crate::algorithm::UnsupportedSignature;
use crate::key::KeyError;
use crate::pem::PemError;
use crate::public_key::{BadSignature, MalformedKey, UnsupportedKey};
use crate::signed::SignedError;

/// A certificate signing request that is refused.
#[derive(Debug, thiserror::Error)]
pub enum CsrError {
    /// More bytes than any honest request has.
    #[error("the request has {size} bytes, more than the {limit} that are read")]
    TooLarge {
        /// Bytes received.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The PEM armor is broken.
    #[error("the request is not valid PEM")]
    Pem(#[from] PemError),
    /// There is no PEM block.
    #[error("the request is not PEM: it has no `-----BEGIN CERTIFICATE REQUEST-----` block")]
    NotPem,
    /// A block of another kind.
    #[error("the PEM block is a {0}, not a CERTIFICATE REQUEST")]
    WrongBlock(String),
    /// More than one block.
    #[error("there are {0} PEM blocks where one CERTIFICATE REQUEST is expected")]
    SeveralBlocks(usize),
    /// Not the DER of a PKCS #10 request (RFC 2986).
    #[error("the request is not a PKCS #10 structure")]
    Malformed(#[from] der::Error),
    /// A version other than 0.
    #[error("the request has version {0}; PKCS #10 knows only version 0")]
    Version(u8),
    /// SHA-1, MD5 and the like.
    #[error("the request is signed with an algorithm that is not accepted")]
    SignatureAlgorithm(#[from] UnsupportedSignature),
    /// No proof that the sender holds the private key.
    #[error("the signature of the request is not made by the key in it")]
    Signature(#[from] BadSignature),
    /// The public key cannot be read.
    #[error("the request has an unreadable public key")]
    KeyMalformed(#[from] MalformedKey),
    /// The public key is too weak or of a kind that is not supported.
    #[error("the request has a key that is not accepted")]
    Key(#[from] UnsupportedKey),
    /// A common name that cannot stand in a certificate.
    #[error("the common name of the request is not accepted")]
    CommonName(#[source] InvalidName),
    /// The common name is no text.
    #[error("the common name of the request is not text")]
    CommonNameEncoding,
    /// More than one common name.
    #[error("the request has {0} common names")]
    SeveralCommonNames(usize),
    /// An IP address written as a DNS name.
    #[error("the DNS name `{0}` is an IP address")]
    IpAsDnsName(String),
    /// A wildcard where none may be.
    #[error("the wildcard of a DNS name is not accepted")]
    Wildcard(#[source] InvalidName),
    /// A DNS name with characters outside ASCII, or in a form that certificates do not use.
    #[error("the name `{0}` is not in the form that certificates use")]
    NotWireForm(String),
    /// A name that is not valid as its kind.
    #[error("a name in the request is not accepted")]
    Name(#[source] InvalidName),
    /// An iPAddress that has neither 4 nor 16 octets.
    #[error("an IP address in the request has {0} octets instead of 4 or 16")]
    IpLength(usize),
    /// A kind of name that we do not issue.
    #[error("the request asks for a name of the kind {0}")]
    NameKind(&'static str),
    /// More names than one certificate may carry.
    #[error("the request asks for {found} names, more than {limit}")]
    TooManyNames {
        /// Names in the request.
        found: usize,
        /// Names allowed.
        limit: usize,
    },
    /// Neither a SAN nor a common name that can be one.
    #[error("the request names nothing: it has no subject alternative name, and no common name that could be one")]
    NoNames,
    /// A critical extension that we could not honor.
    #[error("the request asks for the critical extension {0}, which is not supported")]
    CriticalExtension(String),
    /// The same extension twice.
    #[error("the request asks for the extension {0} more than once")]
    DuplicateExtension(String),
    /// basicConstraints with CA:TRUE.
    #[error("the request asks for a CA certificate")]
    AsksForCa,
    /// The agent's own key failed while a request was being made.
    #[error("the request cannot be signed")]
    Sign(#[source] Box<KeyError>),
}

impl CsrError {
    pub(super) fn from_signed(error: SignedError) -> Self {
        match error {
            SignedError::Malformed(error) => Self::Malformed(error),
            SignedError::Algorithm(error) => Self::SignatureAlgorithm(error),
            SignedError::Signature(error) => Self::Signature(error),
        }
    }

    /// A stable word for scripts and problem bodies.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "csr_too_large",
            Self::Pem(_) | Self::NotPem => "csr_not_pem",
            Self::WrongBlock(_) => "csr_wrong_pem_block",
            Self::SeveralBlocks(_) => "csr_several_pem_blocks",
            Self::Malformed(_) | Self::Version(_) => "csr_malformed",
            Self::SignatureAlgorithm(_) => "csr_signature_algorithm",
            Self::Signature(_) => "csr_bad_signature",
            Self::KeyMalformed(_) => "csr_key_malformed",
            Self::Key(UnsupportedKey::RsaTooSmall(_)) => "csr_key_too_small",
            Self::Key(UnsupportedKey::Curve(_)) => "csr_curve_not_allowed",
            Self::Key(_) => "csr_key_not_supported",
            Self::CommonName(_) | Self::CommonNameEncoding | Self::SeveralCommonNames(_) => "csr_bad_common_name",
            Self::IpAsDnsName(_) => "csr_ip_in_dns_name",
            Self::Wildcard(_) => "csr_bad_wildcard",
            Self::NotWireForm(_) | Self::Name(_) => "csr_bad_name",
            Self::IpLength(_) => "csr_bad_ip_address",
            Self::NameKind(_) => "csr_name_kind_not_supported",
            Self::TooManyNames { .. } => "csr_too_many_names",
            Self::NoNames => "csr_no_names",
            Self::CriticalExtension(_) => "csr_critical_extension",
            Self::DuplicateExtension(_) => "csr_duplicate_extension",
            Self::AsksForCa => "csr_asks_for_ca",
            Self::Sign(_) => "csr_not_signed",
        }
    }

    /// What the sender can do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "send one request as made by `openssl req -new`, without anything around it",
            Self::Pem(_) | Self::NotPem | Self::Malformed(_) | Self::Version(_) | Self::KeyMalformed(_) => {
                "make the request anew, for example with `openssl req -new -key key.pem -subj /CN=web.example.test`, and send the PEM text as it is"
            }
            Self::WrongBlock(_) => "send the request, never a private key or a certificate",
            Self::SeveralBlocks(_) => "send each request on its own",
            Self::SignatureAlgorithm(_) => "sign the request with SHA-256 or better, for example `openssl req -new -sha256`",
            Self::Signature(_) => "make the request anew with the private key that belongs to it; a changed byte breaks the signature",
            Self::Key(UnsupportedKey::RsaTooSmall(_) | UnsupportedKey::RsaSize(_) | UnsupportedKey::RsaExponent) => {
                "make a new key, for example `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072`, or use ECDSA P-256"
            }
            Self::Key(_) => {
                "make a new key, for example `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`, or use RSA or Ed25519"
            }
            Self::CommonName(_) | Self::CommonNameEncoding | Self::SeveralCommonNames(_) => {
                "use one common name of at most 64 plain characters, or none at all: only subject alternative names count"
            }
            Self::IpAsDnsName(_) | Self::IpLength(_) => "ask for an address as IP:, for example `subjectAltName = IP:192.0.2.10`",
            Self::Wildcard(_) => "a wildcard is the whole leftmost label and has at least two labels behind it, such as *.example.test",
            Self::NotWireForm(_) => "write international names as A-labels (xn--...), without a dot at the end",
            Self::Name(_) => "correct the name and make the request anew",
            Self::NameKind(_) => "ask for DNS, IP, email or URI names only",
            Self::TooManyNames { .. } => "split the names over several certificates",
            Self::NoNames => "add the names, for example `openssl req -new -addext subjectAltName=DNS:web.example.test`",
            Self::CriticalExtension(_) => "leave the extension out or mark it as not critical",
            Self::DuplicateExtension(_) => "leave one of them out",
            Self::AsksForCa => "leave basicConstraints out; CA certificates are made through the issuer's intermediates",
            Self::Sign(_) => "look at the key file and at the system's randomness",
        }
    }
}
