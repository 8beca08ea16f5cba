//! Links in documents: every relative one leads to a file, and every `#fragment` to a heading.

use std::collections::BTreeSet;

use super::Offence;
use super::tree::Tree;

/// Every link in a Markdown file that leads nowhere.
pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (path, text) in tree.ending(&[".md"]) {
        for (number, line) in prose(text) {
            for link in links(&without_code(line)) {
                if let Some(what) = complaint(tree, path, link) {
                    offences.push(Offence::at(path, number, what));
                }
            }
        }
    }
    offences
}

fn complaint(tree: &Tree, from: &str, link: &str) -> Option<String> {
    let outside = link.contains("://") || link.starts_with("mailto:");
    if outside || link.is_empty() {
        return None;
    }
    let (target, fragment) = link.split_once('#').map_or((link, None), |(target, fragment)| (target, Some(fragment)));
    let path = if target.is_empty() { Some(from.to_owned()) } else { resolve(from, target) };
    let Some(path) = path.filter(|path| tree.has(path)) else { return Some(format!("the link `{link}` leads to no file")) };
    let text = tree.text(&path).filter(|_| path.ends_with(".md"));
    match (fragment, text) {
        (Some(fragment), Some(text)) if !anchors(text).contains(fragment) => Some(format!("the link `{link}` leads to no heading")),
        _ => None,
    }
}

/// `target` as seen from the file `from`; `None` when it leaves the repository.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = if target.starts_with('/') { Vec::new() } else { from.split('/').collect() };
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Lines outside code fences, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// The targets of `[text](target)` and `[name]: target`.
fn links(line: &str) -> Vec<&str> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let definition =
        line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target.split(' ').next().unwrap_or_default());
    inline.chain(definition).map(|target| target.trim_start_matches('<').trim_end_matches('>')).collect()
}

/// The fragments of all headings, as code hosts make them: lower case, spaces to hyphens, punctuation gone, a number when taken.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect();
        let free =
            std::iter::once(slug.clone()).chain((1..).map(|number: u32| format!("{slug}-{number}"))).find(|slug| !anchors.contains(slug));
        anchors.extend(free);
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offences(text: &str) -> Vec<String> {
        let tree =
            Tree::of(&[("docs/a.md", text), ("docs/sub/b.md", "# Title\n## It's here: `now`\n## Twice\n## Twice\n"), ("README.md", "# R")]);
        check(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn living_links_are_fine() {
        let text = "# A\n[b](sub/b.md) [r](../README.md#r) [d](sub) ![i](./sub/b.md#its-here-now) [self](#a) [t](sub/b.md#twice-1)\n\
                    [o](https://example.test/x) [m](mailto:a@example.test) [root](/README.md)\n[ref]: sub/b.md \"title\"\n";
        assert_eq!(offences(text), Vec::<String>::new());
    }

    #[test]
    fn dead_links_are_found_where_they_stand() {
        assert_eq!(offences("# A\n\n[c](c.md)\n"), ["docs/a.md:3: the link `c.md` leads to no file"]);
        assert_eq!(offences("[b](sub/b.md#nowhere)"), ["docs/a.md:1: the link `sub/b.md#nowhere` leads to no heading"]);
        assert_eq!(offences("[up](../../outside.md)").len(), 1);
        assert_eq!(offences("[ref]: gone.md").len(), 1);
        assert_eq!(offences("[x](#none)").len(), 1);
    }

    #[test]
    fn code_is_not_searched() {
        assert!(offences("`[x](y.md)`\n```\n[x](y.md)\n```\n").is_empty());
    }
}
