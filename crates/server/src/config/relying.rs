//! Where relying parties reach what is published.

use std::fmt;

use certctl_engine::publication::Base;
use url::Url;

use super::value::{BadValue, Raw, SettingValue, Shown, scalar};

/// The address under which relying parties fetch revocation lists, OCSP answers and CA certificates: `http://host[:port][/path]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedAt {
    base: Base,
    text: String,
}

impl PublishedAt {
    /// As it stands in certificates.
    #[must_use]
    pub const fn base(&self) -> &Base {
        &self.base
    }
}

impl fmt::Display for PublishedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl SettingValue for PublishedAt {
    const KIND: &'static str = "http or https URL";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        let bad = |why: &str| BadValue::new(why).hint("write it like http://pki.example.com");
        let text = scalar(raw)?;
        let url = Url::parse(text).map_err(|_| bad("is not a URL"))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(bad("has no host"));
        }
        let text = url.as_str().trim_end_matches('/').to_owned();
        let base = Base::parse(&text).map_err(|_| bad("is not an http or https address without user name, query and fragment"))?;
        Ok(Self { base, text })
    }

    fn show(&self) -> Shown {
        Shown::Text(self.text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_an_address_that_clients_can_fetch_from() {
        let read = |text: &str| PublishedAt::from_raw(&Raw::Text(text.into()));
        assert_eq!(read("HTTP://PKI.example.com:80/x/").unwrap().to_string(), "http://pki.example.com/x");
        for text in ["pki.example.com", "ftp://pki.example.com", "http://", "http://u:p@pki.example.com", "http://pki.example.com/?a"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
