//! Features: `cargo build` and `cargo test` of the workspace see every crate with the same ones.
//!
//! Where a dev-dependency switches on a feature of a crate that the product uses too, that crate and all that stand on it are compiled once
//! for the programs and once more for the tests: minutes on a small machine, on every run.

use std::collections::{BTreeMap, BTreeSet};

use crate::failure::Failure;
use crate::process::{capture, command};

use super::Offence;

/// The features of every crate, once as the programs see them and once as the tests do.
pub(super) struct Features {
    programs: Table,
    tests: Table,
}

/// From a crate with its version to its feature lists; more than one where a build script has its own.
type Table = BTreeMap<String, BTreeSet<String>>;

impl Features {
    /// Asks `cargo tree`.
    pub(super) fn read() -> Result<Self, Failure> {
        Ok(Self { programs: parse(&tree("normal,build")?), tests: parse(&tree("normal,build,dev")?) })
    }
}

/// Every crate that tests would compile again.
pub(super) fn check(features: &Features) -> Vec<Offence> {
    let differing = features.programs.iter().filter_map(|(name, programs)| {
        let tests = features.tests.get(name)?;
        let more: Vec<&str> = words(tests).difference(&words(programs)).copied().collect();
        (!more.is_empty()).then(|| (name, more.join(", ")))
    });
    differing.map(|(name, more)| Offence::new(name, format!("tests switch on {more}; {REMEDY}"))).collect()
}

fn tree(edges: &str) -> Result<String, Failure> {
    let mut cargo = command("cargo");
    cargo.args(["tree", "--workspace", "--edges", edges, "--prefix", "none", "--format", "{p}\t{f}"]);
    capture(&mut cargo)
}

fn parse(tree: &str) -> Table {
    let mut table = Table::new();
    for (name, features) in tree.lines().filter_map(|line| line.split_once('\t')) {
        // `(*)` marks a crate whose dependencies were shown before.
        table.entry(name.to_owned()).or_default().insert(features.trim_end_matches(" (*)").to_owned());
    }
    table
}

fn words(lists: &BTreeSet<String>) -> BTreeSet<&str> {
    lists.iter().flat_map(|list| list.split(',')).filter(|word| !word.is_empty()).collect()
}

const REMEDY: &str = "name the dev-dependency that does it as a dependency of tests/e2e, or the feature in the workspace's Cargo.toml";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_that_only_tests_switch_on_is_found() {
        let programs = parse("tls v1.0.0\tstd\nserde v1.0.0\tderive,std\n");
        let tests = parse("tls v1.0.0\tstd,verify\nserde v1.0.0\tderive,std\nonly-tests v1.0.0\tx\n");
        let offences = check(&Features { programs, tests });
        assert_eq!(offences.len(), 1);
        assert!(offences[0].to_string().starts_with("tls v1.0.0: tests switch on verify; "), "{}", offences[0]);
    }

    #[test]
    fn equal_features_are_fine() {
        let table = "a v1\tx\na v1\tx,y (*)\nb v2\t\n";
        assert_eq!(check(&Features { programs: parse(table), tests: parse(table) }), []);
    }
}
