//! DER written by hand, for lists that are too long to be built as a tree first, and for the few shapes that no library has.

use der::asn1::ObjectIdentifier;
use der::{DateTime, Encode as _};

use certctl_domain::time::Timestamp;

/// Appends a tag and a length in the one form that DER allows (X.690 section 10.1).
pub(crate) fn head(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    let octets = length.to_be_bytes();
    let first = octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len() - 1);
    let significant = octets.get(first..).unwrap_or(&octets);
    match significant {
        [short] if *short < 0x80 => out.push(*short),
        long => {
            // A usize has at most eight octets.
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(8));
            out.extend_from_slice(long);
        }
    }
}

/// Appends a whole value.
pub(crate) fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    head(out, tag, content.len());
    out.extend_from_slice(content);
}

/// A whole value.
pub(crate) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    put(&mut out, tag, content);
    out
}

/// A sequence of these values, each written already.
pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, &parts.concat())
}

/// An extension (RFC 5280 section 4.1).
pub(crate) fn extension(oid: ObjectIdentifier, weight: Weight, content: &[u8]) -> der::Result<Vec<u8>> {
    let critical: &[u8] = match weight {
        Weight::Critical => &[BOOLEAN, 1, 0xff],
        Weight::Plain => &[],
    };
    Ok(sequence(&[&oid.to_der()?, critical, &value(OCTET_STRING, content)]))
}

/// A `GeneralizedTime` in whole seconds, whatever the year (RFC 6960 section 4.2.2.1).
pub(crate) fn generalized_time(at: Timestamp) -> der::Result<Vec<u8>> {
    let seconds = u64::try_from(at.unix_seconds()).map_err(|_| der::Error::from(der::ErrorKind::DateTime))?;
    let time = DateTime::from_unix_duration(std::time::Duration::from_secs(seconds))?;
    der::asn1::GeneralizedTime::from_date_time(time).to_der()
}

/// A non-negative integer.
pub(crate) fn integer(number: u64) -> Vec<u8> {
    let octets = number.to_be_bytes();
    let first = octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len() - 1);
    let significant = octets.get(first..).unwrap_or(&octets);
    let sign: &[u8] = if significant.first().is_some_and(|octet| *octet >= 0x80) { &[0] } else { &[] };
    value(INTEGER, &[sign, significant].concat())
}

/// Whether a reader must understand an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Critical,
    Plain,
}

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const SEQUENCE: u8 = 0x30;

/// The tag `[n]` around a value that keeps its own.
pub(crate) const fn explicit(n: u8) -> u8 {
    0xa0 | n
}

/// The tag `[n]` in place of that of a primitive value.
pub(crate) const fn implicit(n: u8) -> u8 {
    0x80 | n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_their_shortest_form() {
        for (length, wanted) in [
            (0, vec![4, 0]),
            (0x7f, vec![4, 0x7f]),
            (0x80, vec![4, 0x81, 0x80]),
            (0xff, vec![4, 0x81, 0xff]),
            (0x0001_0203, vec![4, 0x83, 1, 2, 3]),
        ] {
            let mut out = Vec::new();
            head(&mut out, OCTET_STRING, length);
            assert_eq!(out, wanted);
        }
    }

    #[test]
    fn integers_are_those_of_the_library() {
        for number in [0_u64, 1, 0x7f, 0x80, 0xff, 0x100, 1_795_600_000, u64::MAX] {
            assert_eq!(integer(number), number.to_der().unwrap());
        }
    }

    #[test]
    fn times_are_generalized_in_every_year() {
        assert_eq!(generalized_time("2026-01-02T03:04:05.6Z".parse().unwrap()).unwrap(), b"\x18\x0f20260102030405Z");
        assert_eq!(generalized_time("2050-01-01T00:00:00Z".parse().unwrap()).unwrap(), b"\x18\x0f20500101000000Z");
    }
}
