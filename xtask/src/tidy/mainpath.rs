//! The main path: the table in ARCHITECTURE.md that leads a newcomer through one renewal must name files that exist.

use super::Offence;
use super::tree::Tree;

/// Every file that the table names and the repository lacks.
pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    let Some(text) = tree.text(DOCUMENT) else { return vec![Offence::new(DOCUMENT, "is missing")] };
    let mut lines = (1..).zip(text.lines()).skip_while(|(_, line)| !(line.starts_with("## ") && line.to_lowercase().contains(HEADING)));
    let Some(_) = lines.next() else { return vec![Offence::new(DOCUMENT, "has no heading `## Main path: ...`")] };
    let rows = lines.take_while(|(_, line)| !line.starts_with("## ")).filter(|(_, line)| line.starts_with('|'));
    let named: Vec<(usize, &str)> =
        rows.flat_map(|(number, row)| code_spans(row).filter(|span| is_path(span)).map(move |span| (number, span))).collect();
    if named.is_empty() {
        return vec![Offence::new(DOCUMENT, "the main-path table names no file")];
    }
    let missing = named.into_iter().filter(|(_, path)| !tree.has(path));
    missing.map(|(number, path)| Offence::at(DOCUMENT, number, format!("`{path}` does not exist"))).collect()
}

fn code_spans(row: &str) -> impl Iterator<Item = &str> {
    row.split('`').skip(1).step_by(2)
}

fn is_path(span: &str) -> bool {
    span.contains('/') && span.ends_with(".rs") && !span.contains(' ')
}

const DOCUMENT: &str = "ARCHITECTURE.md";
const HEADING: &str = "main path";

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A\n## Main path: renew\n| # | file |\n|---|---|\n| 1 | `crates/a/src/x.rs` + `crates/a/src/y.rs` with `fn x()` |\n## Next\n| `crates/b/src/z.rs` |\n";

    #[test]
    fn a_file_that_does_not_exist_is_found_where_it_is_named() {
        let tree = Tree::of(&[("ARCHITECTURE.md", TEXT), ("crates/a/src/x.rs", "")]);
        assert_eq!(check(&tree), [Offence::at("ARCHITECTURE.md", 5, "`crates/a/src/y.rs` does not exist")]);
    }

    #[test]
    fn all_files_there_is_fine_and_no_table_is_not() {
        assert_eq!(check(&Tree::of(&[("ARCHITECTURE.md", TEXT), ("crates/a/src/x.rs", ""), ("crates/a/src/y.rs", "")])), []);
        assert_eq!(check(&Tree::of(&[("ARCHITECTURE.md", "# A\n## Main path\nnone\n")])).len(), 1);
        assert_eq!(check(&Tree::of(&[("ARCHITECTURE.md", "# A\n")])).len(), 1);
        assert_eq!(check(&Tree::of(&[])).len(), 1);
    }
}
