//! Which archives may go. A pure function: counts and calendar days of the archives themselves, never their age by today's clock, so that
//! a clock that jumps takes nothing away.

use std::collections::BTreeSet;

use certctl_domain::time::Timestamp;

/// How many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The newest ones.
    pub last: u32,
    /// The newest one of each of as many days, by UTC.
    pub daily: u32,
    /// The newest one of each of as many weeks, which begin on Monday (ISO 8601).
    pub weekly: u32,
    /// The newest one of each of as many months.
    pub monthly: u32,
}

/// An archive as far as this is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// When it was begun, by the clock of who made it.
    pub created_at: Timestamp,
    /// Whether it looks whole.
    pub whole: bool,
}

/// What becomes of each, in the order of the candidates, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// Which one.
    pub name: String,
    /// Why it stays; nothing when it goes.
    pub reasons: Vec<&'static str>,
}

impl Fate {
    /// Whether it goes.
    #[must_use]
    pub const fn goes(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// Decides. `latest` is the one that the database says was made last, whatever its date.
///
/// The newest that is whole always stays. One that is not whole goes only when there is a newer one that is: before that it may be the
/// best there is. One that is dated after `now` stays, and counts for nothing: its date, or `now`, is wrong.
#[must_use]
pub fn decide(candidates: &[Candidate], policy: Policy, latest: Option<&str>, now: Timestamp) -> Vec<Fate> {
    let mut sorted: Vec<&Candidate> = candidates.iter().collect();
    sorted.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| b.name.cmp(&a.name)));
    let limit = now.saturating_add(TOLERANCE);
    let newest_whole = sorted.iter().find(|one| one.whole && one.created_at <= limit).map(|one| one.name.as_str());
    let mut seen_whole = false;
    let mut last = 0;
    let mut spans =
        [(policy.daily, "daily"), (policy.weekly, "weekly"), (policy.monthly, "monthly")].map(|(n, why)| (n, why, BTreeSet::new()));
    sorted
        .into_iter()
        .map(|one| {
            let mut reasons = Vec::new();
            if one.created_at > limit {
                reasons.push(AHEAD);
            } else if one.whole {
                seen_whole = true;
                if newest_whole == Some(one.name.as_str()) {
                    reasons.push("newest");
                }
                if last < policy.last {
                    last += 1;
                    reasons.push("last");
                }
                for ((most, why, seen), span) in spans.iter_mut().zip(spans_of(one.created_at)) {
                    if seen.len() < usize::try_from(*most).unwrap_or(usize::MAX) && seen.insert(span) {
                        reasons.push(*why);
                    }
                }
            } else if !seen_whole {
                reasons.push("nothing newer is whole");
            }
            if latest == Some(one.name.as_str()) && reasons.is_empty() {
                reasons.push("made last");
            }
            Fate { name: one.name.clone(), reasons }
        })
        .collect()
}

/// The day, week and month of an instant, each as two numbers.
fn spans_of(at: Timestamp) -> [(i32, u16); 3] {
    let date = at.to_offset().date();
    let (year, week, _) = date.to_iso_week_date();
    [(date.year(), date.ordinal()), (year, u16::from(week)), (date.year(), u16::from(u8::from(date.month())))]
}

/// Why one that is dated after now stays.
pub const AHEAD: &str = "dated after now";

/// Clocks of two machines may differ by this without anything being wrong.
const TOLERANCE: time::Duration = time::Duration::HOUR;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy = Policy { last: 2, daily: 3, weekly: 2, monthly: 2 };

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn whole(created_at: &str) -> Candidate {
        Candidate { name: created_at.to_owned(), created_at: at(created_at), whole: true }
    }

    fn broken(created_at: &str) -> Candidate {
        Candidate { whole: false, ..whole(created_at) }
    }

    fn kept(candidates: &[Candidate], policy: Policy, now: &str) -> Vec<String> {
        decide(candidates, policy, None, at(now)).into_iter().filter(|fate| !fate.goes()).map(|fate| fate.name).collect()
    }

    #[test]
    fn each_span_keeps_its_newest() {
        let all: Vec<Candidate> = [
            "2026-11-25T02:00:00Z",
            "2026-11-25T01:00:00Z",
            "2026-11-24T02:00:00Z",
            "2026-11-24T01:00:00Z",
            "2026-11-23T02:00:00Z",
            "2026-11-22T02:00:00Z",
            "2026-11-15T02:00:00Z",
            "2026-10-31T02:00:00Z",
            "2026-10-01T02:00:00Z",
        ]
        .map(whole)
        .to_vec();
        assert_eq!(
            kept(&all, POLICY, "2026-11-25T03:00:00Z"),
            [
                "2026-11-25T02:00:00Z",
                "2026-11-25T01:00:00Z",
                "2026-11-24T02:00:00Z",
                "2026-11-23T02:00:00Z",
                "2026-11-22T02:00:00Z",
                "2026-10-31T02:00:00Z"
            ]
        );
    }

    #[test]
    fn a_failed_newest_does_not_stand_for_a_good_one() {
        let none = Policy { last: 1, daily: 0, weekly: 0, monthly: 0 };
        let all =
            [broken("2026-11-25T02:00:00Z"), whole("2026-11-24T02:00:00Z"), broken("2026-11-23T02:00:00Z"), whole("2026-11-22T02:00:00Z")];
        assert_eq!(kept(&all, none, "2026-11-25T03:00:00Z"), ["2026-11-25T02:00:00Z", "2026-11-24T02:00:00Z"]);
        let all = [broken("2026-11-25T02:00:00Z"), broken("2026-11-24T02:00:00Z")];
        assert_eq!(kept(&all, none, "2026-11-25T03:00:00Z").len(), 2);
    }

    #[test]
    fn a_policy_of_nothing_keeps_the_newest() {
        let nothing = Policy { last: 0, daily: 0, weekly: 0, monthly: 0 };
        let all = [whole("2026-11-25T02:00:00Z"), whole("2026-11-24T02:00:00Z")];
        assert_eq!(kept(&all, nothing, "2026-11-25T03:00:00Z"), ["2026-11-25T02:00:00Z"]);
    }

    #[test]
    fn a_clock_that_jumped_ahead_costs_no_good_archive() {
        let last = Policy { last: 2, daily: 0, weekly: 0, monthly: 0 };
        // Two were made while the clock stood in 2030; now it is right again.
        let all =
            [whole("2030-01-01T00:00:00Z"), whole("2030-01-02T00:00:00Z"), whole("2026-11-25T02:00:00Z"), whole("2026-11-24T02:00:00Z")];
        assert_eq!(kept(&all, last, "2026-11-25T03:00:00Z").len(), 4);
        // And the same while it stands there: they are only the newest ones.
        assert_eq!(kept(&all, last, "2030-01-03T00:00:00Z"), ["2030-01-02T00:00:00Z", "2030-01-01T00:00:00Z"]);
        // With days, weeks and months each span keeps its own.
        assert_eq!(kept(&all, POLICY, "2030-01-03T00:00:00Z").len(), 3);
    }

    #[test]
    fn a_clock_that_fell_back_costs_neither_the_old_nor_the_latest() {
        let last = Policy { last: 2, daily: 0, weekly: 0, monthly: 0 };
        let all = [whole("2026-11-25T02:00:00Z"), whole("2026-11-24T02:00:00Z"), whole("1970-01-01T00:10:00Z")];
        assert_eq!(kept(&all, last, "1970-01-01T00:20:00Z").len(), 3);
        let fates = decide(&all, last, Some("1970-01-01T00:10:00Z"), at("2026-11-25T03:00:00Z"));
        assert_eq!(fates[2].reasons, ["made last"]);
    }

    proptest! {
        #[test]
        fn whatever_the_clock_says_the_newest_good_one_stays(
            made in prop::collection::vec((0_i64..4_000_000_000, any::<bool>()), 1..40),
            now in 0_i64..4_000_000_000,
            (last, daily, weekly, monthly) in (0_u32..4, 0_u32..4, 0_u32..4, 0_u32..4),
        ) {
            let candidates: Vec<Candidate> = made
                .iter()
                .enumerate()
                .map(|(n, (at, whole))| Candidate { name: format!("{n:03}"), created_at: Timestamp::from_unix_seconds(*at).unwrap(), whole: *whole })
                .collect();
            let now = Timestamp::from_unix_seconds(now).unwrap();
            let fates = decide(&candidates, Policy { last, daily, weekly, monthly }, None, now);
            prop_assert_eq!(fates.len(), candidates.len());
            let stays = |name: &str| fates.iter().any(|fate| fate.name == name && !fate.goes());
            let newest = |until: Option<Timestamp>| {
                candidates.iter().filter(|one| one.whole && until.is_none_or(|until| one.created_at <= until)).max_by_key(|one| (one.created_at, &one.name))
            };
            for good in [newest(None), newest(Some(now))].into_iter().flatten() {
                prop_assert!(stays(&good.name));
            }
            // What is asked for is not exceeded by more than what no count may take.
            let counted = fates.iter().filter(|fate| fate.reasons.iter().any(|why| ["last", "daily", "weekly", "monthly"].contains(why))).count();
            prop_assert!(counted <= usize::try_from(last + daily + weekly + monthly).unwrap());
        }
    }
}
