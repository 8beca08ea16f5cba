//! Generated pages: what is in the repository is what the programs say now.

use crate::codegen::Page;

use super::Offence;
use super::tree::Tree;

/// Every page that is missing or says something else than its program.
pub(super) fn check(tree: &Tree, pages: &[Page]) -> Vec<Offence> {
    pages.iter().filter_map(|page| offence(page, tree.text(&page.path))).collect()
}

fn offence(page: &Page, old: Option<&str>) -> Option<Offence> {
    let Some(old) = old else {
        return Some(Offence::new(&page.path, "is missing; run `cargo xtask codegen` and commit the result"));
    };
    if old == page.text {
        return None;
    }
    let same = old.lines().zip(page.text.lines()).take_while(|(old, new)| old == new).count();
    Some(Offence::at(&page.path, same + 1, "is stale from here on; run `cargo xtask codegen` and commit the result"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        Page { path: "docs/reference/cli.md".to_owned(), text: "# CLI\nnew\n".to_owned() }
    }

    #[test]
    fn a_fresh_page_is_fine() {
        assert_eq!(check(&Tree::of(&[("docs/reference/cli.md", "# CLI\nnew\n")]), &[page()]), []);
    }

    #[test]
    fn a_stale_page_is_found_at_its_first_difference() {
        let offences = check(&Tree::of(&[("docs/reference/cli.md", "# CLI\nold\n")]), &[page()]);
        assert_eq!(offences.len(), 1);
        assert_eq!(offences[0].place, "docs/reference/cli.md:2");
    }

    #[test]
    fn a_missing_page_is_found() {
        assert_eq!(check(&Tree::of(&[]), &[page()]).len(), 1);
    }
}
