//! Files of the repository, and what its pages tell operators to run.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::thread;

use super::read;

/// A file of the repository.
pub(crate) fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The blocks of a page with this behind their fence, in order. Who asks for them runs them: one that is left when this goes fails the
/// test, as `cargo xtask docs` trusts that none is.
pub(crate) fn blocks(page: &str, info: &str) -> Blocks {
    let left = all(page, info);
    assert!(!left.is_empty(), "{page} has no blocks `{info}`");
    Blocks { page: format!("{page} ({info})"), left }
}

/// The block of a page that has these words, for a test that runs only some.
pub(crate) fn block_with(page: &str, info: &str, words: &str) -> String {
    all(page, info).into_iter().find(|block| block.contains(words)).unwrap_or_else(|| panic!("no block of {page} has `{words}`"))
}

/// Also those in lists, which are indented with all their lines.
fn all(page: &str, info: &str) -> VecDeque<String> {
    let text = read(&in_repository(page));
    let (mut found, mut open) = (VecDeque::new(), None::<(bool, usize, Vec<&str>)>);
    for line in text.lines() {
        let fence = line.trim_start().strip_prefix("```");
        open = match (open, fence) {
            (None, Some(said)) => Some((said.trim() == info, line.len() - line.trim_start().len(), Vec::new())),
            (None, None) => None,
            (Some((wanted, _, lines)), Some(_)) => {
                if wanted {
                    found.push_back(lines.join("\n"));
                }
                None
            }
            (Some((wanted, indent, mut lines)), None) => {
                lines.push(line.get(indent..).unwrap_or_default());
                Some((wanted, indent, lines))
            }
        };
    }
    assert!(open.is_none(), "a block of {page} does not end");
    found
}

/// Blocks that wait to be run.
#[derive(Debug)]
pub(crate) struct Blocks {
    page: String,
    left: VecDeque<String>,
}

impl Blocks {
    /// The next one, which must have these words: a page whose order changed is not followed blindly.
    #[track_caller]
    pub(crate) fn next_with(&mut self, words: &str) -> String {
        let next =
            self.left.pop_front().unwrap_or_else(|| panic!("{} has no further block, and one with `{words}` should come", self.page));
        assert!(next.contains(words), "the next block of {} has no `{words}`:\n{next}", self.page);
        next
    }
}

impl Iterator for Blocks {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.left.pop_front()
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        if !thread::panicking() {
            assert!(self.left.is_empty(), "nobody ran these blocks of {}: {:#?}", self.page, self.left);
        }
    }
}

#[test]
#[should_panic(expected = "nobody ran these blocks of docs/operator/backup.md")]
fn a_block_that_nobody_runs_fails_the_test() {
    blocks("docs/operator/backup.md", "sh").next_with("backup create");
}
