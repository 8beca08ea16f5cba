//! Instants as the whole product writes them: UTC, microseconds, RFC 3339 with `Z`.
//!
//! Both databases keep microseconds, so an instant is cut to them when it is made; what was written equals what is read.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// An instant in UTC with microsecond precision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Self = Self(OffsetDateTime::UNIX_EPOCH);

    /// From any offset; converted to UTC and cut to microseconds.
    #[must_use]
    pub fn new(at: OffsetDateTime) -> Self {
        let utc = at.to_offset(time::UtcOffset::UTC);
        let cut = utc.nanosecond() - utc.nanosecond() % 1_000;
        Self(utc.replace_nanosecond(cut).unwrap_or(utc))
    }

    /// From microseconds since the Unix epoch; `None` outside the years that `time` knows.
    #[must_use]
    pub fn from_unix_micros(micros: i64) -> Option<Self> {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).ok().map(Self)
    }

    /// From whole seconds since the Unix epoch; `None` outside the years that `time` knows.
    #[must_use]
    pub fn from_unix_seconds(seconds: i64) -> Option<Self> {
        OffsetDateTime::from_unix_timestamp(seconds).ok().map(Self)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub fn unix_micros(self) -> i64 {
        i64::try_from(self.0.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub fn unix_seconds(self) -> i64 {
        self.0.unix_timestamp()
    }

    /// The same instant for the `time` crate.
    #[must_use]
    pub fn to_offset(self) -> OffsetDateTime {
        self.0
    }

    /// This instant moved by `by`, which may be negative; stays at the last known instant instead of overflowing.
    #[must_use]
    pub fn saturating_add(self, by: time::Duration) -> Self {
        Self::new(self.0.saturating_add(by))
    }

    /// This instant moved earlier by `by`.
    #[must_use]
    pub fn saturating_sub(self, by: time::Duration) -> Self {
        Self::new(self.0.saturating_sub(by))
    }

    /// Time from `earlier` to this instant; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::try_from(self.0 - earlier.0).unwrap_or(Duration::ZERO)
    }

    /// Time from this instant to `later`, negative when `later` has passed.
    #[must_use]
    pub fn until(self, later: Self) -> time::Duration {
        later.0 - self.0
    }

    /// Cut to whole seconds, as X.509 writes them.
    #[must_use]
    pub fn whole_seconds(self) -> Self {
        Self(self.0.replace_nanosecond(0).unwrap_or(self.0))
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(at: OffsetDateTime) -> Self {
        Self::new(at)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an RFC 3339 instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an RFC 3339 time such as 2026-01-31T12:00:00Z")]
pub struct InvalidTimestamp(String);

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok();
        // An offset may lead out of the years that can be written.
        let utc = parsed.and_then(|at| at.checked_to_offset(time::UtcOffset::UTC)).filter(|at| (0..=9999).contains(&at.year()));
        utc.map(Self::new).ok_or_else(|| InvalidTimestamp(text.chars().take(64).collect()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

crate::schema::string_schema!(Timestamp, "Timestamp", "date-time", "RFC 3339 time in UTC");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_utc_with_z_and_cuts_to_microseconds() {
        let at: Timestamp = "2026-11-25T01:02:03.123456789+02:00".parse().unwrap();
        assert_eq!(at.to_string(), "2026-11-24T23:02:03.123456Z");
        assert_eq!(Timestamp::from_unix_micros(at.unix_micros()), Some(at));
    }

    #[test]
    fn refuses_what_is_not_a_time() {
        assert!("yesterday".parse::<Timestamp>().is_err());
        assert!("2026-02-30T00:00:00Z".parse::<Timestamp>().is_err());
        // In UTC these are outside of the years that can be written.
        assert!("9999-12-31T23:59:59-01:00".parse::<Timestamp>().is_err());
        assert!("0000-01-01T00:00:00+01:00".parse::<Timestamp>().is_err());
    }
}
