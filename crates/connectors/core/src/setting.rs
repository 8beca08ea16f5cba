//! Types of settings that more than one connector has.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// An absolute path without `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AbsolutePath(PathBuf);

impl AbsolutePath {
    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl TryFrom<String> for AbsolutePath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let path = Path::new(&text);
        if !path.is_absolute() {
            return Err(format!("the path `{text}` is not absolute"));
        }
        if text.len() > 4_096 || text.contains('\0') || text.chars().any(char::is_control) {
            return Err("the path is too long or has control characters".to_owned());
        }
        if path.components().any(|part| matches!(part, Component::ParentDir)) || text.contains("/./") {
            return Err(format!("the path `{text}` has `.` or `..` in it"));
        }
        // Built from its components, so that two spellings of one path are equal.
        Ok(Self(path.components().collect()))
    }
}

impl From<AbsolutePath> for String {
    fn from(path: AbsolutePath) -> Self {
        path.0.to_string_lossy().into_owned()
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl JsonSchema for AbsolutePath {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AbsolutePath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^/", "maxLength": 4096, "description": "absolute path on the agent's machine"})
    }
}

/// A span of time as people write it: `500ms`, `30s`, `5m`, `24h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

impl Span {
    /// Whole seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Milliseconds.
    #[must_use]
    pub const fn milliseconds(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// The duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).unwrap_or_default();
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => 0,
        };
        match number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)) {
            Some(milliseconds @ 1..) => Ok(Self(Duration::from_millis(milliseconds))),
            _ => Err(format!("`{text}` is not a span of time such as 500ms, 30s, 5m or 24h")),
        }
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        let milliseconds = span.0.as_millis();
        match (milliseconds % 3_600_000, milliseconds % 60_000, milliseconds % 1_000) {
            (0, _, _) => format!("{}h", milliseconds / 3_600_000),
            (_, 0, _) => format!("{}m", milliseconds / 60_000),
            (_, _, 0) => format!("{}s", milliseconds / 1_000),
            _ => format!("{milliseconds}ms"),
        }
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$", "description": "span of time such as \"30s\""})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_have_one_spelling() {
        let path = |text: &str| AbsolutePath::try_from(text.to_owned());
        assert_eq!(path("/etc//ssl/web.pem").unwrap(), path("/etc/ssl/web.pem").unwrap());
        for text in ["", "web.pem", "./x", "/etc/../x", "/etc/./x", "/etc/x\0", "/etc/x\n", "********"] {
            assert!(path(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn spans_read_and_write_the_usual_form() {
        for text in ["500ms", "30s", "5m", "24h"] {
            assert_eq!(String::from(Span::try_from(text.to_owned()).unwrap()), text);
        }
        assert_eq!(Span::try_from("90s".to_owned()).unwrap().duration(), Duration::from_secs(90));
        for text in ["", "30", "s", "0s", "-1s", "1.5s", "30 s", "30x", "99999999999999999999h", "18446744073709551615h"] {
            assert!(Span::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
