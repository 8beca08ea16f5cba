//! The table of acceptance checks: it has every number, and each test and check that it names is there.

use std::collections::BTreeSet;

use crate::failure::Failure;
use crate::{docs, files, workspace};

use super::CHECKS;
use super::chart::World;

const TABLE: &str = "docs/decisions/0005-deploy-acceptance.md";

/// Numbers without a row, and rows that name what there is not.
pub(super) fn check(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let text = files::read(&world.root.join(TABLE))?;
    // Those of the repository, also where the chart is a copy of it.
    let tests = docs::test_names(&workspace::root()?)?;
    let checks: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
    Ok(missing_numbers(&text).into_iter().chain(unknown_names(&text, &tests, &checks)).collect())
}

fn rows(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| line.starts_with("| AC-"))
}

/// `AC-9 to AC-12` stands for all between, `AC-28, AC-29` for both.
fn missing_numbers(text: &str) -> Vec<String> {
    let mut there = BTreeSet::new();
    for row in rows(text) {
        let first = row.split('|').nth(1).unwrap_or_default();
        let numbers: Vec<u32> = first.split("AC-").skip(1).filter_map(|rest| rest.split([' ', ',']).next()?.parse().ok()).collect();
        match (&numbers[..], first.contains(" to ")) {
            ([from, to], true) => there.extend(*from..=*to),
            (numbers, _) => there.extend(numbers),
        }
    }
    (1..=LAST).filter(|number| !there.contains(number)).map(|number| format!("{TABLE} has no row for AC-{number}")).collect()
}

fn unknown_names(text: &str, tests: &BTreeSet<String>, checks: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for row in rows(text) {
        let held_by = row.split('|').nth(3).unwrap_or_default();
        let code = held_by.split('`').skip(1).step_by(2);
        let names = code.filter(|code| code.matches('_').count() > 2 && !code.contains(['/', ' ', '.']));
        found.extend(
            names
                .filter(|name| !tests.contains(name.rsplit("::").next().unwrap_or_default()))
                .map(|name| format!("{TABLE}: there is no test {name}")),
        );
        let quoted = held_by.split('"').skip(1).step_by(2);
        found.extend(quoted.filter(|name| !checks.contains(name)).map(|name| format!("{TABLE}: there is no check \"{name}\"")));
        if held_by.trim().is_empty() {
            found.push(format!("{TABLE}: `{row}` names nothing"));
        }
    }
    found
}

/// The names of all functions in the Rust files below a folder.
const LAST: u32 = 39;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_and_their_names_looked_up() {
        let text = "| AC-1 | x | `a::it_is_so_and_so` and \"it holds\" |\n| AC-2 to AC-38 | x | open |\n| AC-39, AC-40 | x | `crates/a_b_c_d/x.rs` |\n";
        let tests = BTreeSet::from(["it_is_so_and_so".to_owned()]);
        assert_eq!(missing_numbers(text), Vec::<String>::new());
        assert_eq!(missing_numbers(&text.replace("AC-2 to", "AC-3 to")), [format!("{TABLE} has no row for AC-2")]);
        assert_eq!(unknown_names(text, &tests, &["it holds"]), Vec::<String>::new());
        assert_eq!(unknown_names(text, &BTreeSet::new(), &[]).len(), 2);
        assert_eq!(unknown_names(&text.replace("| open |", "| |"), &tests, &["it holds"]).len(), 1);
    }
}
