//! URLs of the CA, as the CA wrote them.

use ::url::ParseError;
use serde::{Deserialize, Serialize};

/// A URL beside the text that it was read from. Signed requests carry the text: a CA compares it byte by byte (RFC 8555 sections 6.2 and
/// 6.4), and a parsed URL that is written again may differ in the case of its host, in its port or in its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Url {
    text: String,
    parsed: ::url::Url,
}

impl Url {
    /// Reads an absolute URL.
    pub(super) fn parse(text: &str) -> Result<Self, ParseError> {
        Ok(Self { text: text.to_owned(), parsed: ::url::Url::parse(text)? })
    }

    /// Where a reference leads that stands in an answer from here. One that is absolute stays as it is.
    pub(super) fn join(&self, reference: &str) -> Result<Self, ParseError> {
        match Self::parse(reference) {
            Err(ParseError::RelativeUrlWithoutBase) => self.parsed.join(reference).map(|parsed| Self { text: parsed.to_string(), parsed }),
            read => read,
        }
    }

    /// The text as the CA wrote it.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Where a request goes.
    pub(super) const fn parsed(&self) -> &::url::Url {
        &self.parsed
    }
}

impl TryFrom<String> for Url {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        Ok(Self { parsed: ::url::Url::parse(&text)?, text })
    }
}

impl From<Url> for String {
    fn from(url: Url) -> Self {
        url.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_stays_as_it_was_written() {
        let text = "https://CA.test:443/a/../order";
        let url: Url = serde_json::from_value(serde_json::json!(text)).unwrap();
        assert_eq!((url.as_str(), url.parsed().as_str()), (text, "https://ca.test/order"));
        assert_eq!(serde_json::to_value(&url).unwrap(), text);
        for (reference, wanted) in [("https://CA.test/x", "https://CA.test/x"), ("/x", "https://ca.test/x"), ("x", "https://ca.test/x")] {
            assert_eq!(url.join(reference).unwrap().as_str(), wanted);
        }
        assert!(Url::parse("/order").is_err() && url.join("https://").is_err());
    }
}
