//! From when to when a certificate is valid.

use certctl_domain::time::Timestamp;
use time::Duration;

/// Two instants in whole seconds, the first before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Validity {
    /// How far notBefore lies in the past unless told otherwise: clients whose clocks run late must accept a new certificate.
    pub const DEFAULT_BACKDATE: Duration = Duration::minutes(5);

    /// From one instant to another, both cut to whole seconds.
    ///
    /// # Errors
    /// When the first is not before the second.
    pub fn new(not_before: Timestamp, not_after: Timestamp) -> Result<Self, InvalidValidity> {
        let (not_before, not_after) = (not_before.whole_seconds(), not_after.whole_seconds());
        if not_before < not_after { Ok(Self { not_before, not_after }) } else { Err(InvalidValidity { not_before, not_after }) }
    }

    /// Ends `lifetime` from now, begins `backdate` before now.
    ///
    /// # Errors
    /// When the lifetime is not positive.
    pub fn starting(now: Timestamp, lifetime: Duration, backdate: Duration) -> Result<Self, InvalidValidity> {
        let end = now.saturating_add(lifetime);
        // A backdate must not make a lifetime of nothing valid.
        Self::new(now, end)?;
        Self::new(now.saturating_sub(backdate.max(Duration::ZERO)), end)
    }

    /// First second.
    #[must_use]
    pub const fn not_before(self) -> Timestamp {
        self.not_before
    }

    /// Last second.
    #[must_use]
    pub const fn not_after(self) -> Timestamp {
        self.not_after
    }

    /// The part of this that lies inside `outer`.
    ///
    /// # Errors
    /// When there is none.
    pub fn clamped_to(self, outer: Self) -> Result<Self, InvalidValidity> {
        Self::new(self.not_before.max(outer.not_before), self.not_after.min(outer.not_after))
    }
}

/// A certificate that would never be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a certificate cannot be valid from {not_before} to {not_after}")]
pub struct InvalidValidity {
    not_before: Timestamp,
    not_after: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn starts_in_the_past_and_ends_when_asked() {
        let validity = Validity::starting(at("2026-01-01T00:00:00.9Z"), Duration::days(90), Validity::DEFAULT_BACKDATE).unwrap();
        assert_eq!(validity.not_before(), at("2025-12-31T23:55:00Z"));
        assert_eq!(validity.not_after(), at("2026-04-01T00:00:00Z"));
    }

    #[test]
    fn refuses_what_never_is() {
        let now = at("2026-01-01T00:00:00Z");
        assert!(Validity::starting(now, Duration::ZERO, Duration::minutes(5)).is_err());
        assert!(Validity::starting(now, -Duration::DAY, Duration::days(3)).is_err());
        assert_eq!(Validity::starting(now, Duration::DAY, -Duration::DAY).unwrap().not_before(), now);
    }

    #[test]
    fn is_cut_to_what_is_outside() {
        let of = |from, to| Validity::new(at(from), at(to)).unwrap();
        let outer = of("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
        assert_eq!(of("2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z").clamped_to(outer), Ok(outer));
        assert!(of("2026-02-01T00:00:00Z", "2027-01-01T00:00:00Z").clamped_to(outer).is_err());
    }
}
