//! The shape of a file: short enough to hold one idea, opening with what it is and why, and under the workspace's lints.

use super::Offence;
use super::tree::Tree;

/// Every file that is too long or does not say what it is, and every crate that escapes the lints.
pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (path, text) in tree.ending(&[".rs", ".ts", ".tsx"]) {
        let lines = text.lines().count();
        if lines > LONGEST {
            offences.push(Offence::new(path, format!("{lines} lines; more than {LONGEST} hold more than one idea, split it")));
        }
    }
    for (path, text) in tree.ending(&[".rs"]).filter(|(path, _)| path.contains("src/") && !path.contains("/tests")) {
        if !text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!")).is_some_and(|line| line.starts_with("//!")) {
            offences.push(Offence::at(path, 1, "begins without `//!`: one line that says what this file is and why it exists"));
        }
    }
    for (path, text) in tree.ending(&["/Cargo.toml"]) {
        let mut lines = text.lines().map(str::trim).skip_while(|line| *line != "[lints]");
        if lines.nth(1) != Some("workspace = true") {
            offences.push(Offence::new(path, "has no `[lints]` with `workspace = true`, so none of the lints reach this crate"));
        }
    }
    offences
}

const LONGEST: usize = 900;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found() {
        let text = format!("//! Text.\n{}", "fn a() {}\n".repeat(LONGEST));
        assert_eq!(check(&Tree::of(&[("crates/a/src/lib.rs", &text)])).len(), 1);
        assert_eq!(check(&Tree::of(&[("docs/reference/openapi.json", &text)])), Vec::new());
    }

    #[test]
    fn a_file_without_a_first_line_is_found() {
        assert_eq!(check(&Tree::of(&[("crates/a/src/lib.rs", "use std::fmt;\n//! Late.")])).len(), 1);
        assert_eq!(check(&Tree::of(&[("crates/a/src/lib.rs", "#![cfg(test)]\n\n//! Text.\n")])), Vec::new());
        assert_eq!(check(&Tree::of(&[("crates/a/tests/a.rs", "use std::fmt;\n")])), Vec::new());
        assert_eq!(check(&Tree::of(&[("crates/a/src/exec/tests.rs", "use std::fmt;\n")])), Vec::new());
    }

    #[test]
    fn a_crate_without_lints_is_found() {
        assert_eq!(check(&Tree::of(&[("crates/a/Cargo.toml", "[package]\nname = \"a\"\n")])).len(), 1);
        assert_eq!(check(&Tree::of(&[("crates/a/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n")])), Vec::new());
    }
}
