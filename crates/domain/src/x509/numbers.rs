//! Serial numbers and fingerprints, each in one form however they are spelled.

use std::fmt;

use super::refusal::InvalidName;
use super::text::{as_text, display_inner};

/// A serial number in the one form used everywhere: the DER integer's content bytes as lower hex of even length
/// (RFC 5280 section 4.1.2.2: positive, at most 20 octets).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(String);

impl Serial {
    /// From the content bytes of the DER INTEGER.
    ///
    /// # Errors
    /// When empty, zero, or longer than a certificate of any CA seen in the wild could have (40 bytes).
    pub fn from_der_bytes(bytes: &[u8]) -> Result<Self, InvalidName> {
        use fmt::Write as _;
        let mut hex = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            write!(hex, "{byte:02x}").map_err(|_| InvalidName::new("serial", "", "cannot be written"))?;
        }
        if bytes.is_empty() || bytes.len() > 40 || bytes.iter().all(|b| *b == 0) {
            return Err(InvalidName::new("serial", &hex, "is not a positive integer of at most 40 octets"));
        }
        Ok(Self(hex))
    }

    /// Reads any usual spelling: hex with or without `0x`, `:` or `-`, upper or lower case, leading zeros or none.
    ///
    /// # Errors
    /// When what remains is not hex or not a positive integer of at most 40 octets.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let fail = || InvalidName::new("serial", text, "is not hex digits of a positive integer");
        let text_no_prefix = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        let digits: String = text_no_prefix.chars().filter(|c| !matches!(c, ':' | '-' | ' ')).map(|c| c.to_ascii_lowercase()).collect();
        if digits.is_empty() || digits.len() > 82 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(fail());
        }
        let digits = digits.trim_start_matches('0');
        let even = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.to_owned() };
        // DER puts a zero octet before a first octet of 0x80 and above.
        let first = even.get(..1).and_then(|d| u8::from_str_radix(d, 16).ok()).ok_or_else(fail)?;
        let der = if first >= 8 { format!("00{even}") } else { even };
        if der.is_empty() { Err(fail()) } else { Ok(Self(der)) }
    }

    /// Lower hex of even length.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The content bytes of the DER INTEGER.
    #[must_use]
    pub fn to_der_bytes(&self) -> Vec<u8> {
        let digits = self.0.as_bytes();
        digits.chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok().and_then(|p| u8::from_str_radix(p, 16).ok())).collect()
    }
}

/// SHA-256 of a certificate's DER, as 64 lower hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// From the digest.
    #[must_use]
    pub fn from_bytes(digest: &[u8; 32]) -> Self {
        use fmt::Write as _;
        let mut hex = String::with_capacity(64);
        for byte in digest {
            // Writing to a String cannot fail.
            if write!(hex, "{byte:02x}").is_err() {
                break;
            }
        }
        Self(hex)
    }

    /// Reads hex with or without `:`; upper or lower case.
    ///
    /// # Errors
    /// When it is not 64 hex digits.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let digits: String = text.chars().filter(|c| !matches!(c, ':' | ' ')).map(|c| c.to_ascii_lowercase()).collect();
        if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(digits))
        } else {
            Err(InvalidName::new("fingerprint", text, "is not the 64 hex digits of a SHA-256"))
        }
    }

    /// 64 lower hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

display_inner!(Serial Fingerprint);
as_text! {
    Serial, Serial::parse, "Serial", "hex", "serial number: content octets of the DER INTEGER in lower hex";
    Fingerprint, Fingerprint::parse, "Fingerprint", "hex", "SHA-256 of the certificate's DER in lower hex";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_of_any_spelling_are_equal() {
        for text in ["00FF:01", "ff01", "0xff01", "00-ff-01", "0000ff01"] {
            assert_eq!(Serial::parse(text).unwrap().as_str(), "00ff01", "{text}");
        }
        assert_eq!(Serial::parse("1").unwrap().to_der_bytes(), [1]);
        assert!(Serial::parse("0").is_err() && Serial::parse("xyz").is_err() && Serial::parse("").is_err());
    }
}
