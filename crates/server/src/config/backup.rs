//! Settings about where backups are kept and whom they are encrypted to.

use std::fmt;

use certctl_backup::seal::Recipient;
use url::Url;

use super::value::{BadValue, ListItem, Raw, SettingValue, Shown, scalar};

/// The name of a bucket, as every S3 takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketName(String);

/// What stands before the names of objects: parts between slashes, none at the ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPrefix(String);

/// `https://host[:port]`, or the same with http.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl(Url);

/// A text without blanks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word(String);

/// A public key of age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgeRecipient(Recipient);

impl BucketName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ObjectPrefix {
    /// The prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl EndpointUrl {
    /// The URL.
    #[must_use]
    pub const fn as_url(&self) -> &Url {
        &self.0
    }
}

impl Word {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AgeRecipient {
    /// The key.
    #[must_use]
    pub const fn as_recipient(&self) -> &Recipient {
        &self.0
    }
}

impl SettingValue for BucketName {
    const KIND: &'static str = "name of a bucket";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        let text = scalar(raw)?;
        let hint = "write the name alone, without s3:// and without a path; what stands before the objects is backup.s3_prefix";
        let letters = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
        if !(3..=63).contains(&text.len()) || !letters {
            return Err(BadValue::new("is not a name of 3 to 63 lower-case letters, digits, dots and hyphens").hint(hint));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> Shown {
        Shown::Text(self.0.clone())
    }
}

impl SettingValue for ObjectPrefix {
    const KIND: &'static str = "path in a bucket";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        let text = scalar(raw)?.trim_matches('/');
        let part = |part: &str| {
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.=".contains(&b))
        };
        if !text.split('/').all(part) {
            return Err(BadValue::new("is not a path of letters, digits, `-`, `_`, `.` and `=`").hint("write it like certctl/production"));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> Shown {
        Shown::Text(self.0.clone())
    }
}

impl SettingValue for EndpointUrl {
    const KIND: &'static str = "http or https URL";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        let bad = |why: &str| BadValue::new(why).hint("write it like https://s3.example.com:9000");
        let url = Url::parse(scalar(raw)?).map_err(|_| bad("is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(bad("is not an http or https address"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("has a user name or password, which everyone would see"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(bad("has something behind the host and port"));
        }
        Ok(Self(url))
    }

    fn show(&self) -> Shown {
        Shown::Text(self.0.as_str().trim_end_matches('/').to_owned())
    }
}

impl SettingValue for Word {
    const KIND: &'static str = "word";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        let text = scalar(raw)?;
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadValue::new("is not one word of ASCII characters"));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> Shown {
        Shown::Text(self.0.clone())
    }
}

impl SettingValue for AgeRecipient {
    const KIND: &'static str = "public key of age";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        let text = scalar(raw)?;
        if text.starts_with("AGE-SECRET-KEY-") {
            return Err(
                BadValue::new("is a private key").hint("give the public key, which age-keygen writes as a comment before it: age1...")
            );
        }
        let parsed = Recipient::parse(text).map_err(|why| {
            BadValue::new(format!("is not a public key of age ({why})"))
                .hint("make a pair with age-keygen; the public key begins with age1")
        });
        parsed.map(Self)
    }

    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

impl ListItem for AgeRecipient {
    const LIST_KIND: &'static str = "list of public keys of age";
}

impl fmt::Display for AgeRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why<T: SettingValue>(text: &str) -> String {
        T::from_raw(&Raw::Text(text.to_owned())).err().map(|bad| bad.why).unwrap_or_default()
    }

    #[test]
    fn a_place_is_named_in_parts_that_fit_together() {
        for text in ["certctl-backups", "a.b-3"] {
            assert_eq!(why::<BucketName>(text), "", "{text}");
        }
        for text in ["", "ab", "s3://bucket", "bucket/path", "Bucket"] {
            assert!(why::<BucketName>(text).contains("3 to 63"), "{text}");
        }
        for text in ["certctl", "/certctl/production/", "env=prod"] {
            assert_eq!(why::<ObjectPrefix>(text), "", "{text}");
        }
        for text in ["", "/", "a//b", "../a", "a b"] {
            assert!(why::<ObjectPrefix>(text).contains("not a path"), "{text}");
        }
        assert_eq!(why::<EndpointUrl>("http://127.0.0.1:9000"), "");
        for text in ["minio", "ftp://minio", "https://u:p@minio", "https://minio/bucket"] {
            assert_ne!(why::<EndpointUrl>(text), "", "{text}");
        }
    }

    #[test]
    fn a_private_key_is_no_recipient_and_is_not_repeated() {
        let refused = AgeRecipient::from_raw(&Raw::Text("AGE-SECRET-KEY-1HUNTER2".to_owned())).unwrap_err();
        assert!(refused.why.contains("private") && !format!("{refused:?}").contains("HUNTER2"));
        assert!(why::<AgeRecipient>("age1nonsense").contains("not a public key"));
        assert_eq!(why::<AgeRecipient>("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"), "");
    }
}
