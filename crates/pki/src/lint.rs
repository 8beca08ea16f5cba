//! What must hold before a certificate of ours is signed, and before one of another CA is kept. Pure checks over bytes.

mod issued;
mod structure;

pub use self::issued::{Expected, check_issued};
pub use self::structure::{Role, check_structure};

/// One rule that a certificate or chain breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", rule.code())]
pub struct Finding {
    rule: Rule,
    detail: String,
}

impl Finding {
    /// Which rule.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// What was found, for a reader.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// The rules, each with a stable code.
macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)*) => {
        /// A rule that certificates must keep.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Rule {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Rule {
            /// A stable word for scripts and logs.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

rules! {
    /// Strict DER of a version 3 certificate.
    Encoding = "encoding",
    /// Version 3 (RFC 5280 section 4.1.2.1).
    Version = "version",
    /// Positive, at most 20 octets (RFC 5280 section 4.1.2.2).
    SerialNumber = "serial_number",
    /// A digest of today, the same inside and outside (RFC 5280 section 4.1.1.2).
    SignatureAlgorithm = "signature_algorithm",
    /// notBefore before notAfter, each in its encoding (RFC 5280 section 4.1.2.5).
    Validity = "validity",
    /// A key that is strong and of a supported kind.
    Key = "key",
    /// Names present, valid, and with the criticality that the subject asks for (RFC 5280 section 4.2.1.6).
    SubjectAltName = "subject_alt_name",
    /// The common name is one of the names.
    CommonName = "common_name",
    /// A CA has a subject (RFC 5280 section 4.1.2.6).
    Subject = "subject",
    /// keyUsage fits the key and the role (RFC 5280 section 4.2.1.3).
    KeyUsage = "key_usage",
    /// extKeyUsage present and specific (RFC 5280 section 4.2.1.12).
    ExtendedKeyUsage = "extended_key_usage",
    /// basicConstraints fit the role (RFC 5280 section 4.2.1.9).
    BasicConstraints = "basic_constraints",
    /// Subject key identifier of the key (RFC 5280 section 4.2.1.2).
    SubjectKeyId = "subject_key_id",
    /// Authority key identifier (RFC 5280 section 4.2.1.1).
    AuthorityKeyId = "authority_key_id",
    /// No extension twice (RFC 5280 section 4.2).
    DuplicateExtension = "duplicate_extension",
    /// No critical extension that clients do not know.
    UnknownCriticalExtension = "unknown_critical_extension",
    /// Must-staple needs an OCSP responder.
    MustStaple = "must_staple",
    /// The certificate is for the key of the request.
    KeyMismatch = "key_mismatch",
    /// Every name that was asked for.
    MissingName = "missing_name",
    /// No name that was not asked for.
    ExtraName = "extra_name",
    /// Every usage that was asked for.
    MissingUsage = "missing_usage",
    /// Not expired.
    Expired = "expired",
    /// Valid now, or almost.
    NotYetValid = "not_yet_valid",
    /// Not valid for longer than allowed.
    ValidTooLong = "valid_too_long",
    /// A leaf is no CA.
    LeafIsCa = "leaf_is_ca",
    /// Each certificate is followed by its issuer.
    ChainOrder = "chain_order",
    /// Each certificate is signed by the one that follows.
    ChainSignature = "chain_signature",
    /// Whoever signs is a CA.
    IssuerNotCa = "issuer_not_ca",
    /// Whoever signs is not expired.
    IssuerExpired = "issuer_expired",
}

/// Gathers findings.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, rule: Rule, detail: impl Into<String>) {
        self.0.push(Finding { rule, detail: detail.into() });
    }

    fn into_result(self) -> Result<(), Vec<Finding>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}

/// Every finding in one line, for an error message.
#[must_use]
pub fn summary(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
pub(crate) fn rules_of(result: Result<(), Vec<Finding>>) -> Vec<Rule> {
    result.err().unwrap_or_default().iter().map(Finding::rule).collect()
}
