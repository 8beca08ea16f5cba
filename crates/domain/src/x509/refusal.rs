//! Why a value is refused, in words that are safe to show, and what makes a text deceive its reader.

/// A name, serial or fingerprint that is not what it should be: what it is, and why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{value}`: {why}")]
pub struct InvalidName {
    what: &'static str,
    value: String,
    why: &'static str,
}

impl InvalidName {
    pub(super) fn new(what: &'static str, value: &str, why: &'static str) -> Self {
        // What is shown is capped and freed of control and bidirectional characters: it ends in logs and on terminals.
        let value = value.chars().take(100).flat_map(|c| if is_plain(c) { vec![c] } else { c.escape_unicode().collect() }).collect();
        Self { what, value, why }
    }

    /// Why the value was refused.
    #[must_use]
    pub const fn why(&self) -> &'static str {
        self.why
    }
}

/// Why a text would deceive its reader, if it would: control, bidirectional or invisible characters.
#[must_use]
pub fn deceptive(text: &str) -> Option<&'static str> {
    text.chars().find_map(|c| if is_plain(c) { None } else { Some("has control, bidirectional or invisible characters") })
}

const fn is_plain(c: char) -> bool {
    !matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_do_not_repeat_what_deceives() {
        let error = InvalidName::new("DNS name", "a\u{202e}b.test", "is bad").to_string();
        assert!(error.is_ascii() && error.contains("202e"), "{error}");
    }
}
