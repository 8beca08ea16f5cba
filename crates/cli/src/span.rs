//! Lengths of time as people write them: `30s`, `5m`, `24h`, `90d`, and how far an instant is from now.

use std::time::Duration;

use certctl_domain::time::Timestamp;

/// Reads `30s`, `5m`, `24h`, `90d`, and sums such as `1h30m`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let fail = || format!("`{text}` is not a length of time such as 30s, 5m, 24h or 90d");
    let mut total: u64 = 0;
    let mut number = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => MINUTE,
            'h' => HOUR,
            'd' => DAY,
            _ => return Err(fail()),
        };
        let count: u64 = number.parse().map_err(|_| fail())?;
        total = count.checked_mul(unit).and_then(|seconds| total.checked_add(seconds)).ok_or_else(fail)?;
        number.clear();
    }
    if number.is_empty() && !text.is_empty() && total <= 100 * 365 * DAY { Ok(Duration::from_secs(total)) } else { Err(fail()) }
}

/// The instant that lies this far after `now`.
pub(crate) fn after(now: Timestamp, length: Duration) -> Timestamp {
    now.saturating_add(time::Duration::try_from(length).unwrap_or(time::Duration::MAX))
}

/// `in 29d`, `3h ago`, `now`.
pub(crate) fn relative(at: Timestamp, now: Timestamp) -> String {
    let ahead = now.until(at);
    let length = short(ahead.unsigned_abs());
    match () {
        () if ahead.unsigned_abs() < Duration::from_secs(1) => "now".to_owned(),
        () if ahead.is_negative() => format!("{length} ago"),
        () => format!("in {length}"),
    }
}

/// One number with the unit that says enough: `42s`, `5m`, `7h`, `29d`, `3y`.
pub(crate) fn short(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..HOUR => format!("{}m", seconds / MINUTE),
        HOUR..TWO_DAYS => format!("{}h", seconds / HOUR),
        TWO_DAYS..TWO_YEARS => format!("{}d", seconds / DAY),
        _ => format!("{}y", seconds / (365 * DAY)),
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const TWO_DAYS: u64 = 2 * DAY;
const TWO_YEARS: u64 = 2 * 365 * DAY;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_with_their_unit() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("24h", 86_400), ("90d", 7_776_000), ("1h30m", 5_400)] {
            assert_eq!(parse(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "5", "m", "-5m", "5 m", "1w", "5m3", "1.5h", "99999999999999999999d", "36501d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn instants_are_told_from_now() {
        let now = Timestamp::from_unix_seconds(1_000_000_000).unwrap();
        let at = |seconds: i64| relative(now.saturating_add(time::Duration::seconds(seconds)), now);
        let told: Vec<String> = [0, 42, 3_599, -7_200, 172_799, 172_800, 29 * 86_400 + 5, -800 * 86_400].map(at).into();
        assert_eq!(told, ["now", "in 42s", "in 59m", "2h ago", "in 47h", "in 2d", "in 29d", "2y ago"]);
    }
}
