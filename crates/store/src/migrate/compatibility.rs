//! Which program can run on which schema. A program is known by the newest migration that it knows.

use serde::Serialize;

use super::steps::{oldest_after, steps};

/// Whether a program can run on a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It can.
    Runs,
    /// It knows migrations that the schema lacks: it applies them at its start, or waits for its hook to do so, and then runs.
    MigratesFirst,
    /// A migration took away what it uses: it refuses to start.
    TooOld,
}

/// Whether a program can run on a schema that is at `found` and says of itself which is the oldest program that it allows.
#[must_use]
pub const fn verdict(target: i64, found: i64, oldest: i64) -> Verdict {
    if target > found {
        Verdict::MigratesFirst
    } else if target == found || target >= oldest {
        Verdict::Runs
    } else {
        Verdict::TooOld
    }
}

/// As [`verdict`], for a schema that this program has brought up to date.
#[must_use]
pub fn verdict_after(target: i64, known: i64) -> Verdict {
    verdict(target, known, oldest_after(known))
}

/// The newest migration that a release knows: of `0.1.0` or `v0.1.0`, or the number of a migration itself.
#[must_use]
pub fn program(text: &str) -> Option<i64> {
    let number = text.parse().ok().filter(|number| *number >= 1);
    number.or_else(|| RELEASES.iter().find(|(release, _)| *release == text.trim_start_matches('v')).map(|(_, newest)| *newest))
}

/// Every release with the newest migration that it knows; this program is the last.
#[must_use]
pub const fn releases() -> &'static [(&'static str, i64)] {
    RELEASES
}

/// The name of a migration that this program knows.
#[must_use]
pub fn name(version: i64) -> Option<&'static str> {
    steps().iter().find(|step| step.version == version).map(|step| step.name)
}

const RELEASES: &[(&str, i64)] = &[("0.1.0", 7)];

#[cfg(test)]
mod tests {
    use super::super::known;
    use super::*;

    #[test]
    fn this_program_is_the_last_release() {
        assert_eq!(
            RELEASES.last(),
            Some(&(env!("CARGO_PKG_VERSION"), known())),
            "add the release, or the migration to the one that is to come"
        );
        assert!(RELEASES.iter().zip(RELEASES.iter().skip(1)).all(|(one, next)| one.1 <= next.1), "{RELEASES:?}");
    }

    #[test]
    fn what_is_asked_for_is_a_release_or_a_number() {
        for (text, expected) in
            [("7", Some(7)), ("1", Some(1)), ("12", Some(12)), ("0", None), ("-1", None), ("", None), ("9.9.9", None), ("latest", None)]
        {
            assert_eq!(program(text), expected, "{text}");
        }
        for (release, newest) in RELEASES {
            assert_eq!((program(release), program(&format!("v{release}"))), (Some(*newest), Some(*newest)));
        }
    }

    #[test]
    fn every_release_is_answered_for() {
        // Program, schema, the oldest program that the schema allows.
        for (target, found, oldest, expected) in [
            (7, 7, 1, Verdict::Runs),
            (6, 7, 1, Verdict::Runs),
            (1, 7, 1, Verdict::Runs),
            (7, 6, 1, Verdict::MigratesFirst),
            (7, 0, 1, Verdict::MigratesFirst),
            (7, 8, 7, Verdict::Runs),
            (7, 8, 8, Verdict::TooOld),
            (6, 8, 7, Verdict::TooOld),
            (8, 8, 8, Verdict::Runs),
            (9, 8, 8, Verdict::MigratesFirst),
        ] {
            assert_eq!(verdict(target, found, oldest), expected, "{target} on {found}, which allows {oldest}");
        }
        // Every program of this line can run on the newest schema, for no migration has taken anything away yet.
        for step in steps() {
            assert_eq!(verdict_after(step.version, known()), Verdict::Runs, "{}", step.name);
        }
    }
}
