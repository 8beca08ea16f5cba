//! The one error of all connectors: what failed, whether trying again can help, and what a person can do about it.

use std::error::Error;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whether and when it makes sense to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "class", rename_all = "snake_case")]
pub enum Retry {
    /// The same request will fail again until somebody changes something.
    Permanent,
    /// The outside world may heal by itself.
    Transient,
    /// The other side asked for fewer requests.
    Throttled {
        /// How long it asked to be left alone, if it said so.
        retry_after_seconds: Option<u64>,
    },
    /// The other side does not accept our credentials.
    Authentication,
    /// This connector cannot do what was asked.
    Unsupported,
}

/// Why a connector could not do its work. Never carries a secret.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConnectorError {
    retry: Retry,
    message: String,
    hint: Option<String>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl ConnectorError {
    /// Will fail again until somebody changes something.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(Retry::Permanent, message.into())
    }

    /// May succeed when tried again.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(Retry::Transient, message.into())
    }

    /// The other side asked for fewer requests.
    pub fn throttled(message: impl Into<String>, retry_after: Option<Duration>) -> Self {
        Self::new(Retry::Throttled { retry_after_seconds: retry_after.map(|d| d.as_secs()) }, message.into())
    }

    /// The other side does not accept our credentials.
    pub fn authentication(message: impl Into<String>) -> Self {
        Self::new(Retry::Authentication, message.into())
    }

    /// This kind of connector cannot do that.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Retry::Unsupported, message.into())
    }

    /// Adds what a person can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(presentable(&hint.into()));
        self
    }

    /// Adds the error below this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says the message in other words, e.g. with the names that the reader knows.
    #[must_use]
    pub fn rephrase(mut self, words: impl FnOnce(&str) -> String) -> Self {
        self.message = presentable(&words(&self.message));
        self
    }

    /// Whether trying again can help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        self.retry
    }

    /// What a person can do about it.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// This error and those below it, on one line.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = self.message.clone();
        let mut below = self.source();
        while let Some(error) = below {
            let layer = error.to_string();
            if !text.contains(&layer) {
                text.push_str(": ");
                text.push_str(&layer);
            }
            below = error.source();
        }
        presentable(&text)
    }

    fn new(retry: Retry, message: String) -> Self {
        Self { retry, message: presentable(&message), hint: None, source: None }
    }
}

/// Text of unknown origin, made fit for a terminal, a log line and a database row: no control characters, bounded length.
#[must_use]
pub fn presentable(text: &str) -> String {
    let plain = |c: char| c == '\n' || certctl_domain::x509::deceptive(c.encode_utf8(&mut [0; 4])).is_none();
    let mut kept: String = text.trim().chars().filter(|c| plain(*c)).take(MAX_TEXT).collect();
    if text.chars().count() > MAX_TEXT {
        kept.push('…');
    }
    kept
}

const MAX_TEXT: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explains_every_layer_once() {
        let io = std::io::Error::other("disk on fire");
        let error = ConnectorError::transient("cannot write /x").caused_by(io).hint("buy a disk");
        assert_eq!(error.to_string(), "cannot write /x");
        assert_eq!(error.explain(), "cannot write /x: disk on fire");
        assert_eq!(error.advice(), Some("buy a disk"));
        assert_eq!(error.retry(), Retry::Transient);
    }

    #[test]
    fn what_a_program_said_cannot_paint_the_terminal() {
        let error = ConnectorError::permanent("bad \u{1b}[31mred\u{1b}[0m \u{202e}text\r\n");
        assert_eq!(error.to_string(), "bad [31mred[0m text");
        assert!(ConnectorError::permanent("x".repeat(100_000)).to_string().chars().count() <= MAX_TEXT + 1);
    }

    #[test]
    fn the_retry_class_survives_the_wire() {
        let class = ConnectorError::throttled("slow down", Some(Duration::from_secs(30))).retry();
        let json = serde_json::to_string(&class).unwrap();
        assert_eq!(json, r#"{"class":"throttled","retry_after_seconds":30}"#);
        assert_eq!(serde_json::from_str::<Retry>(&json).unwrap(), class);
    }
}
