//! Whether lists are to be made anew: pure, so that a clock of a test says when.

use certctl_domain::time::Timestamp;
use certctl_store::crls::{Edition, List};

use crate::publication::Settings;

/// What is known of an issuer's lists.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// The lists whose CA can still sign.
    pub(super) lists: &'a [List],
    /// The last number that was taken, if one was.
    pub(super) number: Option<i64>,
    /// Whether revocations wait that no list was made for.
    pub(super) waiting: bool,
}

/// Whether lists of an issuer are to be made now.
pub(super) fn is_due(facts: &Facts<'_>, settings: &Settings, now: Timestamp) -> bool {
    let published = facts.lists.iter().filter_map(|list| Some(list.edition.as_ref()?.number)).max();
    let newest = facts.lists.iter().filter_map(|list| Some(list.edition.as_ref()?.generated_at)).max();
    // Whoever took a number and did not publish it died on the way.
    let abandoned = facts.number > published;
    let rested = newest.is_none_or(|at| now < at || at.until(now) >= settings.crl_delay / 2);
    let aged = facts.lists.iter().any(|list| list.edition.as_ref().is_none_or(|edition| has_aged(edition, settings, now)));
    !facts.lists.is_empty() && (abandoned || aged || (facts.waiting && rested))
}

/// Whether half of an edition's time is over: the other half is there for whatever keeps the next one from being made.
pub(super) fn has_aged(edition: &Edition, settings: &Settings, now: Timestamp) -> bool {
    let life = edition.generated_at.until(edition.next_update).min(settings.crl_lifetime);
    now >= edition.generated_at.saturating_add(life / 2)
}

#[cfg(test)]
mod tests {
    use certctl_domain::ids::{AuthorityId, Id as _, IssuerId};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000 + seconds).unwrap()
    }

    fn list(number: Option<i64>) -> List {
        let edition = |number| Edition {
            number,
            this_update: at(-300),
            next_update: at(86_400),
            generated_at: at(0),
            duration_ms: 1,
            revoked_count: 0,
            sha256: String::new(),
            bytes: 1,
        };
        List {
            issuer_id: IssuerId::parse("iss-1").unwrap(),
            shard: 0,
            authority_id: AuthorityId::parse("ca-1").unwrap(),
            url: None,
            opened_at: at(0),
            edition: number.map(edition),
        }
    }

    fn due(lists: &[List], number: Option<i64>, waiting: bool, now: i64) -> bool {
        is_due(&Facts { lists, number, waiting }, &Settings::default(), at(now))
    }

    #[test]
    fn a_list_is_made_at_first_at_half_of_its_life_and_after_a_crash() {
        assert!(!due(&[], Some(3), true, 0), "no CA can sign");
        assert!(due(&[list(None)], None, false, 0));
        assert!(due(&[list(Some(3)), list(None)], Some(3), false, 1));
        assert!(!due(&[list(Some(3))], Some(3), false, 43_199));
        assert!(due(&[list(Some(3))], Some(3), false, 43_200));
        assert!(due(&[list(Some(3))], Some(4), false, 1), "a number was taken and not published");
    }

    #[test]
    fn revocations_are_gathered_for_half_of_the_delay_at_the_most() {
        let lists = [list(Some(3))];
        assert!(!due(&lists, Some(3), true, 14));
        assert!(due(&lists, Some(3), true, 15));
        assert!(due(&lists, Some(3), true, -5), "a clock that was set back delays nothing");
        assert!(!due(&lists, Some(3), false, 15));
    }

    #[test]
    fn a_shorter_life_in_the_settings_counts_at_once() {
        let settings = Settings { crl_lifetime: time::Duration::HOUR, ..Settings::default() };
        let lists = [list(Some(3))];
        assert!(is_due(&Facts { lists: &lists, number: Some(3), waiting: false }, &settings, at(1_800)));
    }
}
