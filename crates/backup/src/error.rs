//! Why a backup cannot be made, read or put back.

use std::error::Error;
use std::io;

/// What went wrong, in a sentence, and what to do about it where there is something.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BackupError {
    message: String,
    hint: Option<String>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl BackupError {
    /// An error that says this.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, source: None }
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With what lies below it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same, said of something.
    #[must_use]
    pub fn about(mut self, what: &str) -> Self {
        if !self.message.contains(what) {
            self.message = format!("{what}: {}", self.message);
        }
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The whole chain in one line; what a cause repeats of the one above it is said once.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut below = self.source();
        while let Some(error) = below {
            let said = error.to_string();
            if !text.contains(&said) {
                text.push_str(&format!(": {said}"));
            }
            below = error.source();
        }
        text
    }

    /// For interfaces that know input and output errors alone; [`BackupError::from_io`] finds it again.
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }

    /// An error of reading or writing; one of ours that passed through such an interface comes out as it went in.
    pub fn from_io(what: &str, error: io::Error) -> Self {
        let ours = error.get_ref().is_some_and(|inner| inner.is::<Self>());
        if ours {
            return match error.into_inner().map(|inner| inner.downcast::<Self>()) {
                Some(Ok(ours)) => *ours,
                Some(Err(other)) => Self::new(what).because(other),
                None => Self::new(what),
            };
        }
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let failed = Self::new(what).because(error);
        if full { failed.hint("free space there, or let `backup prune` keep fewer") } else { failed }
    }
}
