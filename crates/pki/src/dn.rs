//! Distinguished names: the common names in a subject that came from outside, and the subjects that we write ourselves.

use certctl_domain::x509::{InvalidName, check_common_name, deceptive};
use const_oid::db::rfc4519;
use der::Tag;
use der::asn1::{Any, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

/// A subject as we write it: checked attributes in the order C, ST, L, O, OU, CN; `UTF8String` but for the country.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject {
    attributes: Vec<(Attribute, String)>,
}

/// An attribute that a subject may have, in the order in which it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribute {
    /// countryName: two letters.
    Country,
    /// stateOrProvinceName
    Province,
    /// localityName
    Locality,
    /// organizationName
    Organization,
    /// organizationalUnitName
    OrganizationalUnit,
    /// commonName
    CommonName,
}

impl Subject {
    /// A subject of one common name.
    ///
    /// # Errors
    /// When the name is empty, too long or deceives.
    pub fn with_common_name(name: &str) -> Result<Self, InvalidSubject> {
        Self::default().with(Attribute::CommonName, name)
    }

    /// This subject with one attribute more.
    ///
    /// # Errors
    /// When the value is empty, longer than RFC 5280 appendix A allows, or has characters that deceive; or when it would be a
    /// second common name.
    pub fn with(mut self, attribute: Attribute, value: &str) -> Result<Self, InvalidSubject> {
        attribute.check(value)?;
        if attribute == Attribute::CommonName && self.attributes.iter().any(|(other, _)| *other == attribute) {
            return Err(InvalidSubject::Attribute { attribute: attribute.name(), why: "is given twice" });
        }
        self.attributes.push((attribute, value.to_owned()));
        // A stable sort keeps the order of equal attributes as given.
        self.attributes.sort_by_key(|(attribute, _)| *attribute);
        Ok(self)
    }

    /// Whether there is no attribute.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    /// The DER `Name`.
    pub(crate) fn to_any(&self) -> der::Result<Any> {
        let mut name = RdnSequence::default();
        for (attribute, value) in &self.attributes {
            let value = match attribute {
                Attribute::Country => Any::encode_from(&PrintableStringRef::new(value)?)?,
                _ => Any::encode_from(&Utf8StringRef::new(value)?)?,
            };
            let mut rdn = RelativeDistinguishedName::default();
            rdn.insert(AttributeTypeAndValue { oid: attribute.oid(), value })?;
            name.push(rdn);
        }
        Any::encode_from(&name)
    }
}

impl Attribute {
    const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Country => rfc4519::COUNTRY_NAME,
            Self::Province => rfc4519::ST,
            Self::Locality => rfc4519::LOCALITY_NAME,
            Self::Organization => rfc4519::ORGANIZATION_NAME,
            Self::OrganizationalUnit => rfc4519::ORGANIZATIONAL_UNIT_NAME,
            Self::CommonName => rfc4519::COMMON_NAME,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Country => "country",
            Self::Province => "state or province",
            Self::Locality => "locality",
            Self::Organization => "organization",
            Self::OrganizationalUnit => "organizational unit",
            Self::CommonName => "common name",
        }
    }

    /// RFC 5280 appendix A.1: ub-common-name, ub-organization-name and ub-organizational-unit-name 64, the others 128.
    fn check(self, value: &str) -> Result<(), InvalidSubject> {
        let fail = |why| Err(InvalidSubject::Attribute { attribute: self.name(), why });
        let limit = match self {
            Self::CommonName => return Ok(check_common_name(value)?),
            Self::Country if value.len() == 2 && value.bytes().all(|b| b.is_ascii_uppercase()) => return Ok(()),
            Self::Country => return fail("is not two upper-case letters (ISO 3166)"),
            Self::Province | Self::Locality => 128,
            Self::Organization | Self::OrganizationalUnit => 64,
        };
        if value.trim().is_empty() {
            fail("is empty")
        } else if value.chars().count() > limit {
            fail("is too long")
        } else {
            deceptive(value).map_or(Ok(()), fail)
        }
    }
}

/// A subject that would not be valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubject {
    /// A common name that cannot be used.
    #[error(transparent)]
    CommonName(#[from] InvalidName),
    /// Another attribute that cannot be used.
    #[error("the {attribute} of the subject {why}")]
    Attribute {
        /// In words.
        attribute: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Every common name in a parsed name; a value that is no text gives `None`.
pub(crate) fn common_names(name: &Name) -> Vec<Option<String>> {
    name.iter().filter(|attribute| attribute.oid == rfc4519::COMMON_NAME).map(|attribute| text_of(&attribute.value)).collect()
}

/// The text of a `DirectoryString`, and of the `IA5String` that some tools write instead.
fn text_of(value: &Any) -> Option<String> {
    match der::Tagged::tag(value) {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => String::from_utf8(value.value().to_vec()).ok(),
        // T.61 is read as what everybody writes with it: Latin-1.
        Tag::TeletexString => Some(value.value().iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let (units, rest) = value.value().as_chunks::<2>();
            let units: Vec<u16> = units.iter().copied().map(u16::from_be_bytes).collect();
            if rest.is_empty() { String::from_utf16(&units).ok() } else { None }
        }
        _ => None,
    }
}

/// A DER name as RFC 4514 text; as openssl shows it where that cannot read it.
pub(crate) fn display(der: &[u8], fallback: &impl std::fmt::Display) -> String {
    <Name as der::Decode>::from_der(der).map_or_else(|_| fallback.to_string(), |name| name.to_string())
}

/// The DER of a parsed name, for tests and comparisons.
#[cfg(test)]
pub(crate) fn parsed(subject: &Subject) -> Name {
    <Name as der::Decode>::from_der(&der::Encode::to_der(&subject.to_any().unwrap()).unwrap()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_attributes_in_order() {
        let subject = Subject::with_common_name("Example Root")
            .and_then(|s| s.with(Attribute::Organization, "Ex\u{e4}mple, Inc."))
            .and_then(|s| s.with(Attribute::Country, "DE"))
            .unwrap();
        let name = parsed(&subject);
        assert_eq!(name.to_string(), "CN=Example Root,O=Ex\u{e4}mple\\, Inc.,C=DE");
        assert_eq!(common_names(&name), [Some("Example Root".to_owned())]);
    }

    #[test]
    fn refuses_bad_values() {
        let empty = Subject::default;
        for (result, wanted) in [
            (Subject::with_common_name(&"a".repeat(65)), "longer than 64"),
            (Subject::with_common_name("a").unwrap().with(Attribute::CommonName, "b"), "given twice"),
            (empty().with(Attribute::Country, "Germany"), "two upper-case letters"),
            (empty().with(Attribute::Organization, " "), "empty"),
            (empty().with(Attribute::Locality, &"x".repeat(129)), "too long"),
            (empty().with(Attribute::OrganizationalUnit, "a\u{202e}b"), "bidirectional"),
        ] {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn reads_every_usual_string_type() {
        let any = |tag, bytes: &[u8]| Any::new(tag, bytes).unwrap();
        assert_eq!(text_of(&any(Tag::BmpString, &[0, b'w', 0, b'e'])).as_deref(), Some("we"));
        assert_eq!(text_of(&any(Tag::BmpString, &[0, b'w', 0])), None);
        assert_eq!(text_of(&any(Tag::TeletexString, &[0xfc])).as_deref(), Some("\u{fc}"));
        assert_eq!(text_of(&any(Tag::Ia5String, b"web")).as_deref(), Some("web"));
        assert_eq!(text_of(&any(Tag::Utf8String, &[0xff])), None);
        assert_eq!(text_of(&any(Tag::Integer, &[1])), None);
    }
}
