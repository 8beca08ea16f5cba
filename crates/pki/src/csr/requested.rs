//! The extensions that a request asks for (RFC 2985 section 5.4.2): read strictly, for what they ask may end in a certificate.

use certctl_domain::x509::{DnsName, EmailAddress, ExtendedKeyUsage, San, SanSet, UriName};
use const_oid::db::{rfc5280, rfc5912};
use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use x509_cert::attr::Attributes;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage as UsageOids};

use super::CsrError;
use crate::algorithm::name_of;
use crate::names::{WireName, ip_address, text};
use crate::oids;

/// What a request asks for beside its key and subject.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Requested {
    pub(super) sans: SanSet,
    pub(super) usages: Vec<ExtendedKeyUsage>,
    pub(super) must_staple: bool,
}

impl Requested {
    pub(super) fn from_attributes(attributes: &Attributes) -> Result<Self, CsrError> {
        let mut seen = Vec::new();
        let mut requested = Self::default();
        for extension in requested_extensions(attributes)? {
            if seen.contains(&extension.extn_id) {
                return Err(CsrError::DuplicateExtension(name_of(extension.extn_id)));
            }
            seen.push(extension.extn_id);
            requested.add(&extension)?;
        }
        Ok(requested)
    }

    fn add(&mut self, extension: &Extension) -> Result<(), CsrError> {
        let value = extension.extn_value.as_bytes();
        match extension.extn_id {
            rfc5280::ID_CE_SUBJECT_ALT_NAME => self.sans = names(value)?,
            rfc5280::ID_CE_EXT_KEY_USAGE => {
                self.usages = UsageOids::from_der(value)?.0.into_iter().filter_map(oids::usage_of).collect();
            }
            rfc5280::ID_CE_BASIC_CONSTRAINTS if BasicConstraints::from_der(value)?.ca => return Err(CsrError::AsksForCa),
            oids::TLS_FEATURE => self.must_staple = oids::is_must_staple(value),
            // What these say is ours to decide; that they are asked for, critical or not, does no harm.
            rfc5280::ID_CE_BASIC_CONSTRAINTS | rfc5280::ID_CE_KEY_USAGE | rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER => {}
            other if extension.critical => return Err(CsrError::CriticalExtension(name_of(other))),
            _ => {}
        }
        Ok(())
    }
}

fn requested_extensions(attributes: &Attributes) -> Result<Vec<Extension>, CsrError> {
    let mut extensions = Vec::new();
    for attribute in attributes.iter().filter(|a| matches!(a.oid, rfc5912::ID_EXTENSION_REQ | MS_EXTENSION_REQ)) {
        for value in attribute.values.iter() {
            extensions.extend(Vec::<Extension>::from_der(&value.to_der()?)?);
        }
    }
    Ok(extensions)
}

fn names(der: &[u8]) -> Result<SanSet, CsrError> {
    let wire = WireName::decode_all(der)?;
    if wire.len() > SanSet::MAX {
        return Err(CsrError::TooManyNames { found: wire.len(), limit: SanSet::MAX });
    }
    let names: Vec<San> = wire.into_iter().map(name).collect::<Result<_, _>>()?;
    SanSet::new(names).map_err(CsrError::Name)
}

fn name(wire: WireName<'_>) -> Result<San, CsrError> {
    let ascii = |bytes| text(bytes).ok_or_else(|| CsrError::NotWireForm(wire.describe()));
    match wire {
        WireName::Dns(bytes) => dns_name(ascii(bytes)?).map(San::Dns),
        WireName::Email(bytes) => EmailAddress::parse(ascii(bytes)?).map(San::Email).map_err(CsrError::Name),
        WireName::Uri(bytes) => UriName::parse(ascii(bytes)?).map(San::Uri).map_err(CsrError::Name),
        WireName::Ip(bytes) => ip_address(bytes).map(San::Ip).ok_or(CsrError::IpLength(bytes.len())),
        WireName::Other(kind) => Err(CsrError::NameKind(kind)),
    }
}

fn dns_name(text: &str) -> Result<DnsName, CsrError> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Err(CsrError::IpAsDnsName(text.to_owned()));
    }
    let name = DnsName::parse(text).map_err(|why| if text.contains('*') { CsrError::Wildcard(why) } else { CsrError::Name(why) })?;
    // Parsing also takes spellings for people, such as a final dot; on the wire there is one form only, but for the case.
    if name.as_str().eq_ignore_ascii_case(text) { Ok(name) } else { Err(CsrError::NotWireForm(text.to_owned())) }
}

/// `szOID_CERT_EXTENSIONS`: what the tools of Windows write instead of the attribute of RFC 2985.
const MS_EXTENSION_REQ: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.14");
