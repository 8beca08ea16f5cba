//! The file names that an `include` pattern matches, as `glob(3)` finds them: `*`, `?` and `[...]` within one path segment.

use std::path::{Component, Path, PathBuf};

/// Whether the text has a pattern in it.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The existing paths that match, sorted, at most `limit`.
pub(super) fn matches(pattern: &Path, limit: usize) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.components() {
        let Component::Normal(name) = part else {
            if part == Component::ParentDir {
                found.iter_mut().for_each(|path| path.push(".."));
            }
            continue;
        };
        let name = name.to_string_lossy();
        found = if is_pattern(&name) {
            found.iter().flat_map(|directory| matching_entries(directory, &name)).take(limit).collect()
        } else {
            found.into_iter().map(|path| path.join(&*name)).collect()
        };
    }
    found.retain(|path| path.exists());
    found.sort();
    found
}

fn matching_entries(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let pattern: Vec<char> = pattern.chars().collect();
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    entries
        // A leading dot must be matched by a dot.
        .filter(|name| name.starts_with('.') <= (pattern.first() == Some(&'.')))
        .filter(|name| fits(&pattern, &name.chars().collect::<Vec<_>>()))
        .map(|name| directory.join(name))
        .collect()
}

fn fits(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=name.len()).any(|skip| name.get(skip..).is_some_and(|tail| fits(rest, tail))),
        (['?', rest @ ..], [_, tail @ ..]) => fits(rest, tail),
        (['[', rest @ ..], [c, tail @ ..]) => match set(rest, *c) {
            Some((inside, rest)) => inside && fits(rest, tail),
            None => *c == '[' && fits(rest, tail),
        },
        (['\\', p, rest @ ..], [c, tail @ ..]) => p == c && fits(rest, tail),
        ([p, rest @ ..], [c, tail @ ..]) => p == c && fits(rest, tail),
        _ => false,
    }
}

/// Whether a character is in the set that begins here, and what follows the set; `None` when the set is not closed.
fn set(pattern: &[char], c: char) -> Option<(bool, &[char])> {
    let (negated, mut rest) = match pattern {
        ['!' | '^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let mut inside = false;
    let mut first = true;
    loop {
        rest = match rest {
            [']', rest @ ..] if !first => return Some((inside != negated, rest)),
            [low, '-', high, rest @ ..] if *high != ']' => {
                inside |= (*low..=*high).contains(&c);
                rest
            }
            [one, rest @ ..] => {
                inside |= *one == c;
                rest
            }
            [] => return None,
        };
        first = false;
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files")]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_the_shell() {
        for (pattern, name, fit) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("a*b*c", "axxbyyc", true),
            ("?.conf", "ab.conf", false),
            ("[a-c]*.conf", "beta.conf", true),
            ("[!a-c]*.conf", "beta.conf", false),
            ("[]x]", "]", true),
            ("[abc", "[abc", true),
            ("\\*", "*", true),
            ("", "", true),
        ] {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(fits(&chars(pattern), &chars(name)), fit, "{pattern} {name}");
        }
    }

    #[test]
    fn finds_existing_files_in_order_and_passes_over_hidden_ones() {
        let directory = tempfile::tempdir().unwrap();
        for path in ["b/x.conf", "a/x.conf", "a/y.conf", "a/.z.conf", "a/x.txt"] {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = matches(&directory.path().join("*/*.conf"), 100);
        let names: Vec<_> = found.iter().map(|p| p.strip_prefix(directory.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a/x.conf", "a/y.conf", "b/x.conf"]);
        assert!(matches(&directory.path().join("nothing/*.conf"), 100).is_empty());
    }
}
