//! How long to leave a server alone that does not answer: longer each time, never the same for two agents.

use std::time::Duration;

use aws_lc_rs::rand;

/// Counts failures in a row and says how long to wait after each.
#[derive(Debug, Clone)]
pub struct Backoff {
    shortest: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits from `shortest`, doubled with each failure, up to `longest`.
    #[must_use]
    pub const fn new(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest, failures: 0 }
    }

    /// The wait after one more failure.
    pub fn after_failure(&mut self) -> Duration {
        let wait = wait(self.shortest, self.longest, self.failures, fraction());
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// It worked: the next failure is the first again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// `around` give or take a tenth, so that agents started together do not call together for ever.
#[must_use]
pub fn jittered(around: Duration) -> Duration {
    around.mul_f64(0.9 + 0.2 * fraction())
}

/// Between half the doubled wait and all of it: a fleet that lost its server at one instant comes back spread out.
fn wait(shortest: Duration, longest: Duration, failures: u32, fraction: f64) -> Duration {
    let doubled = shortest.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(longest);
    doubled.mul_f64(0.5 + 0.5 * fraction)
}

/// From 0 to 1; in the middle when the system has no randomness.
fn fraction() -> f64 {
    let mut bytes = [0; 4];
    match rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(60);

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits: Vec<_> = (0..8).map(|failures| wait(SHORTEST, LONGEST, failures, 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(wait(SHORTEST, LONGEST, 40, 1.0), LONGEST, "no overflow");
        assert_eq!(wait(SHORTEST, LONGEST, 3, 0.0).as_secs(), 4, "never less than half");
    }

    #[test]
    fn two_agents_do_not_wait_alike_and_success_forgets() {
        let mut one = Backoff::new(SHORTEST, LONGEST);
        let mut two = one.clone();
        let waits = |backoff: &mut Backoff| (0..6).map(|_| backoff.after_failure()).collect::<Vec<_>>();
        assert_ne!(waits(&mut one), waits(&mut two));
        one.reset();
        assert!(one.after_failure() <= SHORTEST);
    }
}
