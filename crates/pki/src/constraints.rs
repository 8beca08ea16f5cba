//! Name constraints of a CA (RFC 5280 section 4.2.1.10): read, written, and asked whether a name lies inside.

use std::net::IpAddr;
use std::str::FromStr;

use certctl_domain::x509::{DnsName, San};
use der::Decode as _;
use der::asn1::{Ia5String, OctetString};
use x509_cert::ext::pkix::NameConstraints as Encoded;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::GeneralName;

use crate::names::ip_octets;

/// What names a CA, and every CA below it, may issue for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameConstraints {
    permitted: Vec<Subtree>,
    excluded: Vec<Subtree>,
}

/// A set of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subtree {
    /// A domain and everything below it; with a dot in front, only what is below it.
    Dns(String),
    /// The addresses of a network, by the octets of base and mask.
    Ip {
        /// First address.
        base: Vec<u8>,
        /// Bits that must agree.
        mask: Vec<u8>,
    },
    /// A mailbox, every mailbox of a host, or with a dot in front of every host of a domain.
    Email(String),
    /// URIs of a host, or with a dot in front of every host of a domain.
    Uri(String),
}

impl NameConstraints {
    /// Constraints of these sets. At least one must be given.
    ///
    /// # Errors
    /// When both are empty, which RFC 5280 forbids.
    pub fn new(permitted: Vec<Subtree>, excluded: Vec<Subtree>) -> Result<Self, InvalidConstraint> {
        if permitted.is_empty() && excluded.is_empty() { Err(InvalidConstraint::Empty) } else { Ok(Self { permitted, excluded }) }
    }

    /// Whether the name may stand in a certificate below the CA. A kind of name without a permitted set is free.
    ///
    /// # Errors
    /// Says which set it offends.
    pub fn check(&self, name: &San) -> Result<(), NotPermitted> {
        if let Some(subtree) = self.excluded.iter().find(|subtree| subtree.overlaps(name)) {
            return Err(NotPermitted::Excluded { name: name.to_string(), subtree: subtree.to_string() });
        }
        let mut permitted = self.permitted.iter().filter(|subtree| subtree.is_about(name)).peekable();
        if permitted.peek().is_some() && !permitted.any(|subtree| subtree.contains(name)) {
            return Err(NotPermitted::Outside { name: name.to_string() });
        }
        Ok(())
    }

    /// Reads the value of the extension.
    pub(crate) fn decode(value: &[u8]) -> Result<Self, InvalidConstraint> {
        let encoded = Encoded::from_der(value)?;
        let read = |subtrees: Option<Vec<GeneralSubtree>>| -> Result<Vec<Subtree>, InvalidConstraint> {
            subtrees.unwrap_or_default().into_iter().map(Subtree::decode).collect()
        };
        Self::new(read(encoded.permitted_subtrees)?, read(encoded.excluded_subtrees)?)
    }

    /// The extension.
    pub(crate) fn encode(&self) -> der::Result<Encoded> {
        let write = |subtrees: &[Subtree]| match subtrees {
            [] => Ok(None),
            some => some.iter().map(Subtree::encode).collect::<der::Result<Vec<_>>>().map(Some),
        };
        Ok(Encoded { permitted_subtrees: write(&self.permitted)?, excluded_subtrees: write(&self.excluded)? })
    }
}

impl Subtree {
    /// Whether the name is of the kind that this set speaks of.
    const fn is_about(&self, name: &San) -> bool {
        matches!(
            (self, name),
            (Self::Dns(_), San::Dns(_)) | (Self::Ip { .. }, San::Ip(_)) | (Self::Email(_), San::Email(_)) | (Self::Uri(_), San::Uri(_))
        )
    }

    /// Whether everything that the name stands for lies inside.
    fn contains(&self, name: &San) -> bool {
        match (self, name) {
            (Self::Dns(domain), San::Dns(dns)) => dns_contains(domain, dns),
            (Self::Ip { base, mask }, San::Ip(address)) => ip_contains(base, mask, *address),
            (Self::Email(base), San::Email(email)) => email_contains(base, email.as_str()),
            (Self::Uri(base), San::Uri(uri)) => host_of(uri.as_str()).is_some_and(|host| host_contains(base, host)),
            _ => false,
        }
    }

    /// Whether something that the name stands for may lie inside: wider than [`Subtree::contains`] for wildcards, for addresses that have
    /// two forms, and for URIs without a host, which RFC 5280 wants refused.
    fn overlaps(&self, name: &San) -> bool {
        match (self, name) {
            (Self::Dns(domain), San::Dns(dns)) if dns.is_wildcard() => {
                let domain = domain.trim_start_matches('.');
                let one_below = domain.split_once('.').is_some_and(|(_, parent)| Some(parent) == dns.as_str().strip_prefix("*."));
                one_below || dns_contains(domain, dns)
            }
            (Self::Uri(_), San::Uri(uri)) if host_of(uri.as_str()).is_none() => true,
            // Many programs take an IPv4 address and its IPv6 form (RFC 4291 section 2.5.5.2) for one.
            (Self::Ip { base, mask }, San::Ip(address)) => {
                let as_v6 = match address.to_canonical() {
                    IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
                    v6 @ IpAddr::V6(_) => v6,
                };
                ip_contains(base, mask, address.to_canonical()) || ip_contains(base, mask, as_v6)
            }
            _ => self.contains(name),
        }
    }

    fn decode(subtree: GeneralSubtree) -> Result<Self, InvalidConstraint> {
        if subtree.minimum != 0 || subtree.maximum.is_some() {
            return Err(InvalidConstraint::Distance);
        }
        match subtree.base {
            GeneralName::DnsName(name) => Ok(Self::Dns(name.as_str().to_ascii_lowercase())),
            GeneralName::Rfc822Name(name) => Ok(Self::Email(name.as_str().to_ascii_lowercase())),
            GeneralName::UniformResourceIdentifier(name) => Ok(Self::Uri(name.as_str().to_ascii_lowercase())),
            GeneralName::IpAddress(octets) => {
                let octets = octets.as_bytes();
                match octets.split_at_checked(octets.len() / 2) {
                    Some((base, mask)) if matches!(octets.len(), 8 | 32) => Ok(Self::Ip { base: base.to_vec(), mask: mask.to_vec() }),
                    _ => Err(InvalidConstraint::IpLength(octets.len())),
                }
            }
            _ => Err(InvalidConstraint::Kind),
        }
    }

    fn encode(&self) -> der::Result<GeneralSubtree> {
        let base = match self {
            Self::Dns(name) => GeneralName::DnsName(Ia5String::new(name)?),
            Self::Email(name) => GeneralName::Rfc822Name(Ia5String::new(name)?),
            Self::Uri(name) => GeneralName::UniformResourceIdentifier(Ia5String::new(name)?),
            Self::Ip { base, mask } => GeneralName::IpAddress(OctetString::new([base.as_slice(), mask].concat())?),
        };
        Ok(GeneralSubtree { base, minimum: 0, maximum: None })
    }
}

impl FromStr for Subtree {
    type Err = InvalidConstraint;

    /// Reads `dns:example.test`, `ip:10.0.0.0/8`, `email:example.test` or `uri:.example.test`; without a kind, a network or a domain.
    fn from_str(text: &str) -> Result<Self, InvalidConstraint> {
        let host = |text: &str| {
            let name = text.strip_prefix('.').unwrap_or(text);
            match DnsName::parse(name) {
                Ok(dns) if !dns.is_wildcard() => Ok(format!("{}{}", if text.starts_with('.') { "." } else { "" }, dns.as_str())),
                _ => Err(InvalidConstraint::Text(text.chars().take(100).collect())),
            }
        };
        match text.split_once(':') {
            Some(("dns", rest)) => host(rest).map(Self::Dns),
            Some(("uri", rest)) => host(rest).map(Self::Uri),
            Some(("ip", rest)) => network(rest),
            Some(("email", rest)) => match rest.split_once('@') {
                Some((local, domain)) => Ok(Self::Email(format!("{local}@{}", host(domain)?))),
                None => host(rest).map(Self::Email),
            },
            _ if text.contains('/') => network(text),
            _ => host(text).map(Self::Dns),
        }
    }
}

impl std::fmt::Display for Subtree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Email(name) => write!(f, "email:{name}"),
            Self::Uri(name) => write!(f, "uri:{name}"),
            Self::Ip { base, mask } => {
                let bits: u32 = mask.iter().map(|octet| octet.count_ones()).sum();
                match crate::names::ip_address(base) {
                    Some(address) => write!(f, "ip:{address}/{bits}"),
                    None => write!(f, "ip:#{}/{bits}", hex::encode(base)),
                }
            }
        }
    }
}

/// Constraints that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConstraint {
    /// Nothing permitted and nothing excluded.
    #[error("name constraints that neither permit nor exclude anything")]
    Empty,
    /// minimum and maximum, which RFC 5280 does not use.
    #[error("name constraints with a minimum or maximum distance are not supported")]
    Distance,
    /// A directory name and the like.
    #[error("name constraints on other names than DNS, IP, email and URI are not supported")]
    Kind,
    /// Neither 8 nor 32 octets.
    #[error("a name constraint on IP addresses has {0} octets instead of 8 or 32")]
    IpLength(usize),
    /// Text that is no set of names.
    #[error("`{0}` is not a domain or network")]
    Text(String),
    /// Bytes that are no name constraints.
    #[error("the name constraints cannot be read")]
    Malformed(#[from] der::Error),
}

/// A name that a CA may not issue for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPermitted {
    /// Inside an excluded set.
    #[error("the CA is barred from `{subtree}`, and so from `{name}`")]
    Excluded {
        /// The name.
        name: String,
        /// The set.
        subtree: String,
    },
    /// Outside every permitted set of its kind.
    #[error("the CA is not allowed to issue for `{name}`")]
    Outside {
        /// The name.
        name: String,
    },
}

fn dns_contains(domain: &str, name: &DnsName) -> bool {
    match domain.strip_prefix('.') {
        Some(parent) => name.is_within(parent) && name.as_str() != parent,
        None => domain.is_empty() || name.is_within(domain),
    }
}

fn ip_contains(base: &[u8], mask: &[u8], address: IpAddr) -> bool {
    let octets = ip_octets(address);
    octets.len() == base.len() && octets.iter().zip(base).zip(mask).all(|((octet, base), mask)| octet & mask == base & mask)
}

fn email_contains(base: &str, email: &str) -> bool {
    if base.contains('@') {
        // The local part is case-sensitive, but constraints were lowered: comparing without case permits or bars a few mailboxes
        // more, all of which mail systems deliver to one person.
        return base.eq_ignore_ascii_case(email);
    }
    email.rsplit_once('@').is_some_and(|(_, host)| host_contains(base, host))
}

/// RFC 5280: a host by its exact name; a domain, with a dot in front, by what is below it.
fn host_contains(base: &str, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    if base.starts_with('.') { host.ends_with(base) && host.len() > base.len() } else { host == base }
}

/// The host of a URI with an authority; `None` for others, for IP literals, which constraints cannot speak of, and for a host that is
/// written with `%`, which programs read in different ways. A final dot says nothing.
fn host_of(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty() && !host.contains('%') && !host.starts_with('[') && host.parse::<IpAddr>().is_err()).then_some(host)
}

fn network(text: &str) -> Result<Subtree, InvalidConstraint> {
    let fail = || InvalidConstraint::Text(text.chars().take(100).collect());
    let (address, bits) = text.split_once('/').ok_or_else(fail)?;
    let base = ip_octets(address.parse().map_err(|_| fail())?);
    let mut bits: usize = bits.parse().ok().filter(|bits| *bits <= base.len() * 8).ok_or_else(fail)?;
    let mask: Vec<u8> = base
        .iter()
        .map(|_| {
            let here = bits.min(8);
            bits -= here;
            u8::MAX.checked_shl(8 - u32::try_from(here).unwrap_or(0)).unwrap_or(0)
        })
        .collect();
    let base = base.iter().zip(&mask).map(|(base, mask)| base & mask).collect();
    Ok(Subtree::Ip { base, mask })
}

/// The raw subtrees of a list, for tests that build constraints we refuse.
#[cfg(test)]
fn raw(base: GeneralName) -> Vec<u8> {
    let subtree = GeneralSubtree { base, minimum: 0, maximum: None };
    der::Encode::to_der(&Encoded { permitted_subtrees: Some(vec![subtree]), excluded_subtrees: None }).unwrap()
}

#[cfg(test)]
mod tests {
    use der::Encode as _;

    use super::*;

    fn constraints(permitted: &[&str], excluded: &[&str]) -> NameConstraints {
        let parse = |sets: &[&str]| sets.iter().map(|set| set.parse().unwrap()).collect();
        NameConstraints::new(parse(permitted), parse(excluded)).unwrap()
    }

    #[test]
    fn names_inside_and_outside() {
        let rules =
            constraints(&["example.test", "10.0.0.0/9", "email:.example.test", "uri:host.test"], &["secret.example.test", "uri:.bad.test"]);
        for (name, allowed) in [
            ("example.test", true),
            ("a.b.example.test", true),
            ("*.example.test", false), // it would match the excluded secret.example.test
            ("*.b.example.test", true),
            ("*.secret.example.test", false),
            ("notexample.test", false),
            ("10.127.255.255", true),
            ("10.128.0.0", false),
            ("::1", false),
            ("ops@mail.example.test", true),
            ("ops@example.test", false),
            ("https://host.test:8443/x", true),
            ("https://user@host.test/", true),
            ("https://a.bad.test/", false),
            ("https://other.test/", false),
            ("https://10.0.0.1/", false),
            ("urn:uuid:1", false),
        ] {
            assert_eq!(rules.check(&San::parse(name).unwrap()).is_ok(), allowed, "{name}");
        }
    }

    #[test]
    fn no_spelling_gets_around_what_is_excluded() {
        let rules = constraints(&[], &["uri:secret.test", "10.0.0.0/8", "ip:fd00::/8"]);
        for (name, allowed) in [
            ("https://secret.test./x", false),
            ("https://SECRET.test.:443/", false),
            ("https://s%65cret.test/", false),
            ("https://other.test./", true),
            ("10.1.2.3", false),
            ("::ffff:10.1.2.3", false),
            ("::ffff:192.0.2.1", true),
            ("fd00::1", false),
        ] {
            assert_eq!(rules.check(&San::parse(name).unwrap()).is_ok(), allowed, "{name}");
        }
        let mapped = constraints(&[], &["::ffff:10.0.0.0/104"]);
        assert!(mapped.check(&San::parse("10.1.2.3").unwrap()).is_err());
        // What is permitted is read strictly: others compare octets.
        let permitted = constraints(&["10.0.0.0/8", "uri:host.test"], &[]);
        for (name, allowed) in [("::ffff:10.1.2.3", false), ("https://host.test./", true), ("https://h%6fst.test/", false)] {
            assert_eq!(permitted.check(&San::parse(name).unwrap()).is_ok(), allowed, "{name}");
        }
    }

    #[test]
    fn kinds_without_a_permitted_set_are_free() {
        let rules = constraints(&["dns:.example.test"], &[]);
        for (name, allowed) in
            [("10.0.0.1", true), ("spiffe://td/x", true), ("example.test", false), ("a.example.test", true), ("*.example.test", true)]
        {
            assert_eq!(rules.check(&San::parse(name).unwrap()).is_ok(), allowed, "{name}");
        }
    }

    #[test]
    fn survive_a_round_trip() {
        let rules = constraints(&["example.test", "fd00::/8", "192.0.2.0/24", "email:ops@example.test"], &["uri:.bad.test"]);
        let der = rules.encode().unwrap().to_der().unwrap();
        assert_eq!(NameConstraints::decode(&der), Ok(rules.clone()));
        let shown: Vec<_> = rules.permitted.iter().map(Subtree::to_string).collect();
        assert_eq!(shown, ["dns:example.test", "ip:fd00::/8", "ip:192.0.2.0/24", "email:ops@example.test"]);
    }

    #[test]
    fn refuses_what_it_would_not_keep() {
        for text in ["", "*.example.test", "10.0.0.0/33", "10.0.0.0/x", "ip:10.0.0.0", "dns:a b", "uri:"] {
            assert!(text.parse::<Subtree>().is_err(), "{text}");
        }
        assert_eq!(NameConstraints::new(vec![], vec![]), Err(InvalidConstraint::Empty));
        assert_eq!(
            NameConstraints::decode(&raw(GeneralName::RegisteredId(const_oid::db::rfc5280::ID_KP_SERVER_AUTH))),
            Err(InvalidConstraint::Kind)
        );
        let short = GeneralName::IpAddress(OctetString::new([1, 2, 3]).unwrap());
        assert_eq!(NameConstraints::decode(&raw(short)), Err(InvalidConstraint::IpLength(3)));
        assert!(matches!(NameConstraints::decode(b"junk"), Err(InvalidConstraint::Malformed(_))));
    }
}
