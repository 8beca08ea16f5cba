//! ACME renewal information (RFC 9773): when a certificate should be renewed, and the identifier by which its CA is asked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certctl_domain::time::Timestamp;

use crate::certificate::Certificate;

/// `suggestedWindow`: a client renews at a random instant inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First instant.
    pub start: Timestamp,
    /// Last instant, not before the first.
    pub end: Timestamp,
}

/// The window for a certificate about which nothing special is known: from two thirds to eight ninths of its validity, so that
/// one ninth is left for failures.
#[must_use]
pub fn suggested_window(not_before: Timestamp, not_after: Timestamp) -> Window {
    let validity = not_before.until(not_after).max(time::Duration::ZERO);
    Window { start: not_after.saturating_sub(validity / 3), end: not_after.saturating_sub(validity / 9) }
}

/// The identifier of RFC 9773 section 4.1: authority key identifier and serial number. `None` without the former.
#[must_use]
pub fn certificate_id(certificate: &Certificate) -> Option<String> {
    let authority = certificate.authority_key_id().filter(|id| !id.is_empty())?;
    let serial = certificate.serial().to_der_bytes();
    Some(format!("{}.{}", URL_SAFE_NO_PAD.encode(authority), URL_SAFE_NO_PAD.encode(serial)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn ninety_days_leave_thirty_to_ten() {
        let window = suggested_window(at("2026-01-01T00:00:00Z"), at("2026-04-01T00:00:00Z"));
        assert_eq!((window.start, window.end), (at("2026-03-02T00:00:00Z"), at("2026-03-22T00:00:00Z")));
    }

    #[test]
    fn identifier_is_that_of_the_rfc() {
        // The example certificate of RFC 9773 appendix A.
        let certificate = Certificate::parse_pem(RFC_9773_EXAMPLE).unwrap();
        assert_eq!(certificate_id(&certificate).as_deref(), Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"));
    }

    proptest! {
        #[test]
        fn lies_inside_the_validity(start in 0i64..4_000_000_000, length in 0i64..400_000_000) {
            let from = Timestamp::from_unix_seconds(start).unwrap();
            let to = Timestamp::from_unix_seconds(start + length).unwrap();
            let window = suggested_window(from, to);
            prop_assert!(from <= window.start && window.start <= window.end && window.end <= to);
        }
    }

    const RFC_9773_EXAMPLE: &str = "-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----
";
}
