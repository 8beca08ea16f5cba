//! The one error of these commands: what went wrong, why, and what to do about it. They have a person as reader, never a caller that
//! would tell one kind from another.

use std::error::Error;
use std::fmt;

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    hint: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// Says what went wrong.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None, source: None }
    }

    /// Adds what the reader can do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what lies beneath.
    pub(crate) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the reader can do about it, if anything.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
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
        let inner = Failure::new("no such file");
        let outer = Failure::new("cannot read nginx.conf").because(inner).hint("check --dir");
        assert_eq!(outer.chain(), "cannot read nginx.conf: no such file");
        assert_eq!(outer.to_string(), "cannot read nginx.conf");
        assert_eq!(outer.advice(), Some("check --dir"));
    }
}
