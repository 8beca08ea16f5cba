//! What a path means.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use certctl_domain::ids::{Id as _, IssuerId};
use certctl_domain::x509::Serial;
use certctl_engine::publication::ROOT;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A revocation list of an issuer; without a number the one about everything.
    Crl {
        /// Whose.
        issuer: IssuerId,
        /// Which.
        shard: Option<i64>,
    },
    /// The certificate of the CA that signs that list.
    Ca {
        /// Whose.
        issuer: IssuerId,
        /// Of which list.
        shard: Option<i64>,
    },
    /// An OCSP request that comes in the body.
    Ocsp {
        /// About whose certificates.
        issuer: IssuerId,
    },
    /// An OCSP request that is in the path (RFC 6960 appendix A.1).
    OcspAbout {
        /// About whose certificates.
        issuer: IssuerId,
        /// Its DER.
        request: Vec<u8>,
    },
    /// The status of a serial number.
    OcspSerial {
        /// Of whose certificate.
        issuer: IssuerId,
        /// The number.
        serial: Serial,
    },
}

/// A path below ours that means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPath {
    /// Of OCSP.
    Ocsp,
    /// Of something else.
    Other,
}

/// What a path means; `None` when it is none of ours.
#[must_use]
pub fn target(path: &str) -> Option<Result<Target, BadPath>> {
    let rest = path.strip_prefix(ROOT)?;
    let (kind, rest) = rest.split_once('/').unwrap_or((rest, ""));
    Some(match kind {
        "crl" => list(rest).map(|(issuer, shard)| Target::Crl { issuer, shard }).ok_or(BadPath::Other),
        "ca" => list(rest).map(|(issuer, shard)| Target::Ca { issuer, shard }).ok_or(BadPath::Other),
        "ocsp" => ocsp(rest),
        _ => Err(BadPath::Other),
    })
}

fn list(rest: &str) -> Option<(IssuerId, Option<i64>)> {
    let (issuer, shard) = rest.split_once('/').map_or((rest, None), |(issuer, shard)| (issuer, Some(shard)));
    let shard = match shard {
        // What a certificate names has one spelling.
        Some(text) => Some(text.parse().ok().filter(|number: &i64| number.to_string() == text)?),
        None => None,
    };
    Some((IssuerId::parse(issuer).ok()?, shard))
}

fn ocsp(rest: &str) -> Result<Target, BadPath> {
    let (issuer, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let issuer = IssuerId::parse(issuer).map_err(|_| BadPath::Other)?;
    if rest.is_empty() {
        return Ok(Target::Ocsp { issuer });
    }
    if rest.len() > LONGEST {
        return Err(BadPath::Ocsp);
    }
    let text = unescape(rest).ok_or(BadPath::Ocsp)?;
    // The base64 of a DER sequence begins with an M, which no serial number does.
    if let Ok(serial) = Serial::parse(&text) {
        return Ok(Target::OcspSerial { issuer, serial });
    }
    // An address that ends in a slash gives two of them.
    let text = text.trim_start_matches('/');
    let request = LENIENT.decode(text).or_else(|_| LENIENT_URL.decode(text)).map_err(|_| BadPath::Ocsp)?;
    Ok(Target::OcspAbout { issuer, request })
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(bytes.next())? * 16 + digit(bytes.next())?
            }
            plain => plain,
        });
    }
    String::from_utf8(plain).ok()
}

/// Clients leave the padding out or not.
const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const LENIENT: GeneralPurpose = GeneralPurpose::new(&STANDARD, CONFIG);
const LENIENT_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, CONFIG);
const LONGEST: usize = 24 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn iss() -> IssuerId {
        IssuerId::parse("iss-1").unwrap()
    }

    #[test]
    fn lists_and_certificates_are_found_by_issuer_and_number() {
        for (path, wanted) in [
            ("crl/iss-1", Ok(Target::Crl { issuer: iss(), shard: None })),
            ("crl/iss-1/0", Ok(Target::Crl { issuer: iss(), shard: Some(0) })),
            ("ca/iss-1/12", Ok(Target::Ca { issuer: iss(), shard: Some(12) })),
            ("crl/iss-1/012", Err(BadPath::Other)),
            ("crl/iss-1/x", Err(BadPath::Other)),
            ("crl/iss-1/1/2", Err(BadPath::Other)),
            ("crl/..", Err(BadPath::Other)),
            ("crl/", Err(BadPath::Other)),
            ("", Err(BadPath::Other)),
            ("keys/iss-1", Err(BadPath::Other)),
        ] {
            assert_eq!(target(&format!("/.well-known/pki/{path}")), Some(wanted), "{path}");
        }
        assert_eq!(target("/.well-known/acme-challenge/x"), None);
    }

    #[test]
    fn serial_numbers_have_any_spelling() {
        let wanted = Serial::parse("0abc").unwrap();
        for spelled in ["0abc", "abc", "ABC", "0x0ABC", "000abc", "0a:bc", "0A%3abC"] {
            let found = target(&format!("/.well-known/pki/ocsp/iss-1/{spelled}"));
            assert_eq!(found, Some(Ok(Target::OcspSerial { issuer: iss(), serial: wanted.clone() })), "{spelled}");
        }
    }

    #[test]
    fn requests_in_the_path_have_any_usual_spelling() {
        let der = vec![0x30, 0x03, 0xfb, 0xff, 0xfe];
        let about = || Some(Ok(Target::OcspAbout { issuer: iss(), request: der.clone() }));
        for spelled in ["MAP7//4=", "MAP7%2F%2F4%3D", "MAP7//4", "/MAP7//4=", "MAP7__4="] {
            assert_eq!(target(&format!("/.well-known/pki/ocsp/iss-1/{spelled}")), about(), "{spelled}");
        }
        for bad in ["M", "MAP7%2", "MAP7%zz", "M A", "%ff%fe", &"M".repeat(30_000)] {
            assert_eq!(target(&format!("/.well-known/pki/ocsp/iss-1/{bad}")), Some(Err(BadPath::Ocsp)), "{bad}");
        }
        assert_eq!(target("/.well-known/pki/ocsp/iss-1"), Some(Ok(Target::Ocsp { issuer: iss() })));
        assert_eq!(target("/.well-known/pki/ocsp/iss-1/"), Some(Ok(Target::Ocsp { issuer: iss() })));
    }

    proptest! {
        #[test]
        fn no_path_does_harm(rest in "[ -~]{0,80}") {
            let _target = target(&format!("{ROOT}ocsp/{rest}"));
            let _target = target(&format!("{ROOT}crl/{rest}"));
        }

        #[test]
        fn every_request_comes_through_the_path(der in proptest::collection::vec(any::<u8>(), 0..100)) {
            let der = [&[0x30, 0x80][..], &der].concat();
            let escaped = LENIENT.encode(&der).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
            let wanted = Target::OcspAbout { issuer: iss(), request: der };
            prop_assert_eq!(target(&format!("{ROOT}ocsp/iss-1/{escaped}")), Some(Ok(wanted)));
        }
    }
}
