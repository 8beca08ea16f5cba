//! Snapshots: one whose test is gone proves nothing and misleads whoever reads it.

use super::Offence;
use super::tree::Tree;

/// Every snapshot whose source file is gone or no longer speaks of it.
pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    let all = tree.ending(&[".snap", ".snap.new"]);
    all.filter_map(|(path, text)| Some(Offence::new(path, complaint(tree, path, text)?))).collect()
}

fn complaint(tree: &Tree, path: &str, text: &str) -> Option<String> {
    if path.ends_with(".new") {
        return Some("is a proposal that nobody accepted; accept it or remove it".to_owned());
    }
    let Some(source) = text.lines().find_map(|line| line.strip_prefix("source: ")) else {
        return Some("does not name its source file".to_owned());
    };
    let source = source.trim_matches('"');
    let Some(code) = tree.text(source) else { return Some(format!("its source {source} is gone")) };
    let name = path.rsplit('/').next()?.strip_suffix(".snap")?;
    let name = name.rsplit("__").next()?.split('@').next()?;
    // The second unnamed snapshot of a test is called `name-2`.
    let name = name.rsplit_once('-').filter(|(_, number)| number.parse::<u32>().is_ok()).map_or(name, |(name, _)| name);
    (!code.contains(name)).then(|| format!("{source} has no test or snapshot named `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNAP: &str = "---\nsource: crates/cli/src/help.rs\nexpression: text\n---\nusage\n";
    const CODE: (&str, &str) = ("crates/cli/src/help.rs", "fn help_is_stable() { assert_snapshot!(text); }");

    #[test]
    fn a_snapshot_of_a_living_test_is_fine() {
        for name in ["help_is_stable", "help_is_stable-2", "help_is_stable@wide"] {
            let path = format!("crates/cli/src/snapshots/certctl__help__tests__{name}.snap");
            assert_eq!(check(&Tree::of(&[CODE, (&path, SNAP)])), [], "{name}");
        }
    }

    #[test]
    fn a_forgotten_snapshot_is_found() {
        let path = "crates/cli/src/snapshots/certctl__help__tests__old_help.snap";
        assert_eq!(check(&Tree::of(&[CODE, (path, SNAP)])).len(), 1);
        assert_eq!(check(&Tree::of(&[(path, SNAP)])).len(), 1);
        assert_eq!(check(&Tree::of(&[CODE, ("crates/cli/src/snapshots/certctl__help__tests__help_is_stable.snap.new", SNAP)])).len(), 1);
    }
}
