//! Settings that nobody may see: the envelope key, the first administrator's token, a password.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use certctl_domain::secret::Secret;

use super::value::{BadValue, ListItem, Raw, SettingValue, Shown, scalar};

/// A key of 256 bits under which secrets at rest are sealed.
#[derive(Clone)]
pub struct EncryptionKey(Secret<[u8; 32]>);

impl EncryptionKey {
    /// The key itself.
    #[must_use]
    pub const fn secret(&self) -> &Secret<[u8; 32]> {
        &self.0
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl SettingValue for EncryptionKey {
    const KIND: &'static str = "key of 32 bytes in base64 or hex";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        let text = scalar(raw)?;
        let bad = |why: String| BadValue::new(why).hint("make one with: openssl rand -base64 32");
        let bytes =
            Secret::new(decode_hex(text).or_else(|| decode_base64(text)).ok_or_else(|| bad("is neither base64 nor hex".to_owned()))?);
        let key: [u8; 32] =
            bytes.expose().as_slice().try_into().map_err(|_| bad(format!("has {} bytes instead of 32", bytes.expose().len())))?;
        // A key of one repeated byte is a placeholder that somebody forgot to replace.
        if key.iter().all(|byte| Some(byte) == key.first()) {
            return Err(bad("is one byte repeated, so not a real key".to_owned()));
        }
        Ok(Self(Secret::new(key)))
    }

    fn show(&self) -> Shown {
        redacted()
    }
}

impl ListItem for EncryptionKey {
    const LIST_KIND: &'static str = "list of keys of 32 bytes in base64 or hex";
}

/// A token that an operator chose; long enough that nobody guesses it.
#[derive(Debug, Clone)]
pub struct Token(Secret<String>);

impl Token {
    /// The token itself.
    #[must_use]
    pub const fn secret(&self) -> &Secret<String> {
        &self.0
    }
}

impl SettingValue for Token {
    const KIND: &'static str = "token of at least 24 characters";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        let text = scalar(raw)?;
        let bad = |why: &str| Err(BadValue::new(why).hint("make one with: openssl rand -hex 24"));
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return bad("has spaces or characters outside ASCII, which a header cannot carry");
        }
        if text.len() < 24 {
            return bad("is shorter than 24 characters, so could be guessed");
        }
        Ok(Self(Secret::new(text.to_owned())))
    }

    fn show(&self) -> Shown {
        redacted()
    }
}

impl SettingValue for Secret<String> {
    const KIND: &'static str = "text";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        // Taken as it is: a password may begin or end with a space.
        match raw {
            Raw::Text(text) if !text.is_empty() => Ok(Self::new(text.clone())),
            Raw::Text(_) => Err(BadValue::new("is empty")),
            Raw::List(_) => Err(BadValue::new("is a list where one value is wanted")),
        }
    }

    fn show(&self) -> Shown {
        redacted()
    }
}

fn redacted() -> Shown {
    Shown::Text("[redacted]".to_owned())
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { alphabet::URL_SAFE } else { alphabet::STANDARD };
    GeneralPurpose::new(&alphabet, config).decode(text).ok()
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    // 64 digits are also base64 (of 48 bytes, which is no key), so hex is tried first and only at its length.
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<EncryptionKey, BadValue> {
        EncryptionKey::from_raw(&Raw::Text(text.to_owned()))
    }

    #[test]
    fn keys_are_read_in_every_usual_encoding() {
        let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff";
        let wanted = key(hex).unwrap();
        for text in [
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=\n",
        ] {
            assert_eq!(key(text).unwrap().secret().expose(), wanted.secret().expose());
        }
        assert_eq!(wanted.show(), Shown::Text("[redacted]".to_owned()));
        assert_eq!(format!("{wanted:?}"), "[redacted]");
    }

    #[test]
    fn weak_or_broken_secrets_are_refused_without_repeating_them() {
        for (text, why) in [("change-me", "neither"), ("c2hvcnQ=", "5 bytes"), (&"00".repeat(32), "repeated"), ("", "0 bytes")] {
            assert!(key(text).unwrap_err().why.contains(why), "{text}: {:?}", key(text));
        }
        let token = |text: &str| Token::from_raw(&Raw::Text(text.to_owned()));
        assert!(token("short").unwrap_err().why.contains("shorter"));
        assert!(token("has spaces in it and is long enough").unwrap_err().why.contains("spaces"));
        assert!(!format!("{:?}", token("correct-horse-battery-staple").unwrap()).contains("horse"));
    }
}
