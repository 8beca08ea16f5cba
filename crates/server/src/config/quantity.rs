//! Durations such as `30s` and `1h30m`, and sizes such as `1MiB`.

use std::cmp::Ordering;
use std::time::Duration;

use super::value::{BadValue, Raw, SettingValue, Shown, scalar};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory; the largest possible length when it does not fit.
    #[must_use]
    pub fn as_len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl SettingValue for Duration {
    const KIND: &'static str = "duration";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        let text = scalar(raw)?;
        let bad = |why: &str| BadValue::new(why).hint("write a number and a unit, such as 500ms, 30s, 5m, 24h, 7d or 1h30m");
        let mut total = Self::ZERO;
        let mut rest = text;
        while !rest.is_empty() {
            let (number, tail) = leading(rest, |c| c.is_ascii_digit());
            let (unit, tail) = leading(tail, |c| c.is_ascii_alphabetic());
            let Ok(number) = number.parse::<u64>() else {
                return Err(bad("is not a duration"));
            };
            let millis = DURATION_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, millis)| *millis);
            let Some(millis) = millis else {
                return Err(bad(if unit.is_empty() { "has no unit" } else { "has a unit that is none of ms, s, m, h, d" }));
            };
            let part = number.checked_mul(millis).map(Self::from_millis).and_then(|part| total.checked_add(part));
            total = part.ok_or_else(|| bad("is too long a time"))?;
            rest = tail;
        }
        if text.is_empty() { Err(bad("is empty where a duration is wanted")) } else { Ok(total) }
    }

    fn show(&self) -> Shown {
        let mut millis = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return Shown::Text("0s".to_owned());
        }
        let mut text = String::new();
        for (unit, size) in DURATION_UNITS {
            let count = millis / size;
            if count > 0 {
                text.push_str(&format!("{count}{unit}"));
                millis %= size;
            }
        }
        Shown::Text(text)
    }

    fn compare(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl SettingValue for ByteSize {
    const KIND: &'static str = "size";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        let text = scalar(raw)?;
        let bad = |why: &str| BadValue::new(why).hint("write a number and a unit, such as 65536, 64KiB, 1MiB or 2GB");
        let (number, unit) = leading(text, |c| c.is_ascii_digit());
        let Ok(number) = number.parse::<u64>() else {
            return Err(bad("is not a size"));
        };
        let unit = unit.trim();
        let size = if unit.is_empty() { Some(1) } else { SIZE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size) };
        let Some(size) = size else {
            return Err(bad("has a unit that is none of B, KiB, MiB, GiB, kB, MB, GB"));
        };
        number.checked_mul(size).map(Self).ok_or_else(|| bad("is too large"))
    }

    fn show(&self) -> Shown {
        let whole = SIZE_UNITS.iter().find(|(name, size)| name.contains('i') && self.0 >= *size && self.0.is_multiple_of(*size));
        Shown::Text(whole.map_or_else(|| format!("{}B", self.0), |(name, size)| format!("{}{name}", self.0 / size)))
    }

    fn compare(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Splits off the longest beginning whose characters all satisfy `wanted`.
fn leading(text: &str, wanted: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !wanted(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Largest first, as durations are shown. In milliseconds.
const DURATION_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Largest first, as sizes are shown. In bytes.
const SIZE_UNITS: [(&str, u64); 7] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000), ("B", 1)];

#[cfg(test)]
mod tests {
    use super::*;

    fn duration(text: &str) -> Result<Duration, BadValue> {
        Duration::from_raw(&Raw::Text(text.to_owned()))
    }

    fn size(text: &str) -> Result<ByteSize, BadValue> {
        ByteSize::from_raw(&Raw::Text(text.to_owned()))
    }

    #[test]
    fn durations_read_and_show() {
        for (text, millis, shown) in [
            ("500ms", 500, "500ms"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "1m30s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("168h", 604_800_000, "7d"),
            ("0s", 0, "0s"),
        ] {
            let value = duration(text).unwrap();
            assert_eq!(value, Duration::from_millis(millis), "{text}");
            assert_eq!(value.show(), Shown::Text(shown.to_owned()));
        }
        for (text, why) in [
            ("30", "no unit"),
            ("30 s", "no unit"),
            ("s", "not a duration"),
            ("-5s", "not a duration"),
            ("1.5h", "no unit"),
            ("5w", "unit that is none"),
            ("", "empty"),
            ("99999999999999999999s", "not a duration"),
            ("300000000000000d", "too long"),
        ] {
            assert!(duration(text).unwrap_err().why.contains(why), "{text}: {:?}", duration(text));
        }
    }

    #[test]
    fn sizes_read_and_show() {
        for (text, bytes, shown) in
            [("512", 512, "512B"), ("1MiB", 1 << 20, "1MiB"), ("1536 KiB", 1536 << 10, "1536KiB"), ("1MB", 1_000_000, "1000000B")]
        {
            let value = size(text).unwrap();
            assert_eq!(value.bytes(), bytes, "{text}");
            assert_eq!(value.show(), Shown::Text(shown.to_owned()));
        }
        for text in ["", "MiB", "1 mb", "1XB", "-1", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
