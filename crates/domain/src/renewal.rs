//! When a certificate is renewed: the policy, and the one decision that scheduler, worker and `explain` all ask.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{ProfileId, RenewalPolicyId};
use crate::noun::{Check, Noun, Refusal};
use crate::time::Timestamp;

/// When and how often a certificate is renewed, and when people are warned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RenewalPolicy {
    /// Identifier.
    pub id: RenewalPolicyId,
    /// Unique name.
    pub name: String,
    /// Days before expiry at which renewal begins; never more than a third of the certificate's life.
    pub renewal_window_days: i64,
    /// Whether renewal happens by itself.
    pub auto_renew: bool,
    /// Failures in a row after which people are alerted. Trying goes on.
    pub max_retries: i64,
    /// First wait after a failure in seconds; doubles up to a day.
    pub retry_interval_seconds: i64,
    /// Days before expiry at which people are warned.
    pub alert_thresholds_days: Vec<i64>,
    /// Kept for existing scripts; without effect.
    pub certificate_profile_id: Option<ProfileId>,
    /// Counts changes.
    pub revision: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a caller gives for a renewal policy.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewalPolicyDraft {
    /// Identifier, if the caller chooses it.
    pub id: Option<RenewalPolicyId>,
    /// Unique name.
    pub name: String,
    /// 1 to 365; default 30.
    #[serde(default = "thirty")]
    pub renewal_window_days: i64,
    /// Default true.
    #[serde(default = "yes")]
    pub auto_renew: bool,
    /// 0 to 10; default 3.
    #[serde(default = "three")]
    pub max_retries: i64,
    /// 10 to 86400; default 3600.
    #[serde(default = "hour")]
    pub retry_interval_seconds: i64,
    /// Default 30, 14, 7, 0.
    #[serde(default = "thresholds")]
    pub alert_thresholds_days: Vec<i64>,
    /// Kept for existing scripts; without effect.
    pub certificate_profile_id: Option<ProfileId>,
}

/// All that the decision rests on.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Spreads equal certificates: any stable text of the certificate, such as its id.
    pub seed: &'a str,
    /// Whether the certificate was revoked or archived by somebody.
    pub ended: Option<&'static str>,
    /// Whether the issuer may be asked.
    pub issuer_enabled: bool,
    /// Whether the profile may be used.
    pub profile_enabled: bool,
    /// The policy.
    pub policy: &'a RenewalPolicy,
    /// What is in use now; `None` before the first issuance.
    pub current: Option<Current>,
    /// Whether the record asks for something else by now than what is in use: other names, another key, another issuer.
    pub outdated: bool,
    /// Failures in a row since the last success, and when the last one was.
    pub failures: Option<Failures>,
}

/// The version in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Current {
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// Whether this version was revoked.
    pub revoked: bool,
    /// The CA's suggestion (RFC 9773), if it makes one.
    pub ari: Option<Window>,
}

/// A suggested window (RFC 9773 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Window {
    /// First instant.
    pub start: Timestamp,
    /// Last instant.
    pub end: Timestamp,
}

/// Failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    /// How many.
    pub count: i64,
    /// When the last one was.
    pub last_at: Timestamp,
}

/// What to do about a certificate now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing until then.
    Wait {
        /// When to ask again.
        until: Timestamp,
        /// Why not now.
        why: String,
    },
    /// Ask for a new version now.
    Renew {
        /// Why.
        why: String,
    },
    /// Nothing, until somebody changes something.
    Blocked {
        /// What is in the way.
        why: String,
        /// What to do about it.
        hint: String,
    },
}

/// Decides what to do about a certificate at `now`.
#[must_use]
pub fn decide(facts: &Facts<'_>, now: Timestamp) -> Decision {
    let blocked = |why: &str, hint: &str| Decision::Blocked { why: why.to_owned(), hint: hint.to_owned() };
    if let Some(ended) = facts.ended {
        return blocked(ended, "make a new certificate if the names are still needed");
    }
    if !facts.issuer_enabled {
        return blocked("its issuer is disabled", "enable the issuer, or give the certificate another one");
    }
    if !facts.profile_enabled {
        return blocked("its profile is disabled", "enable the profile, or give the certificate another one");
    }
    let (due, why) = match &facts.current {
        None => (now, "no version was issued yet".to_owned()),
        Some(current) if current.revoked => (now, "the version in use was revoked".to_owned()),
        Some(_) if facts.outdated => (now, "the version in use is not what the record asks for".to_owned()),
        Some(_) if !facts.policy.auto_renew => {
            return blocked("its renewal policy does not renew by itself", "renew it by hand, or set auto_renew in the policy");
        }
        Some(current) => due_at(current, facts.policy, facts.seed),
    };
    let due = match facts.failures {
        Some(failures) if failures.count > 0 => {
            let wait = backoff(facts.policy, failures.count);
            let wait = within_life(wait, facts.current.map(|current| current.not_after), failures.last_at);
            due.max(failures.last_at.saturating_add(wait))
        }
        _ => due,
    };
    if due <= now { Decision::Renew { why } } else { Decision::Wait { until: due, why } }
}

/// When renewal of this version begins, and why then.
#[must_use]
pub fn due_at(current: &Current, policy: &RenewalPolicy, seed: &str) -> (Timestamp, String) {
    let spread = jitter(seed);
    let life = current.not_before.until(current.not_after).max(time::Duration::ZERO);
    let lead = time::Duration::days(policy.renewal_window_days).min(life / 3);
    let by_policy = current.not_after.saturating_sub(lead);
    // RFC 9773 section 4.2: a uniformly random time within the window; ours is fixed per certificate, so that restarts do not move it.
    // A window that would end after our own last moment to act is not followed: a renewal must never be late because a CA said so.
    if let Some(window) = current.ari.filter(|w| w.start <= w.end && w.start < current.not_after.saturating_sub(lead / 4)) {
        let width = window.start.until(window.end);
        let at = window.start.saturating_add(width * spread).min(current.not_after.saturating_sub(lead / 4));
        return (at, format!("the CA suggests renewal between {} and {}", window.start, window.end));
    }
    // The herd is spread over the quarter of the lead before the policy's moment.
    let at = by_policy.saturating_sub(lead / 4 * spread);
    (at, format!("renewal begins {} before expiry at {}", words(lead), current.not_after))
}

/// The wait after `count` failures in a row: doubles from the policy's interval up to a day.
#[must_use]
pub fn backoff(policy: &RenewalPolicy, count: i64) -> time::Duration {
    let doublings = u32::try_from(count.saturating_sub(1).clamp(0, 20)).unwrap_or(20);
    let seconds = policy.retry_interval_seconds.max(1).saturating_mul(1_i64 << doublings);
    time::Duration::seconds(seconds.min(86_400))
}

/// A wait from `from` on, shortened so that several tries fit into what is left of a certificate's life: to a quarter of it, but never
/// below half a minute. A certificate that has ended, or none, is in no hurry that a shorter wait could help.
#[must_use]
pub fn within_life(wait: time::Duration, not_after: Option<Timestamp>, from: Timestamp) -> time::Duration {
    match not_after.map(|end| from.until(end)).filter(|left| left.is_positive()) {
        Some(left) => wait.min((left / 4_i32).max(time::Duration::seconds(30))),
        None => wait,
    }
}

/// A number from 0 up to but not including 1 that is always the same for the same seed, and evenly spread over seeds.
#[must_use]
pub fn jitter(seed: &str) -> f64 {
    // FNV-1a, then a finalizer, so that ids which differ in their last digits spread too.
    let mut hash = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    f64::from(u32::try_from(hash >> 32).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}

fn words(span: time::Duration) -> String {
    let hours = span.whole_hours();
    match hours {
        h if h >= 48 => format!("{} days", span.whole_days()),
        h if h >= 2 => format!("{h} hours"),
        _ => format!("{} minutes", span.whole_minutes().max(1)),
    }
}

impl Noun for RenewalPolicy {
    type Id = RenewalPolicyId;
    type Draft = RenewalPolicyDraft;
    const KIND: &'static str = "renewal_policy";
    const PLURAL: &'static str = "renewal_policies";

    fn id(&self) -> &RenewalPolicyId {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn revision(&self) -> i64 {
        self.revision
    }
    fn chosen_id(draft: &RenewalPolicyDraft) -> Option<&RenewalPolicyId> {
        draft.id.as_ref()
    }
    fn create(id: RenewalPolicyId, draft: RenewalPolicyDraft, now: Timestamp) -> Result<Self, Refusal> {
        let mut check = Check::default();
        check
            .name("name", &draft.name)
            .that((1..=365).contains(&draft.renewal_window_days), "renewal_window_days", "is from 1 to 365")
            .that((0..=10).contains(&draft.max_retries), "max_retries", "is from 0 to 10")
            .that((10..=86_400).contains(&draft.retry_interval_seconds), "retry_interval_seconds", "is from 10 to 86400")
            .that(draft.alert_thresholds_days.len() <= 20, "alert_thresholds_days", "must have at most 20 entries")
            .that(
                draft.alert_thresholds_days.iter().all(|days| (0..=365).contains(days)),
                "alert_thresholds_days",
                "has a number outside 0 to 365",
            );
        let mut thresholds = draft.alert_thresholds_days;
        thresholds.sort_by(|a, b| b.cmp(a));
        thresholds.dedup();
        check.finish(|| Self {
            id,
            name: draft.name,
            renewal_window_days: draft.renewal_window_days,
            auto_renew: draft.auto_renew,
            max_retries: draft.max_retries,
            retry_interval_seconds: draft.retry_interval_seconds,
            alert_thresholds_days: thresholds,
            certificate_profile_id: draft.certificate_profile_id,
            revision: 1,
            created_at: now,
            updated_at: now,
        })
    }
    fn replace(&self, draft: RenewalPolicyDraft, now: Timestamp) -> Result<Self, Refusal> {
        let new = Self::create(self.id.clone(), draft, now)?;
        Ok(Self { revision: self.revision + 1, created_at: self.created_at, ..new })
    }
    fn draft(&self) -> RenewalPolicyDraft {
        let this = self.clone();
        RenewalPolicyDraft {
            id: Some(this.id),
            name: this.name,
            renewal_window_days: this.renewal_window_days,
            auto_renew: this.auto_renew,
            max_retries: this.max_retries,
            retry_interval_seconds: this.retry_interval_seconds,
            alert_thresholds_days: this.alert_thresholds_days,
            certificate_profile_id: this.certificate_profile_id,
        }
    }
}

const fn thirty() -> i64 {
    30
}
const fn yes() -> bool {
    true
}
const fn three() -> i64 {
    3
}
const fn hour() -> i64 {
    3_600
}
fn thresholds() -> Vec<i64> {
    vec![30, 14, 7, 0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id as _;
    use proptest::prelude::*;

    fn policy(window: i64, auto_renew: bool) -> RenewalPolicy {
        let draft =
            serde_json::from_value(serde_json::json!({"name": "p", "renewal_window_days": window, "auto_renew": auto_renew})).unwrap();
        RenewalPolicy::create(RenewalPolicyId::parse("rp-x").unwrap(), draft, Timestamp::UNIX_EPOCH).unwrap()
    }

    fn day(n: i64) -> Timestamp {
        Timestamp::from_unix_seconds(n * 86_400).unwrap()
    }

    fn version(from: i64, to: i64) -> Current {
        Current { not_before: day(from), not_after: day(to), revoked: false, ari: None }
    }

    fn facts<'a>(policy: &'a RenewalPolicy, current: Option<Current>) -> Facts<'a> {
        Facts { seed: "mc-1", ended: None, issuer_enabled: true, profile_enabled: true, policy, current, outdated: false, failures: None }
    }

    #[test]
    fn several_tries_fit_into_what_is_left() {
        let (hour, at) = (time::Duration::hours(1), day(0));
        let end = |minutes: i64| Some(at.saturating_add(time::Duration::minutes(minutes)));
        assert_eq!(within_life(hour, None, at), hour);
        assert_eq!(within_life(hour, end(60 * 24), at), hour);
        assert_eq!(within_life(hour, end(40), at), time::Duration::minutes(10));
        assert_eq!(within_life(hour, end(1), at), time::Duration::seconds(30));
        assert_eq!(within_life(hour, end(-5), at), hour, "it has ended: no shorter wait helps");
        let auto = policy(30, true);
        let current = Current { not_before: at, not_after: at.saturating_add(time::Duration::minutes(30)), revoked: false, ari: None };
        let failing = Some(Failures { count: 1, last_at: at.saturating_add(time::Duration::minutes(22)) });
        let now = at.saturating_add(time::Duration::minutes(25));
        assert!(matches!(decide(&Facts { failures: failing, ..facts(&auto, Some(current)) }, now), Decision::Renew { .. }));
    }

    #[test]
    fn the_table_of_decisions() {
        let auto = policy(30, true);
        let manual = policy(30, false);
        let is = |facts: &Facts<'_>, now, want: &str| {
            let got = decide(facts, now);
            let kind = match &got {
                Decision::Wait { .. } => "wait",
                Decision::Renew { .. } => "renew",
                Decision::Blocked { .. } => "blocked",
            };
            assert_eq!(kind, want, "{got:?}");
        };
        is(&facts(&auto, None), day(0), "renew");
        is(&facts(&manual, None), day(0), "renew");
        is(&facts(&auto, Some(version(0, 90))), day(1), "wait");
        is(&facts(&auto, Some(version(0, 90))), day(61), "renew");
        is(&facts(&auto, Some(version(0, 90))), day(100), "renew");
        is(&facts(&manual, Some(version(0, 90))), day(80), "blocked");
        is(&facts(&manual, Some(Current { revoked: true, ..version(0, 90) })), day(1), "renew");
        is(&Facts { ended: Some("it was revoked"), ..facts(&auto, Some(version(0, 90))) }, day(80), "blocked");
        is(&Facts { outdated: true, ..facts(&manual, Some(version(0, 90))) }, day(1), "renew");
        is(&Facts { issuer_enabled: false, ..facts(&auto, None) }, day(0), "blocked");
        let failing = Failures { count: 3, last_at: day(70) };
        is(&Facts { failures: Some(failing), ..facts(&auto, Some(version(0, 90))) }, day(70), "wait");
        is(&Facts { failures: Some(failing), ..facts(&auto, Some(version(0, 90))) }, day(71), "renew");
    }

    #[test]
    fn a_short_life_is_renewed_in_its_last_third_not_at_once() {
        let p = policy(30, true);
        let hour = |h: i64| Timestamp::from_unix_seconds(h * 3_600).unwrap();
        let current = Current { not_before: hour(0), not_after: hour(24), revoked: false, ari: None };
        assert!(matches!(decide(&facts(&p, Some(current)), hour(10)), Decision::Wait { .. }));
        assert!(matches!(decide(&facts(&p, Some(current)), hour(17)), Decision::Renew { .. }));
    }

    #[test]
    fn the_cas_window_is_followed_unless_it_is_too_late() {
        let p = policy(30, true);
        let window = Window { start: day(40), end: day(42) };
        let (at, _) = due_at(&Current { ari: Some(window), ..version(0, 90) }, &p, "mc-1");
        assert!(at >= day(40) && at <= day(42));
        let late = Window { start: day(89), end: day(120) };
        let (at, _) = due_at(&Current { ari: Some(late), ..version(0, 90) }, &p, "mc-1");
        assert!(at <= day(60));
    }

    #[test]
    fn ten_thousand_equal_certificates_spread() {
        let p = policy(30, true);
        let mut per_hour = std::collections::BTreeMap::new();
        for i in 0..10_000 {
            let (at, _) = due_at(&version(0, 90), &p, &format!("mc-{i}"));
            *per_hour.entry(at.unix_seconds() / 3_600).or_insert(0) += 1;
        }
        assert!(per_hour.len() > 170, "{} hours", per_hour.len());
        assert!(per_hour.values().all(|n| *n < 150));
    }

    #[test]
    fn waits_double_up_to_a_day_and_never_end() {
        let p = policy(30, true);
        let hours: Vec<_> = (1..=8).map(|n| backoff(&p, n).whole_hours()).collect();
        assert_eq!(hours, [1, 2, 4, 8, 16, 24, 24, 24]);
        assert_eq!(backoff(&p, i64::MAX).whole_hours(), 24);
    }

    proptest! {
        #[test]
        fn renewal_begins_inside_the_life_and_before_the_end(life in 60_i64..400_000_000, window in 1_i64..365, seed in "[a-z0-9]{1,20}") {
            let p = policy(window, true);
            let start = day(10_000);
            let end = start.saturating_add(time::Duration::seconds(life));
            let (at, _) = due_at(&Current { not_before: start, not_after: end, revoked: false, ari: None }, &p, &seed);
            prop_assert!(at > start && at < end);
        }

        #[test]
        fn a_decision_to_wait_is_kept(life in 3_600_i64..40_000_000, now in 0_i64..50_000_000, seed in "[a-z0-9]{1,20}") {
            let p = policy(30, true);
            let at = |seconds: i64| Timestamp::from_unix_seconds(seconds).unwrap();
            let current = Current { not_before: at(0), not_after: at(life), revoked: false, ari: None };
            let facts = Facts { seed: &seed, ..facts(&p, Some(current)) };
            if let Decision::Wait { until, .. } = decide(&facts, at(now)) {
                prop_assert!(until > at(now));
                let then = decide(&facts, until);
                prop_assert!(matches!(then, Decision::Renew { .. }), "{:?}", then);
            }
        }
    }
}
