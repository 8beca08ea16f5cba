//! Waiting for a condition, which is as fast as the condition and never a guess.

use std::time::{Duration, Instant};

/// Waits until `condition` holds, looking every ten milliseconds; fails the test when it does not within `deadline`.
///
/// # Panics
/// When the condition does not hold in time.
pub async fn wait_until(what: &str, deadline: Duration, mut condition: impl AsyncFnMut() -> bool) {
    wait_for(what, deadline, async || condition().await.then_some(())).await;
}

/// Waits until `look` finds something and gives it.
///
/// # Panics
/// When it finds nothing in time.
pub async fn wait_for<T>(what: &str, deadline: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < deadline, "waited {deadline:?} in vain for: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_as_long_as_needed() {
        let mut looks = 0;
        wait_until("the third look", Duration::from_secs(10), async || {
            looks += 1;
            looks == 3
        })
        .await;
        assert_eq!(looks, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "in vain for: what never comes")]
    async fn says_what_did_not_come() {
        wait_until("what never comes", Duration::from_millis(1), async || false).await;
    }
}
