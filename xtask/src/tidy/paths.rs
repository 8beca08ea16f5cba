//! Paths of one machine: they work for whoever wrote them and for nobody else.

use std::path::Path;

use super::Offence;
use super::tree::Tree;

/// The folders that no file may name: this clone and the home of whoever runs the check. Invented homes in examples are fine.
pub(super) fn of_this_machine(root: &Path) -> Vec<String> {
    // A clone at `/src` would make an offence of every `/src/`.
    let clone = Some(root.to_string_lossy().into_owned()).filter(|root| root.matches('/').count() > 1);
    let home = std::env::home_dir().map(|home| format!("{}/", home.display())).filter(|home| home.len() > 2);
    clone.into_iter().chain(home).collect()
}

/// Every mention of one of these folders.
pub(super) fn check(tree: &Tree, folders: &[String]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (path, text) in tree.texts() {
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(needle) = folders.iter().find(|folder| names(line, folder)) {
                offences.push(Offence::at(path, number, format!("`{needle}` is a path of one machine; use a relative path or $HOME")));
            }
        }
    }
    offences
}

/// Whether `needle` stands in `line` as the beginning of an absolute path.
fn names(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        !before.is_some_and(|before| before.is_alphanumeric() || matches!(before, '/' | '.' | '_' | '-' | '}' | '~' | '$'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(files: &[(&str, &str)], folders: &[&str]) -> Vec<String> {
        let folders: Vec<String> = folders.iter().map(|folder| (*folder).to_owned()).collect();
        check(&Tree::of(files), &folders).into_iter().map(|offence| offence.place).collect()
    }

    #[test]
    fn the_clone_and_the_home_folder_are_found() {
        let files =
            [("a.md", "built in /data/clone/target"), ("b.toml", "\nsee /people/alice/notes"), ("c.rs", "/data/other and /people/bob")];
        assert_eq!(places(&files, &["/data/clone", "/people/alice/"]), ["a.md:1", "b.toml:2"]);
    }

    #[test]
    fn a_relative_path_that_ends_alike_is_none() {
        assert_eq!(
            places(&[("a.md", "crates/data/clone/x and $HOME/data/clone and ../data/clone")], &["/data/clone"]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_clone_right_below_the_top_is_no_folder_to_search_for() {
        assert!(!of_this_machine(Path::new("/src")).contains(&"/src".to_owned()));
        assert!(of_this_machine(Path::new("/data/clone")).contains(&"/data/clone".to_owned()));
    }
}
