//! The one error of the bench: what could not be measured, and why. Its reader is a person.

use std::error::Error;
use std::fmt;

/// What most functions here give.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Why something could not be measured.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// Says what was being done when something failed.
pub(crate) trait Context<T> {
    /// Puts `what` before the error.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl Failure {
    /// Says what went wrong.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }

    /// This error and all that lie beneath, on one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.what.clone();
        let mut next = self.source();
        while let Some(error) = next {
            text.push_str(": ");
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure { what: what.to_string(), source: Some(error.into()) })
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Failure::new(what.to_string()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_names_every_layer_once() {
        let inner: Result<()> = Err(Failure::new("no such file"));
        let outer = inner.context("cannot read the status").unwrap_err();
        assert_eq!(outer.chain(), "cannot read the status: no such file");
    }
}
