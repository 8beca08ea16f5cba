//! Migrations: both databases get the same steps under the same names, numbered without a gap.

use std::collections::BTreeSet;

use super::Offence;
use super::tree::Tree;

/// Every migration without its twin, and every gap in the numbers.
pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    let (sqlite, postgres) = (names(tree, "sqlite"), names(tree, "postgres"));
    let mut offences = Vec::new();
    for (have, lack, engine) in [(&sqlite, &postgres, "postgres"), (&postgres, &sqlite, "sqlite")] {
        offences.extend(have.difference(lack).map(|name| Offence::new(*name, format!("has no twin in {FOLDER}/{engine}"))));
    }
    for (expected, name) in (1..).zip(sqlite.union(&postgres)) {
        let number = name.split_once('_').and_then(|(number, _)| (number.len() == 4).then(|| number.parse::<u32>().ok())?);
        if number != Some(expected) {
            offences.push(Offence::new(*name, format!("should be number {expected:04}; migrations are NNNN_name.sql without gaps")));
            break;
        }
    }
    offences
}

fn names<'a>(tree: &'a Tree, engine: &str) -> BTreeSet<&'a str> {
    let folder = format!("{FOLDER}/{engine}/");
    tree.ending(&[".sql"]).filter_map(|(path, _)| path.strip_prefix(&folder)).collect()
}

const FOLDER: &str = "crates/store/migrations";

#[cfg(test)]
mod tests {
    use super::*;

    fn offences(paths: &[&str]) -> Vec<String> {
        let paths: Vec<String> = paths.iter().map(|path| format!("{FOLDER}/{path}")).collect();
        let files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "SELECT 1;")).collect();
        check(&Tree::of(&files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn pairs_without_gaps_are_fine() {
        assert!(
            offences(&["sqlite/0001_start.sql", "postgres/0001_start.sql", "sqlite/0002_more.sql", "postgres/0002_more.sql"]).is_empty()
        );
    }

    #[test]
    fn a_missing_twin_is_found() {
        let found = offences(&["sqlite/0001_start.sql", "postgres/0001_start.sql", "sqlite/0002_more.sql"]);
        assert_eq!(found, ["0002_more.sql: has no twin in crates/store/migrations/postgres"]);
    }

    #[test]
    fn a_gap_and_a_doubled_number_are_found() {
        assert_eq!(offences(&["sqlite/0001_a.sql", "postgres/0001_a.sql", "sqlite/0003_b.sql", "postgres/0003_b.sql"]).len(), 1);
        assert_eq!(offences(&["sqlite/0001_a.sql", "postgres/0001_a.sql", "sqlite/0001_b.sql", "postgres/0001_b.sql"]).len(), 1);
    }
}
