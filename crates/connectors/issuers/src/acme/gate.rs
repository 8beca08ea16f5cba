//! Keeps requests to one CA within bounds: a budget for each minute, and a pause for a CA that fails or asks for one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certctl_connector_core::ConnectorError;
use tokio::time::Instant;

use super::problem::AcmeError;

/// Lets requests pass, or says when to come again. Nothing waits in it.
#[derive(Debug)]
pub(super) struct Gate {
    per_minute: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: f64,
    filled: Instant,
    failures: u32,
    shut: Option<Shut>,
}

#[derive(Debug)]
struct Shut {
    until: Instant,
    why: String,
}

impl Gate {
    pub(super) fn new(per_minute: u32, now: Instant) -> Self {
        let per_minute = f64::from(per_minute.max(1));
        Self { per_minute, state: Mutex::new(State { tokens: per_minute, filled: now, failures: 0, shut: None }) }
    }

    /// Takes one request from the budget.
    pub(super) fn enter(&self, now: Instant) -> Result<(), AcmeError> {
        let mut state = self.state();
        if let Some(shut) = &state.shut {
            if shut.until > now {
                let left = shut.until - now;
                let message = format!("the CA is left alone for {} more seconds: {}", left.as_secs() + 1, shut.why);
                return Err(ConnectorError::throttled(message, Some(left + SECOND)).into());
            }
            // One request goes through as a probe; the next failure shuts the gate again at once, for longer.
            state.shut = None;
        }
        let earned = now.duration_since(state.filled).as_secs_f64() * self.per_minute / 60.0;
        state.tokens = (state.tokens + earned).min(self.per_minute);
        state.filled = now;
        if state.tokens < 1.0 {
            return Err(AcmeError::Budget(Duration::from_secs_f64((1.0 - state.tokens) * 60.0 / self.per_minute).max(SECOND)));
        }
        state.tokens -= 1.0;
        Ok(())
    }

    /// For how long the gate stays shut.
    pub(super) fn shut_for(&self, now: Instant) -> Option<Duration> {
        self.state().shut.as_ref().map(|shut| shut.until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// The CA answered as it should.
    pub(super) fn answered(&self) {
        self.state().failures = 0;
    }

    /// The CA did not answer, or not as it should.
    pub(super) fn failed(&self, why: &str, now: Instant) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if let Some(beyond) = state.failures.checked_sub(PATIENCE) {
            let pause = FIRST_PAUSE.saturating_mul(1 << beyond.min(5)).min(LONGEST_PAUSE);
            tracing::warn!(pause_s = pause.as_secs(), why, "the CA failed several times in a row and is left alone");
            state.shut = Some(Shut { until: now + pause, why: why.to_owned() });
        }
    }

    /// The CA asked to be left alone.
    pub(super) fn asked_to_wait(&self, wait: Duration, why: &str, now: Instant) {
        self.state().shut = Some(Shut { until: now + wait.min(LONGEST_WAIT), why: why.to_owned() });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// Failures in a row that are forgiven.
const PATIENCE: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// A CA that asks for more is asked again after this long: what it said may be a mistake.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use certctl_connector_core::Retry;

    use super::*;

    fn shut_for(gate: &Gate, now: Instant) -> Option<u64> {
        match gate.enter(now).err()?.into_error("x").retry() {
            Retry::Throttled { retry_after_seconds } => retry_after_seconds,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_budget_is_used_up_and_refills() {
        let start = Instant::now();
        let gate = Gate::new(60, start);
        for _ in 0..60 {
            gate.enter(start).unwrap();
        }
        assert!(matches!(gate.enter(start), Err(AcmeError::Budget(_))));
        gate.enter(start + 2 * SECOND).unwrap();
    }

    #[test]
    fn a_ca_that_fails_is_left_alone_and_probed_again() {
        let start = Instant::now();
        let gate = Gate::new(600, start);
        for _ in 0..4 {
            gate.failed("down", start);
            assert!(gate.enter(start).is_ok());
        }
        assert_eq!(gate.shut_for(start), None);
        gate.failed("down", start);
        assert_eq!(shut_for(&gate, start), Some(31));
        assert_eq!((gate.shut_for(start), gate.shut_for(start + 30 * SECOND)), (Some(FIRST_PAUSE), None));
        let later = start + 31 * SECOND;
        gate.enter(later).unwrap();
        gate.failed("still down", later);
        assert_eq!(shut_for(&gate, later), Some(61));
        let later = later + 61 * SECOND;
        gate.enter(later).unwrap();
        gate.answered();
        gate.failed("once", later);
        assert!(gate.enter(later).is_ok());
        gate.asked_to_wait(100 * SECOND, "busy", later);
        assert_eq!(shut_for(&gate, later), Some(101));
    }
}
