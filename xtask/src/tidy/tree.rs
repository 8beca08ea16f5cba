//! The files of the repository, read once, so that every rule is a plain function over text.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::failure::Failure;
use crate::process::{capture, command};

/// Every file that git knows or would add, by its path from the root, with its text where it is text.
pub(super) struct Tree {
    files: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// Reads the work tree below `root`.
    pub(super) fn read(root: &Path) -> Result<Self, Failure> {
        let mut git = command("git");
        git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let listed = capture(&mut git).map_err(|error| error.hint("tidy runs in a git clone"))?;
        let paths = listed.split('\0').filter(|path| !path.is_empty());
        let files = paths.filter_map(|path| fs::read(root.join(path)).ok().map(|bytes| (path.to_owned(), String::from_utf8(bytes).ok())));
        Ok(Self { files: files.collect() })
    }

    /// Whether a file or a folder with this path is there.
    pub(super) fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty()
            || self.files.contains_key(path)
            || self.files.range(folder.clone()..).next().is_some_and(|(next, _)| next.starts_with(&folder))
    }

    /// The text of one file.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// Paths and texts of all text files.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    /// Paths and texts of the text files with one of these endings.
    pub(super) fn ending(&self, endings: &[&str]) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter(|(path, _)| endings.iter().any(|ending| path.ends_with(ending)))
    }

    /// A tree out of thin air, for the tests of the rules.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned()))).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    #[test]
    fn knows_files_and_folders() {
        let tree = Tree::of(&[("docs/a.md", ""), ("docs.txt", "")]);
        assert!(tree.has("docs/a.md") && tree.has("docs") && tree.has(""));
        assert!(!tree.has("doc") && !tree.has("docs/b.md"));
    }

    #[test]
    fn reads_new_files_but_not_ignored_ones() {
        let folder = tempfile::tempdir().unwrap();
        capture(command("git").args(["init", "--quiet"]).arg(folder.path())).unwrap();
        files::write(&folder.path().join(".gitignore"), "target\n").unwrap();
        files::write(&folder.path().join("target/x"), "").unwrap();
        files::write(&folder.path().join("src/lib.rs"), "//! Text.").unwrap();
        let tree = Tree::read(folder.path()).unwrap();
        assert_eq!(tree.text("src/lib.rs"), Some("//! Text."));
        assert!(!tree.has("target/x"));
    }
}
