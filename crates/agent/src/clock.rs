//! The agent's only look at the clock. How far it is off is for the server to say; nothing here corrects it.

use certctl_domain::time::Timestamp;

/// The instant now.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else in the agent asks")]
pub fn now() -> Timestamp {
    Timestamp::new(time::OffsetDateTime::now_utc())
}
