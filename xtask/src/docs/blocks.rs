//! The pages: their fenced blocks, and the code spans of their prose.

use std::path::Path;

use crate::failure::Failure;
use crate::files;

/// A page, by its path from the root.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) path: String,
    pub(super) text: String,
}

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    /// The line of its opening fence, from 1.
    pub(super) line: usize,
    /// What stands behind the fence: a language, and perhaps more words.
    pub(super) info: &'a str,
    /// Its lines.
    pub(super) text: String,
}

/// The README and everything below `docs`.
pub(super) fn read_all(root: &Path) -> Result<Vec<Page>, Failure> {
    let mut paths = vec!["README.md".to_owned()];
    below(root, "docs", &mut paths)?;
    paths.sort();
    paths.into_iter().map(|path| Ok(Page { text: files::read(&root.join(&path))?, path })).collect()
}

fn below(root: &Path, folder: &str, paths: &mut Vec<String>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("cannot read {folder}")).because(error);
    for entry in std::fs::read_dir(root.join(folder)).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            below(root, &path, paths)?;
        } else if entry.path().extension().is_some_and(|ending| ending == "md") {
            paths.push(path);
        }
    }
    Ok(())
}

impl Page {
    /// Its fenced blocks. One inside a list is indented, and so are its lines.
    pub(super) fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks = Vec::new();
        let mut open: Option<(Block<'_>, usize)> = None;
        for (number, line) in (1..).zip(self.text.lines()) {
            let fence = line.trim_start().strip_prefix("```");
            open = match (open, fence) {
                (None, Some(info)) => {
                    let indent = line.len() - line.trim_start().len();
                    Some((Block { line: number, info: info.trim(), text: String::new() }, indent))
                }
                (None, None) => None,
                (Some((block, _)), Some(_)) => {
                    blocks.push(block);
                    None
                }
                (Some((mut block, indent)), None) => {
                    block.text.push_str(line.get(indent..).unwrap_or_default());
                    block.text.push('\n');
                    Some((block, indent))
                }
            };
        }
        blocks.extend(open.map(|(block, _)| block));
        blocks
    }

    /// The code spans of its prose, each with its line. A span may go over the end of a line.
    pub(super) fn spans(&self) -> Vec<(usize, String)> {
        let mut spans = Vec::new();
        let (mut fenced, mut open) = (false, None::<(usize, String)>);
        for (number, line) in (1..).zip(self.text.lines()) {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
                continue;
            }
            if fenced {
                continue;
            }
            // A paragraph ends every span that nobody closed.
            if line.trim().is_empty() {
                open = None;
            }
            let mut parts = line.split('`');
            let first = parts.next().unwrap_or_default();
            if let Some((_, text)) = &mut open {
                text.push(' ');
                text.push_str(first.trim_start());
            }
            for part in parts {
                open = match open {
                    Some(done) => {
                        spans.push(done);
                        None
                    }
                    None => Some((number, part.to_owned())),
                };
            }
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        Page { path: "docs/a.md".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn blocks_are_found_in_lists_too_and_one_without_an_end_ends_with_the_page() {
        let page = page("# A\n```sh on a host\nx\ny\n```\n1. z\n\n   ```text\n   a\n     b\n   ```\n```\nopen\n");
        let found: Vec<_> = page.blocks().into_iter().map(|block| (block.line, block.info, block.text)).collect();
        assert_eq!(found, [(2, "sh on a host", "x\ny\n".to_owned()), (8, "text", "a\n  b\n".to_owned()), (12, "", "open\n".to_owned())]);
    }

    #[test]
    fn spans_are_found_outside_blocks_and_over_line_ends() {
        let page = page("a `b` and `c\n  d` e\n```sh\n`no`\n```\n`never closed\n\n`f`\n");
        assert_eq!(page.spans(), [(1, "b".to_owned()), (1, "c d".to_owned()), (8, "f".to_owned())]);
    }
}
