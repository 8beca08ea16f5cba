//! Points at which a test has the process killed. They exist in debug builds alone; a release has none.

/// Kills this process, as a power cut would, when `FAULT_AT` names this point.
///
/// A point stands right after something became durable and before anybody else hears of it. What is not durable by then is lost.
#[inline]
pub fn point(name: &'static str) {
    if cfg!(debug_assertions) && asked_for() == Some(name) {
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap_or_default();
    }
}

/// The point that the environment names, read once.
#[expect(clippy::disallowed_methods, reason = "no setting: it is for tests, and not there in a release")]
fn asked_for() -> Option<&'static str> {
    static NAME: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    NAME.get_or_init(|| std::env::var("FAULT_AT").ok()).as_deref()
}
