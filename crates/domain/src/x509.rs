//! The words of X.509 as types: names, serial numbers, fingerprints, key algorithms, usages, revocation reasons.
//!
//! A value of one of these types has been checked; nothing below asks again.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::schema::string_schema;

/// A name, serial or fingerprint that is not what it should be: what it is, and why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{value}`: {why}")]
pub struct InvalidName {
    what: &'static str,
    value: String,
    why: &'static str,
}

impl InvalidName {
    fn new(what: &'static str, value: &str, why: &'static str) -> Self {
        // What is shown is capped and freed of control and bidirectional characters: it ends in logs and on terminals.
        let value = value.chars().take(100).flat_map(|c| if is_plain(c) { vec![c] } else { c.escape_unicode().collect() }).collect();
        Self { what, value, why }
    }

    /// Why the value was refused.
    #[must_use]
    pub const fn why(&self) -> &'static str {
        self.why
    }
}

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
        if local.is_empty() || local.len() > 64 || !local.bytes().all(allowed) || local.starts_with('.') || local.ends_with('.') {
            return fail("has a local part that is empty or not plain ASCII");
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
    /// When there is no scheme, nothing behind it, or a character outside RFC 3986.
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

macro_rules! as_text {
    ($($type:ident, $parse:path, $name:literal, $format:literal, $doc:literal;)*) => { $(
        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                $parse(text)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                $parse(&text).map_err(de::Error::custom)
            }
        }
        string_schema!($type, $name, $format, $doc);
    )* };
}
macro_rules! display_inner {
    ($($type:ident)*) => { $(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )* };
}
display_inner!(DnsName EmailAddress UriName Serial Fingerprint);
as_text! {
    DnsName, DnsName::parse, "DnsName", "hostname", "DNS name in lower case A-labels";
    San, San::parse, "San", "san", "DNS name, IP address, e-mail address or URI";
    Serial, Serial::parse, "Serial", "hex", "serial number: content octets of the DER INTEGER in lower hex";
    Fingerprint, Fingerprint::parse, "Fingerprint", "hex", "SHA-256 of the certificate's DER in lower hex";
}

/// A key type with its size, as one choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub enum KeyAlgorithm {
    /// RSA with a modulus of 2048 bits.
    #[serde(rename = "RSA-2048")]
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    #[serde(rename = "RSA-3072")]
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    #[serde(rename = "RSA-4096")]
    Rsa4096,
    /// ECDSA on P-256.
    #[serde(rename = "ECDSA-P256")]
    EcdsaP256,
    /// ECDSA on P-384.
    #[serde(rename = "ECDSA-P384")]
    EcdsaP384,
    /// Ed25519 (RFC 8410).
    #[serde(rename = "Ed25519")]
    Ed25519,
}

impl KeyAlgorithm {
    /// Every algorithm, in the order that help texts show.
    pub const ALL: [Self; 6] = [Self::EcdsaP256, Self::EcdsaP384, Self::Ed25519, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// `RSA`, `ECDSA` or `Ed25519`, as profiles and versions name the family.
    #[must_use]
    pub const fn family(self) -> &'static str {
        match self {
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => "RSA",
            Self::EcdsaP256 | Self::EcdsaP384 => "ECDSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// Bits of the modulus or of the curve.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Rsa2048 => 2048,
            Self::Rsa3072 => 3072,
            Self::Rsa4096 => 4096,
            Self::EcdsaP256 | Self::Ed25519 => 256,
            Self::EcdsaP384 => 384,
        }
    }

    /// `ECDSA-P256` and the like.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
            Self::EcdsaP256 => "ECDSA-P256",
            Self::EcdsaP384 => "ECDSA-P384",
            Self::Ed25519 => "Ed25519",
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyAlgorithm {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            InvalidName::new("key algorithm", text, "is none of ECDSA-P256, ECDSA-P384, Ed25519, RSA-2048, RSA-3072, RSA-4096")
        })
    }
}

/// An extended key usage that profiles may allow (RFC 5280 section 4.2.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ExtendedKeyUsage {
    /// id-kp-serverAuth
    ServerAuth,
    /// id-kp-clientAuth
    ClientAuth,
    /// id-kp-codeSigning
    CodeSigning,
    /// id-kp-emailProtection
    EmailProtection,
    /// id-kp-timeStamping
    TimeStamping,
}

/// Why a certificate was revoked (RFC 5280 section 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RevocationReason {
    /// No reason given.
    #[default]
    Unspecified,
    /// The private key is known or feared to be in other hands.
    KeyCompromise,
    /// The CA's key is known or feared to be in other hands.
    CaCompromise,
    /// The subject's name or affiliation changed.
    AffiliationChanged,
    /// A newer certificate took its place.
    Superseded,
    /// The service no longer exists.
    CessationOfOperation,
    /// Revoked for now; may be lifted.
    CertificateHold,
    /// A privilege in the certificate was withdrawn.
    PrivilegeWithdrawn,
}

impl RevocationReason {
    /// Every reason, in order of code.
    pub const ALL: [Self; 8] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::PrivilegeWithdrawn,
    ];

    /// `CRLReason` code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::CertificateHold => 6,
            Self::PrivilegeWithdrawn => 9,
        }
    }

    /// `keyCompromise` and the like.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "caCompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::CertificateHold => "certificateHold",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
        }
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RevocationReason {
    type Err = InvalidName;

    /// Reads `camelCase`, `snake_case` and `kebab-case`.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let plain = |text: &str| text.chars().filter(|c| !matches!(c, '_' | '-')).collect::<String>().to_ascii_lowercase();
        let wanted = plain(text);
        Self::ALL.into_iter().find(|reason| plain(reason.as_str()) == wanted).ok_or_else(|| {
            InvalidName::new(
                "revocation reason",
                text,
                "is none of unspecified, keyCompromise, caCompromise, affiliationChanged, superseded, cessationOfOperation, certificateHold, privilegeWithdrawn",
            )
        })
    }
}

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

/// Why a text would deceive its reader, if it would: control, bidirectional or invisible characters.
#[must_use]
pub fn deceptive(text: &str) -> Option<&'static str> {
    text.chars().find_map(|c| if is_plain(c) { None } else { Some("has control, bidirectional or invisible characters") })
}

const fn is_plain(c: char) -> bool {
    !matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a label has ASCII letters beside letters of a script other than Latin: the classic homograph.
fn mixes_scripts(label: &str) -> bool {
    let latin = |c: char| matches!(c, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}');
    label.chars().any(|c| c.is_ascii_alphabetic()) && label.chars().any(|c| !c.is_ascii() && c.is_alphabetic() && !latin(c))
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
    fn sans_keep_their_kind() {
        let set = SanSet::parse(["web.test", "10.0.0.1", "::1", "ops@example.test", "spiffe://td/web", "web.test"]).unwrap();
        let kinds: Vec<_> = set.iter().map(San::kind).collect();
        assert_eq!(kinds, ["dns", "ip", "ip", "email", "uri"]);
        assert!(SanSet::parse((0..500).map(|i| format!("h{i}.test"))).is_err());
    }

    #[test]
    fn serials_of_any_spelling_are_equal() {
        for text in ["00FF:01", "ff01", "0xff01", "00-ff-01", "0000ff01"] {
            assert_eq!(Serial::parse(text).unwrap().as_str(), "00ff01", "{text}");
        }
        assert_eq!(Serial::parse("1").unwrap().to_der_bytes(), [1]);
        assert!(Serial::parse("0").is_err() && Serial::parse("xyz").is_err() && Serial::parse("").is_err());
    }

    #[test]
    fn reasons_read_every_usual_spelling() {
        for text in ["keyCompromise", "key_compromise", "KEY-COMPROMISE"] {
            assert_eq!(text.parse::<RevocationReason>().unwrap().code(), 1);
        }
        assert!("removeFromCRL".parse::<RevocationReason>().is_err());
    }

    #[test]
    fn refusals_do_not_repeat_what_deceives() {
        let error = DnsName::parse("a\u{202e}b.test").unwrap_err().to_string();
        assert!(error.is_ascii(), "{error}");
    }
}
