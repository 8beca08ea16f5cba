//! Names: DNS, e-mail, URI, and what certificates carry of them.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::refusal::{InvalidName, deceptive};
use super::text::{as_text, display_inner};

/// A DNS name as it stands in a certificate: lower case, A-labels, at most one wildcard as the whole leftmost label
/// (RFC 6125 section 6.4.3, RFC 5280 section 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

impl DnsName {
    /// Parses a name; U-labels are turned into A-labels (UTS 46), mixed-script labels are refused.
    ///
    /// # Errors
    /// When the text is an IP address, has a bad label, a misplaced wildcard, or characters that deceive.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let fail = |why| Err(InvalidName::new("DNS name", text, why));
        if text.is_empty() {
            return fail("is empty");
        }
        if text.len() > 1_000 {
            return fail("is longer than 253 characters");
        }
        if let Some(why) = deceptive(text) {
            return fail(why);
        }
        if text.parse::<IpAddr>().is_ok() {
            return fail("is an IP address; ask for it as an IP SAN");
        }
        let (wildcard, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if rest.contains('*') {
            return fail("has a wildcard that is not the whole leftmost label");
        }
        let rest = rest.strip_suffix('.').unwrap_or(rest);
        let Ok(ascii) = idna::domain_to_ascii_strict(rest) else {
            return fail("is not a valid host name");
        };
        if rest.split('.').chain(idna::domain_to_unicode(&ascii).0.split('.')).any(mixes_scripts) {
            return fail("has a label that mixes scripts");
        }
        if wildcard && !ascii.contains('.') {
            return fail("has a wildcard directly below the root");
        }
        for label in ascii.split('.') {
            if label.is_empty() {
                return fail("has an empty label");
            }
            if label.len() > 63 {
                return fail("has a label longer than 63 characters");
            }
            if label.starts_with('-') || label.ends_with('-') {
                return fail("has a label that begins or ends with a hyphen");
            }
            if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                return fail("has a character that host names do not allow");
            }
        }
        if ascii.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
            return fail("ends in a numeric label");
        }
        let name = if wildcard { format!("*.{ascii}") } else { ascii };
        if name.len() > 253 { fail("is longer than 253 characters") } else { Ok(Self(name)) }
    }

    /// The name in lower case A-labels.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the leftmost label is `*`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// Whether this name is `domain` or lies below it.
    #[must_use]
    pub fn is_within(&self, domain: &str) -> bool {
        let name = self.0.strip_prefix("*.").unwrap_or(&self.0);
        name == domain || name.strip_suffix(domain).is_some_and(|head| head.ends_with('.'))
    }
}

/// An RFC 822 address with an ASCII local part and a DNS name as domain (RFC 5280 section 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Parses `local@domain`; the domain is checked as a [`DnsName`].
    ///
    /// # Errors
    /// When a part is missing or has characters that the type cannot carry.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let fail = |why| Err(InvalidName::new("e-mail address", text, why));
        if let Some(why) = deceptive(text) {
            return fail(why);
        }
        let Some((local, domain)) = text.rsplit_once('@') else {
            return fail("has no @");
        };
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b);
        if local.is_empty() || local.len() > 64 || !local.bytes().all(allowed) {
            return fail("has a local part that is empty or not plain ASCII");
        }
        // RFC 5280 section 4.2.1.6 takes a mailbox of RFC 2821 section 4.1.2: words with one dot between two of them.
        if local.split('.').any(str::is_empty) {
            return fail("has a dot at an end of its local part, or two in a row");
        }
        let domain = DnsName::parse(domain).map_err(|e| InvalidName::new("e-mail address", text, e.why()))?;
        if domain.is_wildcard() { fail("has a wildcard domain") } else { Ok(Self(format!("{local}@{}", domain.as_str()))) }
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An absolute URI, such as a SPIFFE id (RFC 5280 section 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UriName(String);

impl UriName {
    /// Parses an absolute URI of ASCII characters.
    ///
    /// # Errors
    /// When there is no scheme, nothing behind it, an authority without a host, or a character outside RFC 3986.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let fail = |why| Err(InvalidName::new("URI", text, why));
        if text.len() > 2_048 {
            return fail("is longer than 2048 characters");
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return fail("has no scheme");
        };
        let scheme_ok = scheme.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        if !scheme_ok || rest.is_empty() {
            return fail("is not absolute");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"{}|\\^`".contains(&b)) {
            return fail("has a character that URIs do not allow");
        }
        // RFC 3986 section 2.1: a percent sign is followed by two hexadecimal digits.
        let escapes = text.split('%').skip(1);
        if !escapes.map(str::as_bytes).all(|escaped| escaped.iter().take(2).filter(|b| b.is_ascii_hexdigit()).count() == 2) {
            return fail("has a percent sign without two hexadecimal digits behind it");
        }
        // RFC 5280 section 4.2.1.6: where there is an authority, it names a host.
        if rest.strip_prefix("//").is_some_and(|rest| !names_host(rest)) {
            return fail("names no host");
        }
        Ok(Self(text.to_owned()))
    }

    /// The URI.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One subject alternative name (RFC 5280 section 4.2.1.6). Written as text, its kind is seen from its form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum San {
    /// dNSName
    Dns(DnsName),
    /// iPAddress
    Ip(IpAddr),
    /// rfc822Name
    Email(EmailAddress),
    /// uniformResourceIdentifier
    Uri(UriName),
}

impl San {
    /// Parses by form: an IP address, then anything with `://` or a `urn:`/`spiffe:` scheme, then an address with `@`, else a DNS name.
    /// A prefix `dns:`, `ip:`, `email:` or `uri:` says the kind outright.
    ///
    /// # Errors
    /// When the value is not valid as the kind it looks like.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let ip =
            |text: &str| text.parse().map(Self::Ip).map_err(|_| InvalidName::new("IP address", text, "is not an IPv4 or IPv6 address"));
        if let Some((kind, rest)) = text.split_once(':') {
            match kind.to_ascii_lowercase().as_str() {
                "dns" => return DnsName::parse(rest).map(Self::Dns),
                "ip" => return ip(rest),
                "email" => return EmailAddress::parse(rest).map(Self::Email),
                "uri" => return UriName::parse(rest).map(Self::Uri),
                _ => {}
            }
        }
        if text.parse::<IpAddr>().is_ok() {
            return ip(text);
        }
        if text.contains("://") || text.starts_with("urn:") {
            return UriName::parse(text).map(Self::Uri);
        }
        if text.contains('@') {
            return EmailAddress::parse(text).map(Self::Email);
        }
        DnsName::parse(text).map(Self::Dns)
    }

    /// `dns`, `ip`, `email` or `uri`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Dns(_) => "dns",
            Self::Ip(_) => "ip",
            Self::Email(_) => "email",
            Self::Uri(_) => "uri",
        }
    }
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name.as_str()),
            Self::Ip(ip) => ip.fmt(f),
            Self::Email(address) => f.write_str(address.as_str()),
            Self::Uri(uri) => f.write_str(uri.as_str()),
        }
    }
}

/// The names of one certificate: sorted, without duplicates, at most [`SanSet::MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct SanSet(Vec<San>);

impl SanSet {
    /// The most names that one certificate may carry.
    pub const MAX: usize = 100;

    /// Sorts and de-duplicates.
    ///
    /// # Errors
    /// When there are more than [`SanSet::MAX`] names.
    pub fn new(names: impl IntoIterator<Item = San>) -> Result<Self, InvalidName> {
        let mut names: Vec<San> = names.into_iter().take(10_000).collect();
        names.sort();
        names.dedup();
        if names.len() > Self::MAX {
            return Err(InvalidName::new("subject alternative names", &names.len().to_string(), "more than 100 names in one certificate"));
        }
        Ok(Self(names))
    }

    /// Parses each text as a [`San`].
    ///
    /// # Errors
    /// At the first name that is not valid, or when there are too many.
    pub fn parse<I: IntoIterator<Item = T>, T: AsRef<str>>(names: I) -> Result<Self, InvalidName> {
        let names: Result<Vec<_>, _> = names.into_iter().map(|name| San::parse(name.as_ref())).collect();
        Self::new(names?)
    }

    /// The names in order.
    pub fn iter(&self) -> impl Iterator<Item = &San> {
        self.0.iter()
    }

    /// Whether `name` is among them.
    #[must_use]
    pub fn contains(&self, name: &San) -> bool {
        self.0.binary_search(name).is_ok()
    }

    /// How many names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a SanSet {
    type Item = &'a San;
    type IntoIter = std::slice::Iter<'a, San>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl Serialize for SanSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl<'de> Deserialize<'de> for SanSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<San>::deserialize(deserializer)?;
        Self::new(names).map_err(de::Error::custom)
    }
}

impl utoipa::PartialSchema for SanSet {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ArrayBuilder::new().items(San::schema()).max_items(Some(Self::MAX)).into()
    }
}

impl utoipa::ToSchema for SanSet {}

/// Checks a common name: 1 to 64 characters (RFC 5280 appendix A, ub-common-name), none that deceive.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_common_name(text: &str) -> Result<(), InvalidName> {
    let fail = |why| Err(InvalidName::new("common name", text, why));
    if text.is_empty() {
        return fail("is empty");
    }
    if text.chars().count() > 64 {
        return fail("is longer than 64 characters; leave the common name out and use a SAN");
    }
    if let Some(why) = deceptive(text) {
        return fail(why);
    }
    if text.split(['.', ' ', '@']).any(mixes_scripts) { fail("has a part that mixes scripts") } else { Ok(()) }
}

display_inner!(DnsName EmailAddress UriName);
as_text! {
    DnsName, DnsName::parse, "DnsName", "hostname", "DNS name in lower case A-labels";
    San, San::parse, "San", "san", "DNS name, IP address, e-mail address or URI";
}

/// Whether a label has ASCII letters beside letters of a script other than Latin: the classic homograph.
fn mixes_scripts(label: &str) -> bool {
    let latin = |c: char| matches!(c, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}');
    label.chars().any(|c| c.is_ascii_alphabetic()) && label.chars().any(|c| !c.is_ascii() && c.is_alphabetic() && !latin(c))
}

/// Whether the authority at the beginning has a host between user information and port (RFC 3986 section 3.2).
fn names_host(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.split_once('@').map_or(authority, |(_user, host)| host);
    let host = match host.strip_prefix('[') {
        Some(literal) => literal.split_once(']').map_or("", |(address, _port)| address),
        None => host.split(':').next().unwrap_or_default(),
    };
    // A second `@` would be read as part of the host by one and of the user by another.
    !host.is_empty() && !host.contains(['@', '[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names_are_refused_with_a_reason() {
        for (text, why) in [
            ("", "empty"),
            ("10.0.0.1", "IP address"),
            ("a.*.example", "wildcard"),
            ("w*.example.test", "wildcard"),
            ("*.*.example.test", "wildcard"),
            ("*.test", "root"),
            ("a..b", "valid host name"),
            ("-a.example", "valid host name"),
            ("under_score.example", "valid host name"),
            ("exa mple.test", "valid host name"),
            ("p\u{430}ypal.test", "mixes scripts"),
            ("web\u{200b}.test", "invisible"),
            ("a.123", "numeric"),
        ] {
            let error = DnsName::parse(text).expect_err(text);
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
        assert!(DnsName::parse(&format!("{}.test", "a".repeat(64))).is_err());
        assert!(DnsName::parse(&vec!["abcdefgh"; 40].join(".")).is_err());
    }

    #[test]
    fn dns_names_take_one_form() {
        for (text, name) in [
            ("Web.Example.TEST", "web.example.test"),
            ("web.example.test.", "web.example.test"),
            ("*.example.test", "*.example.test"),
            ("b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(DnsName::parse(text).unwrap().as_str(), name);
        }
    }

    #[test]
    fn the_local_part_of_an_address_is_words_between_single_dots() {
        for text in ["ops@example.test", "a.b.c@example.test", "a+b/c?d%e@example.test"] {
            assert_eq!(EmailAddress::parse(text).unwrap().as_str(), text);
        }
        for text in ["a..b@example.test", ".a@example.test", "a.@example.test", ".@example.test", "@example.test", "a b@example.test"] {
            assert!(EmailAddress::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_uri_names_a_host_where_it_has_an_authority() {
        for text in [
            "https://web.example.test/x",
            "spiffe://td/web",
            "urn:uuid:1",
            "https://[::1]:8443",
            "https://user@[::1]",
            "https://a.test?x=a@b",
            "https://u:p@a.test:8443/x%2Fy%7e",
            "mailto:a%40b",
        ] {
            assert_eq!(UriName::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "https://",
            "https:///x",
            "https://:8443/x",
            "spiffe://?x",
            "urn:",
            "1x:y",
            "https://a b",
            "https://user@/x",
            "https://user@:8443",
            "https://u:p@?a.test",
            "https://u@v@a.test",
            "https://[]/x",
            "https://[::1",
        ] {
            assert!(UriName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_percent_sign_in_a_uri_stands_before_two_hexadecimal_digits() {
        for text in
            ["https://a.test/%zz", "https://a.test/%", "https://a.test/%2", "urn:x:%%41", "https://a.test/%4%41", "https://%g0.test"]
        {
            assert!(UriName::parse(text).unwrap_err().to_string().contains("percent sign"), "{text}");
        }
    }

    #[test]
    fn sans_keep_their_kind() {
        let set = SanSet::parse(["web.test", "10.0.0.1", "::1", "ops@example.test", "spiffe://td/web", "web.test"]).unwrap();
        let kinds: Vec<_> = set.iter().map(San::kind).collect();
        assert_eq!(kinds, ["dns", "ip", "ip", "email", "uri"]);
        assert!(SanSet::parse((0..500).map(|i| format!("h{i}.test"))).is_err());
    }
}
