//! Durations as people write them: `30s`, `5m`, `24h`, `7d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, SchemaFormat};

/// A whole number of seconds, minutes, hours or days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurationText(Duration);

/// The text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration such as 30s, 5m, 24h or 7d")]
pub struct InvalidDuration(String);

impl DurationText {
    /// The duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for DurationText {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let parsed = UNITS.iter().find_map(|(unit, seconds)| {
            let number = text.strip_suffix(unit).filter(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))?;
            number.parse::<u64>().ok()?.checked_mul(*seconds)
        });
        match parsed {
            Some(seconds) => Ok(Self(Duration::from_secs(seconds))),
            None => Err(InvalidDuration(text.chars().take(32).collect())),
        }
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (unit, size) = UNITS.iter().rev().find(|(_, size)| seconds > 0 && seconds.is_multiple_of(*size)).copied().unwrap_or(("s", 1));
        write!(f, "{}{unit}", seconds / size)
    }
}

impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <std::borrow::Cow<'_, str>>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl utoipa::PartialSchema for DurationText {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::Custom("duration".to_owned())))
            .description(Some("a whole number with s, m, h or d, such as `24h`"))
            .into()
    }
}

impl utoipa::ToSchema for DurationText {
    fn name() -> std::borrow::Cow<'static, str> {
        std::borrow::Cow::Borrowed("Duration")
    }
}

/// From small to large.
const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (text, seconds) in [("0s", 0), ("30s", 30), ("5m", 300), ("24h", 86_400), ("7d", 604_800), ("90s", 90)] {
            let duration: DurationText = text.parse().unwrap();
            assert_eq!(duration.get().as_secs(), seconds, "{text}");
            assert_eq!(duration.to_string().parse::<DurationText>().unwrap(), duration);
        }
        assert_eq!("24h".parse::<DurationText>().unwrap().to_string(), "1d");
    }

    #[test]
    fn refuses_what_is_not_one() {
        for text in ["", "h", "1", "-1h", "1.5h", "1w", " 1h", "1h30m", "99999999999999999999d", "9999999999999999999d"] {
            assert!(text.parse::<DurationText>().is_err(), "{text}");
        }
    }
}
