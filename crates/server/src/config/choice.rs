//! Settings that are one of a few words.

use super::suggest;
use super::value::{BadValue, Raw, SettingValue, Shown, scalar};

/// Declares an enum with the word for each variant, and reads and shows it as a setting.
macro_rules! choices {
    ($( $(#[$meta:meta])* $name:ident ($kind:literal) { $( $(#[$variant_meta:meta])* $variant:ident = $word:literal, )* } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )*
        }

        impl $name {
            /// The word that stands for it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
        }

        impl SettingValue for $name {
            const KIND: &'static str = $kind;

            fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
                let text = scalar(raw)?;
                match text.to_ascii_lowercase().as_str() {
                    $( $word => Ok(Self::$variant), )*
                    _ => Err(unknown_word(text, &[$($word),*])),
                }
            }

            fn show(&self) -> Shown {
                Shown::Text(self.as_str().to_owned())
            }
        }
    )* };
}

choices! {
    /// The oldest TLS version that is accepted.
    TlsVersion ("`1.3` or `1.2`") {
        /// TLS 1.2 and 1.3 (RFC 5246, RFC 8446).
        Tls12 = "1.2",
        /// TLS 1.3 only (RFC 8446).
        Tls13 = "1.3",
    }

    /// How hard SQLite waits for the disk at a commit.
    Synchronous ("`full` or `normal`") {
        /// A committed row survives a power cut.
        Full = "full",
        /// Faster; a power cut may take the last commits, never the consistency.
        Normal = "normal",
    }

    /// How the side of a bucket encrypts.
    BucketEncryption ("`AES256` or `aws:kms`") {
        /// Under keys of S3 (SSE-S3).
        Aes256 = "aes256",
        /// Under a key of the key management service (SSE-KMS).
        Kms = "aws:kms",
    }

    /// The form of a log line.
    LogFormat ("`text` or `json`") {
        /// For people at a terminal.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

fn unknown_word(text: &str, words: &[&str]) -> BadValue {
    let bad = BadValue::new(format!("is none of {}", words.join(", ")));
    // Of two version numbers neither is a slip of the pen for the other.
    match suggest::nearest(text, words.iter().copied()) {
        Some(word) if text.contains(char::is_alphabetic) => bad.hint(format!("did you mean `{word}`?")),
        _ => bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_any_case_and_suggested_when_misspelt() {
        let read = |text: &str| LogFormat::from_raw(&Raw::Text(text.to_owned()));
        assert_eq!(read(" JSON "), Ok(LogFormat::Json));
        let bad = read("jsn").unwrap_err();
        assert_eq!(bad.why, "is none of text, json");
        assert_eq!(bad.hint.as_deref(), Some("did you mean `json`?"));
        assert_eq!(read("logfmt").unwrap_err().hint, None);
        assert_eq!(TlsVersion::from_raw(&Raw::Text("1.1".to_owned())).unwrap_err().hint, None);
    }
}
