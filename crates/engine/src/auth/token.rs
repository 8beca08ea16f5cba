//! Bearer tokens: a kind, an id to find the row by, and a secret of which only the SHA-256 is kept.

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certctl_domain::secret::Secret;
use subtle::ConstantTimeEq as _;

use crate::error::{Error, Result};

/// What a token is for; its first two letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// `ck_`: an API key.
    ApiKey,
    /// `ca_`: the credential of an agent.
    Agent,
    /// `ce_`: a one-time token with which an agent enrolls.
    Enrollment,
}

/// A token taken apart: `ck_<id>_<secret>`.
#[derive(Debug, Clone)]
pub struct Token {
    kind: TokenKind,
    id: String,
    secret: Secret<String>,
}

impl TokenKind {
    /// The letters that a token of this kind begins with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::ApiKey => "ck",
            Self::Agent => "ca",
            Self::Enrollment => "ce",
        }
    }
}

impl Token {
    /// Takes a token apart; `None` when it cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '_');
        let kind = match parts.next()? {
            "ck" => TokenKind::ApiKey,
            "ca" => TokenKind::Agent,
            "ce" => TokenKind::Enrollment,
            _ => return None,
        };
        let id = parts.next().filter(|id| (1..=MAX_ID).contains(&id.len()) && id.bytes().all(is_plain))?;
        let secret =
            parts.next().filter(|s| (MIN_SECRET..=MAX_SECRET).contains(&s.len()) && s.bytes().all(|b| b == b'_' || is_plain(b)))?;
        Some(Self { kind, id: id.to_owned(), secret: Secret::new(secret.to_owned()) })
    }

    /// A new token with a secret of 256 random bits under this id.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn mint(kind: TokenKind, id: impl Into<String>) -> Result<Self> {
        let mut bytes = [0; 32];
        fill(&mut bytes)?;
        Ok(Self { kind, id: id.into(), secret: Secret::new(URL_SAFE_NO_PAD.encode(bytes)) })
    }

    /// A new token with a secret of 256 random bits under a random id.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn mint_anonymous(kind: TokenKind) -> Result<Self> {
        let mut bytes = [0; 6];
        fill(&mut bytes)?;
        Self::mint(kind, hex::encode(bytes))
    }

    /// What it is for.
    #[must_use]
    pub const fn kind(&self) -> TokenKind {
        self.kind
    }

    /// What its row is found by.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it begins with, which may be shown: `ck_<id>`.
    #[must_use]
    pub fn public_part(&self) -> String {
        format!("{}_{}", self.kind.prefix(), self.id)
    }

    /// What is kept of the secret: its SHA-256 in lower hex. 256 random bits need no slow hash.
    #[must_use]
    pub fn hash(&self) -> String {
        hash(self.secret.expose())
    }

    /// Whether its secret is the one that was kept, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, kept: &str) -> bool {
        bool::from(self.hash().as_bytes().ct_eq(kept.as_bytes()))
    }

    /// The whole token.
    #[must_use]
    pub fn text(&self) -> Secret<String> {
        Secret::new(format!("{}_{}", self.public_part(), self.secret.expose()))
    }
}

/// SHA-256 of a secret in lower hex.
#[must_use]
pub fn hash(secret: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, secret.as_bytes()))
}

/// SHA-256 of several parts, each with its length, in lower hex.
#[must_use]
pub fn hash_of(parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    hex::encode(context.finish())
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    rand::fill(bytes).map_err(|_| Error::internal("the system gives no randomness"))
}

fn is_plain(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-' || b == b'.'
}

const MAX_ID: usize = 128;
/// 128 bits in hex or base64; less could be guessed.
const MIN_SECRET: usize = 22;
const MAX_SECRET: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text_and_matches_its_hash_alone() {
        let token = Token::mint_anonymous(TokenKind::ApiKey).unwrap();
        let text = token.text();
        assert_eq!(text.expose().len(), "ck_".len() + 12 + 1 + 43);
        assert!(text.expose().starts_with(&token.public_part()));
        let parsed = Token::parse(text.expose()).unwrap();
        assert_eq!((parsed.kind(), parsed.id()), (TokenKind::ApiKey, token.id()));
        assert!(parsed.matches(&token.hash()));
        assert!(!parsed.matches(&Token::mint_anonymous(TokenKind::ApiKey).unwrap().hash()) && !parsed.matches(""));
        assert!(!format!("{parsed:?}").contains(parsed.secret.expose()), "the secret is not printed");
    }

    #[test]
    fn what_cannot_be_a_token_is_none() {
        let secret = "A".repeat(43);
        let long = "A".repeat(129);
        for text in [
            String::new(),
            "ck".into(),
            "ck_".into(),
            format!("ck__{secret}"),
            format!("cx_abc_{secret}"),
            format!("CK_abc_{secret}"),
            "ck_abc_short".into(),
            format!("ck_abc_{long}"),
            format!("ck_a b_{secret}"),
            format!("ck_abc_{secret}\n"),
            format!("ck_{long}_{secret}"),
            format!("ck_abc_{}é", secret),
        ] {
            assert!(Token::parse(&text).is_none(), "{text}");
        }
        assert!(Token::parse(&format!("ca_0190-aa_{secret}_with_underscores")).is_some());
    }
}
