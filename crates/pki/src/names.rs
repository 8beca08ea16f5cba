//! Subject alternative names: from the bytes of a request or certificate to typed names, and back (RFC 5280 section 4.2.1.6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use certctl_domain::x509::{DnsName, EmailAddress, San, SanSet, UriName};
use der::asn1::{AnyRef, Ia5String, OctetString};
use der::{Class, Decode as _, Encode as _};
use x509_cert::ext::pkix::name::GeneralName;

/// A general name as it stands on the wire, before anybody asks whether it is a good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WireName<'a> {
    /// rfc822Name
    Email(&'a [u8]),
    /// dNSName
    Dns(&'a [u8]),
    /// uniformResourceIdentifier
    Uri(&'a [u8]),
    /// iPAddress
    Ip(&'a [u8]),
    /// otherName, directoryName and the like, by the ASN.1 name of the choice.
    Other(&'static str),
}

impl<'a> WireName<'a> {
    /// Every name of a `GeneralNames` sequence.
    pub(crate) fn decode_all(der: &'a [u8]) -> der::Result<Vec<Self>> {
        Vec::<AnyRef<'a>>::from_der(der)?.into_iter().map(Self::from_any).collect()
    }

    fn from_any(any: AnyRef<'a>) -> der::Result<Self> {
        let tag = der::Tagged::tag(&any);
        // DER: a string is never constructed (X.690 section 10.2).
        if tag.class() != Class::ContextSpecific || (tag.is_constructed() && matches!(tag.number().0, 1 | 2 | 6 | 7 | 8)) {
            return Err(tag.unexpected_error(None).into());
        }
        Ok(match tag.number().0 {
            0 => Self::Other("otherName"),
            1 => Self::Email(any.value()),
            2 => Self::Dns(any.value()),
            3 => Self::Other("x400Address"),
            4 => Self::Other("directoryName"),
            5 => Self::Other("ediPartyName"),
            6 => Self::Uri(any.value()),
            7 => Self::Ip(any.value()),
            8 => Self::Other("registeredID"),
            _ => return Err(tag.unexpected_error(None).into()),
        })
    }

    /// The typed name, as leniently as a certificate found in the wild needs it; `None` where no typed name can say it.
    pub(crate) fn to_san(self) -> Option<San> {
        match self {
            Self::Email(bytes) => EmailAddress::parse(text(bytes)?).ok().map(San::Email),
            Self::Dns(bytes) => {
                let text = text(bytes)?;
                // On the wire there is one spelling only, but for the case: clients do not match a name with a final dot.
                DnsName::parse(text).ok().filter(|name| name.as_str().eq_ignore_ascii_case(text)).map(San::Dns)
            }
            Self::Uri(bytes) => UriName::parse(text(bytes)?).ok().map(San::Uri),
            Self::Ip(bytes) => ip_address(bytes).map(San::Ip),
            Self::Other(_) => None,
        }
    }

    /// Kind and value for a reader, with whatever is not printable ASCII written as `?`.
    pub(crate) fn describe(self) -> String {
        let (kind, bytes) = match self {
            Self::Email(bytes) => ("email", bytes),
            Self::Dns(bytes) => ("dns", bytes),
            Self::Uri(bytes) => ("uri", bytes),
            Self::Ip(bytes) => return format!("ip:#{}", hex::encode(bytes)),
            Self::Other(kind) => return kind.to_owned(),
        };
        let value: String = bytes.iter().take(253).map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '?' }).collect();
        format!("{kind}:{value}")
    }
}

/// The `IA5String` content as text, if it is one.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii())
}

/// The address of four or sixteen octets.
pub(crate) fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|octets| Ipv6Addr::from(octets).into())
}

/// The octets of an address, as an iPAddress name has them.
pub(crate) fn ip_octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The `GeneralNames` sequence of the names, in their order.
pub(crate) fn encode_all(names: &SanSet) -> der::Result<Vec<u8>> {
    names.iter().map(general_name).collect::<der::Result<Vec<_>>>()?.to_der()
}

/// One name as the choice that it is.
pub(crate) fn general_name(name: &San) -> der::Result<GeneralName> {
    Ok(match name {
        San::Dns(dns) => GeneralName::DnsName(Ia5String::new(dns.as_str())?),
        San::Ip(address) => GeneralName::IpAddress(OctetString::new(ip_octets(*address))?),
        San::Email(email) => GeneralName::Rfc822Name(Ia5String::new(email.as_str())?),
        San::Uri(uri) => uri_name(uri)?,
    })
}

/// A URI as a general name.
pub(crate) fn uri_name(uri: &UriName) -> der::Result<GeneralName> {
    Ok(GeneralName::UniformResourceIdentifier(Ia5String::new(uri.as_str())?))
}

/// The tag of the dNSName choice and the like, for tests that build bad names.
#[cfg(test)]
pub(crate) fn raw_name(number: u32, bytes: &[u8]) -> der::asn1::Any {
    der::asn1::Any::new(der::Tag::ContextSpecific { constructed: false, number: der::TagNumber(number) }, bytes).unwrap()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_every_kind_read_back() {
        let names =
            SanSet::parse(["web.test", "*.web.test", "10.0.0.1", "2001:db8::1", "ops@example.test", "spiffe://td/web", "urn:uuid:1"])
                .unwrap();
        let der = encode_all(&names).unwrap();
        let read = WireName::decode_all(&der).unwrap().into_iter().map(|name| name.to_san().unwrap());
        assert_eq!(SanSet::new(read).unwrap(), names);
    }

    #[test]
    fn names_that_no_type_can_say_are_described() {
        for (number, bytes, wanted) in [
            (2, b"under_score.test".as_slice(), "dns:under_score.test"),
            (2, "b\u{fc}cher.test".as_bytes(), "dns:b??cher.test"),
            (2, b"web.test.", "dns:web.test."),
            (7, &[1, 2, 3], "ip:#010203"),
            (0, b"", "otherName"),
            (8, &[42], "registeredID"),
        ] {
            let der = vec![raw_name(number, bytes)].to_der().unwrap();
            let names = WireName::decode_all(&der).unwrap();
            assert_eq!(names.iter().map(|name| name.to_san()).collect::<Vec<_>>(), [None]);
            assert_eq!(names[0].describe(), wanted);
        }
        assert!(WireName::decode_all(&vec![raw_name(9, b"x")].to_der().unwrap()).is_err());
        assert!(WireName::decode_all(&[0x30, 3, 4, 1, 0]).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(der in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(names) = WireName::decode_all(&der) {
                for name in names {
                    prop_assert!(name.describe().is_ascii());
                    prop_assert!(name.to_san().is_none_or(|san| !san.to_string().is_empty()));
                }
            }
        }
    }
}
