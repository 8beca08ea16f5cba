//! Object identifiers of the extensions and usages that we read and write, where no library names them.

use certctl_domain::x509::ExtendedKeyUsage;
use const_oid::db::rfc5280;
use der::Decode as _;
use der::asn1::ObjectIdentifier;

/// id-pe-acmeIdentifier (RFC 8737 section 6.1).
pub(crate) const ACME_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.31");

/// id-pe-tlsfeature (RFC 7633).
pub(crate) const TLS_FEATURE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.24");

/// `status_request`, the TLS extension that a must-staple certificate asks servers for (RFC 6066 section 8).
pub(crate) const STATUS_REQUEST: u16 = 5;

/// Whether a TLS feature extension asks for stapled OCSP responses.
pub(crate) fn is_must_staple(value: &[u8]) -> bool {
    Vec::<u16>::from_der(value).is_ok_and(|features| features.contains(&STATUS_REQUEST))
}

/// The object identifier of a usage.
pub(crate) const fn usage_oid(usage: ExtendedKeyUsage) -> ObjectIdentifier {
    match usage {
        ExtendedKeyUsage::ServerAuth => rfc5280::ID_KP_SERVER_AUTH,
        ExtendedKeyUsage::ClientAuth => rfc5280::ID_KP_CLIENT_AUTH,
        ExtendedKeyUsage::CodeSigning => rfc5280::ID_KP_CODE_SIGNING,
        ExtendedKeyUsage::EmailProtection => rfc5280::ID_KP_EMAIL_PROTECTION,
        ExtendedKeyUsage::TimeStamping => rfc5280::ID_KP_TIME_STAMPING,
    }
}

/// The usage of an object identifier, for the usages that profiles know.
pub(crate) fn usage_of(oid: ObjectIdentifier) -> Option<ExtendedKeyUsage> {
    USAGES.into_iter().find(|usage| usage_oid(*usage) == oid)
}

/// Every usage that profiles know.
pub(crate) const USAGES: [ExtendedKeyUsage; 5] = [
    ExtendedKeyUsage::ServerAuth,
    ExtendedKeyUsage::ClientAuth,
    ExtendedKeyUsage::CodeSigning,
    ExtendedKeyUsage::EmailProtection,
    ExtendedKeyUsage::TimeStamping,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_staple_is_read_by_its_exact_bytes() {
        assert!(is_must_staple(&[0x30, 3, 2, 1, 5]));
        assert!(is_must_staple(&[0x30, 6, 2, 1, 17, 2, 1, 5]));
        assert!(!is_must_staple(&[0x30, 3, 2, 1, 17]));
        assert!(!is_must_staple(b"junk"));
    }

    #[test]
    fn every_usage_reads_back() {
        assert_eq!(USAGES.map(|usage| usage_of(usage_oid(usage))), USAGES.map(Some));
        assert_eq!(usage_of(rfc5280::ANY_EXTENDED_KEY_USAGE), None);
    }
}
