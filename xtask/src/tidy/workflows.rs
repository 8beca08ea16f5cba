//! Workflows of the code host: they run what every machine runs, and no action whose content can change under its name.

use super::Offence;
use super::tree::Tree;

/// Every action that is not named by a commit, and every workflow that does something of its own.
pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.starts_with(FOLDER)) {
        for (number, line) in (1..).zip(text.lines()) {
            let Some(action) = line.trim_start().trim_start_matches("- ").strip_prefix("uses:") else { continue };
            let action = action.split('#').next().unwrap_or_default().trim();
            if !action.starts_with("./") && !action.split_once('@').is_some_and(|(_, version)| is_commit(version)) {
                offences.push(Offence::at(path, number, format!("`{action}` can change under its name: give the hash of its commit")));
            }
        }
        if !text.contains("bash .ci/run") {
            offences.push(Offence::new(path, "does not run `bash .ci/run`, so it checks something else than we do"));
        }
    }
    offences
}

fn is_commit(version: &str) -> bool {
    version.len() == 40 && version.bytes().all(|byte| byte.is_ascii_hexdigit())
}

const FOLDER: &str = ".github/workflows/";

#[cfg(test)]
mod tests {
    use super::*;

    fn offences(step: &str) -> usize {
        check(&Tree::of(&[(".github/workflows/ci.yml", &format!("steps:\n  {step}\n  - run: bash .ci/run\n"))])).len()
    }

    #[test]
    fn an_action_that_can_change_is_found() {
        assert_eq!(offences("- uses: actions/checkout@v4"), 1);
        assert_eq!(offences("- uses: actions/checkout"), 1);
        assert_eq!(offences("  uses: a/b@0123456789012345678901234567890123456789 # v4"), 0);
        assert_eq!(offences("- uses: ./here"), 0);
    }

    #[test]
    fn a_workflow_of_its_own_is_found() {
        assert_eq!(check(&Tree::of(&[(".github/workflows/ci.yml", "run: cargo test\n")])).len(), 1);
    }
}
