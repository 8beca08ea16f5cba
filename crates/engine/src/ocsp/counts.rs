//! How requests for status were answered, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use certctl_pki::ocsp::{CertStatus, Refusal};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered from memory.
    Kept,
    /// Signed: good.
    Good,
    /// Signed: revoked.
    Revoked,
    /// Signed: unknown.
    Unknown,
    /// Refused.
    Refused(Refusal),
}

/// How requests were answered by this process.
#[derive(Debug, Default)]
pub struct Counts([AtomicU64; Outcome::ALL.len()]);

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Kept,
        Self::Good,
        Self::Revoked,
        Self::Unknown,
        Self::Refused(Refusal::Malformed),
        Self::Refused(Refusal::InternalError),
        Self::Refused(Refusal::TryLater),
        Self::Refused(Refusal::Unauthorized),
    ];

    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "cached",
            Self::Good => "good",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
            Self::Refused(refusal) => refusal.as_str(),
        }
    }

    pub(super) const fn of(status: CertStatus) -> Self {
        match status {
            CertStatus::Good => Self::Good,
            CertStatus::Revoked { .. } => Self::Revoked,
            CertStatus::Unknown => Self::Unknown,
        }
    }
}

impl Counts {
    pub(super) fn count(&self, outcome: Outcome) {
        if let Some((_, count)) = Outcome::ALL.iter().zip(&self.0).find(|(other, _)| **other == outcome) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each outcome with how often it was.
    #[must_use]
    pub fn all(&self) -> [(Outcome, u64); Outcome::ALL.len()] {
        let mut all = Outcome::ALL.map(|outcome| (outcome, 0));
        for ((_, count), now) in all.iter_mut().zip(&self.0) {
            *count = now.load(Ordering::Relaxed);
        }
        all
    }
}
