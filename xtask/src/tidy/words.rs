//! Words that must not reach the main branch: unfinished work, left-over debugging, tests that do not run.

use super::Offence;
use super::tree::Tree;

/// Every banned word in source code and scripts.
pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (path, text) in tree.ending(&[".rs", ".ts", ".tsx", ".sh", ".sql"]) {
        for (number, line) in (1..).zip(text.lines()) {
            for word in WORDS.iter().filter(|word| line.contains(word.text)) {
                offences.push(Offence::at(path, number, format!("`{}`: {}", word.text, word.instead)));
            }
            if let Some((_, after)) = line.split_once(LATER)
                && !after.starts_with("(#")
            {
                offences.push(Offence::at(path, number, format!("`{LATER}` needs the number of an issue: `{LATER}(#12)`")));
            }
        }
    }
    offences
}

struct Word {
    text: &'static str,
    instead: &'static str,
}

// Written in two halves, or this file would be the first offender.
const WORDS: [Word; 7] = [
    Word { text: concat!("to", "do!("), instead: "finish it, or leave it out" },
    Word { text: concat!("unimple", "mented!("), instead: "finish it, or leave it out" },
    Word { text: concat!("FIX", "ME"), instead: "fix it, or file an issue and write its number" },
    Word { text: concat!("X", "XX"), instead: "say what is wrong, or file an issue and write its number" },
    Word { text: concat!("db", "g!("), instead: "left-over debugging; use tracing" },
    Word { text: concat!("#[ig", "nore"), instead: "a test that cannot run fails and says what it needs" },
    Word { text: concat!("#![deny(war", "nings)]"), instead: "breaks on a new compiler; CI passes -D warnings" },
];

const LATER: &str = concat!("TO", "DO");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_banned_word_is_found_where_it_stands() {
        for word in &WORDS {
            let text = format!("//! Text.\n{}\n", word.text);
            let offences = check(&Tree::of(&[("crates/pki/src/lib.rs", &text)]));
            assert_eq!(offences.len(), 1, "{}", word.text);
            assert_eq!(offences[0].place, "crates/pki/src/lib.rs:2");
        }
    }

    #[test]
    fn later_needs_an_issue() {
        let (with, without) = (format!("// {LATER}(#12): more"), format!("// {LATER}: more"));
        assert!(check(&Tree::of(&[("a.rs", &with)])).is_empty());
        assert_eq!(check(&Tree::of(&[("a.rs", &without)])).len(), 1);
        assert!(check(&Tree::of(&[("a.md", &without)])).is_empty());
    }
}
