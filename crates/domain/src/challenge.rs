//! Challenges of ACME CAs that are answered on the host of an agent, and how far the agent has got.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Timestamp;

/// How an agent can prove to a CA that names lead to its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum ChallengeKind {
    /// Over plain HTTP (RFC 8555 section 8.3).
    #[serde(rename = "http-01")]
    Http01,
    /// In a TLS handshake (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

/// What a CA must find (RFC 8555 section 8.1): a token and the thumbprint of an account's key, both in base64url. It can be the name of a
/// file, its token can be a part of a path, and neither can be anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyAuthorization {
    text: String,
    token: String,
}

/// A text is no key authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key authorization is not a token and a thumbprint in base64url")]
pub struct NoKeyAuthorization;

/// A challenge that is to be answered on the host of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenChallenge {
    /// How the CA looks.
    #[serde(rename = "type")]
    pub kind: ChallengeKind,
    /// What it must find; its part before the dot is the token.
    #[schema(value_type = String)]
    pub key_authorization: KeyAuthorization,
    /// The name that it asks for in the handshake of tls-alpn-01, in lower case.
    pub server_name: Option<String>,
    /// From when on nobody asks any more.
    pub expires_at: Timestamp,
}

/// How far an agent has got with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerState {
    /// It has not said anything yet.
    Awaited,
    /// The CA may look.
    Ready,
    /// The agent cannot answer.
    Failed(CannotAnswer),
}

/// Why an agent cannot answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CannotAnswer {
    /// What happened.
    pub error: String,
    /// What an operator can do.
    pub hint: Option<String>,
    /// Whether trying again without a change cannot help.
    pub permanent: bool,
}

impl ChallengeKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Http01, Self::TlsAlpn01];

    /// The word of the protocol.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

impl fmt::Display for ChallengeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl KeyAuthorization {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, NoKeyAuthorization> {
        let (token, thumbprint) = text.split_once('.').ok_or(NoKeyAuthorization)?;
        if !is_token(token) || !is_token(thumbprint) {
            return Err(NoKeyAuthorization);
        }
        Ok(Self { text: text.to_owned(), token: token.to_owned() })
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The challenge's token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }
}

impl TryFrom<String> for KeyAuthorization {
    type Error = NoKeyAuthorization;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<KeyAuthorization> for String {
    fn from(this: KeyAuthorization) -> Self {
        this.text
    }
}

/// Whether a text can be the token of a challenge: base64url (RFC 8555 section 8.1), short enough to be the name of a file.
#[must_use]
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= MOST && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Longer than the token of any CA.
const MOST: usize = 250;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_authorization_is_nothing_but_a_token_and_a_thumbprint() {
        let fine =
            KeyAuthorization::parse("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI").unwrap();
        assert_eq!(fine.token(), "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA");
        let long = "a".repeat(251);
        for none in
            ["", ".", "a", "a.", ".b", "../x.b", "a/b.c", "a.b.c", "a\0.b", "a.<script>", "a .b", "a.b\n", "ä.b", &format!("{long}.b")]
        {
            assert_eq!(KeyAuthorization::parse(none), Err(NoKeyAuthorization), "{none:?}");
            assert!(serde_json::from_value::<KeyAuthorization>(serde_json::json!(none)).is_err());
        }
    }
}
