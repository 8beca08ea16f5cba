//! Outside crates: none that `deny.toml` bans, none with a license that it does not allow, none that the standard library replaced.
//!
//! `deny.toml` is the one list. cargo-deny reads all of it but takes minutes to build; the two parts that matter on every change are cheap.

use crate::failure::Failure;
use crate::process::{capture, command};
use crate::workspace;

use super::Offence;
use super::tree;

/// What is really built: every crate with its license, and what our own crates name in their manifests.
pub(super) struct Tree {
    built: Vec<Built>,
    direct: Vec<(String, String)>,
}

struct Built {
    name: String,
    license: String,
}

impl Tree {
    /// Asks `cargo tree`, for every platform. Not `Cargo.lock` and not `cargo metadata`: both also list what an unused feature would bring.
    pub(super) fn read() -> Result<Self, Failure> {
        let mut cargo = command("cargo");
        cargo.args(["tree", "--workspace", "--target", "all", "--edges", "all", "--prefix", "none", "--format", "{p}\t{l}"]);
        let built = capture(&mut cargo)?.lines().filter_map(Built::parse).collect();
        let metadata = workspace::members()?;
        let direct = metadata
            .packages
            .iter()
            .flat_map(|package| package.dependencies.iter().map(|dependency| (package.name.to_string(), dependency.name.clone())));
        Ok(Self { built, direct: direct.collect() })
    }
}

impl Built {
    /// `serde v1.0.2 (proc-macro)<tab>MIT OR Apache-2.0`
    fn parse(line: &str) -> Option<Self> {
        let (package, license) = line.split_once('\t')?;
        let license = license.trim_end_matches("(*)").trim();
        Some(Self { name: package.split(' ').next()?.to_owned(), license: license.to_owned() })
    }
}

/// Every crate that is banned, or whose license nobody allowed.
pub(super) fn check(repository: &tree::Tree, crates: &Tree) -> Result<Vec<Offence>, Failure> {
    let deny = repository.text("deny.toml").ok_or_else(|| Failure::new("deny.toml is missing"))?;
    let (banned, licenses) = (strings(deny, "deny"), strings(deny, "allow"));
    if banned.is_empty() || licenses.is_empty() {
        return Err(Failure::new("deny.toml has no `deny` or no `allow` list"));
    }
    let mut offences = Vec::new();
    for built in &crates.built {
        if banned.contains(&built.name) {
            offences.push(Offence::new(&built.name, "is banned by deny.toml; `cargo tree --workspace --invert` shows what brings it"));
        }
        if !allowed(&built.license, &licenses) {
            offences.push(Offence::new(&built.name, format!("its license `{}` is not allowed by deny.toml", built.license)));
        }
    }
    for (from, to) in &crates.direct {
        for (_, instead) in NOT_DIRECTLY.iter().filter(|(name, _)| name == to) {
            offences.push(Offence::new(from, format!("must not depend on {to}: {instead}")));
        }
    }
    offences.sort_by(|a, b| (&a.place, &a.what).cmp(&(&b.place, &b.what)));
    offences.dedup();
    Ok(offences)
}

/// The first quoted string of every line of the array `key = [ ... ]`, which `deny.toml` writes one entry a line.
fn strings(toml: &str, key: &str) -> Vec<String> {
    let opening = format!("{key} = [");
    let body = toml.lines().map(str::trim).skip_while(|line| *line != opening).skip(1).take_while(|line| *line != "]");
    body.filter(|line| !line.starts_with('#')).filter_map(|line| line.split('"').nth(1)).map(str::to_owned).collect()
}

/// Whether an SPDX expression can be satisfied from the allowed licenses: all of an `AND`, one of an `OR` (SPDX 2.3, annex D).
fn allowed(expression: &str, licenses: &[String]) -> bool {
    // Before SPDX expressions crates wrote `MIT/Apache-2.0`.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let satisfied = any_of(&mut words, licenses);
    satisfied && words.peek().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, licenses: &[String]) -> bool {
    let mut satisfied = all_of(words, licenses);
    while words.next_if_eq(&"OR").is_some() {
        satisfied |= all_of(words, licenses);
    }
    satisfied
}

fn all_of(words: &mut Words<'_>, licenses: &[String]) -> bool {
    let mut satisfied = term(words, licenses);
    while words.next_if_eq(&"AND").is_some() {
        satisfied &= term(words, licenses);
    }
    satisfied
}

fn term(words: &mut Words<'_>, licenses: &[String]) -> bool {
    let Some(word) = words.next() else { return false };
    if word == "(" {
        let satisfied = any_of(words, licenses);
        return words.next_if_eq(&")").is_some() && satisfied;
    }
    let mut license = word.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        license = format!("{license} WITH {}", words.next().unwrap_or_default());
    }
    licenses.contains(&license)
}

/// Crates that others may bring, but that our own manifests do not name.
const NOT_DIRECTLY: [(&str, &str); 7] = [
    ("chrono", "use `time`, wrapped as certctl_domain::time::Timestamp"),
    ("once_cell", "use std::sync::{OnceLock, LazyLock}"),
    ("lazy_static", "use std::sync::LazyLock"),
    ("async-std", "use tokio"),
    ("anyhow", "errors are thiserror enums that say what and why"),
    ("rsa", "RSA belongs to aws-lc-rs"),
    ("sha2", "digests belong to aws-lc-rs"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = "[licenses]\nallow = [\n    # why\n    \"MIT\",\n    \"Apache-2.0\",\n    \"Apache-2.0 WITH LLVM-exception\",\n    \"ISC\",\n]\n\
                        [bans]\ndeny = [\n    { crate = \"ring\", reason = \"one provider\" },\n]\n";

    fn offences(built: &[&str], direct: &[(&str, &str)]) -> Vec<String> {
        let crates = Tree {
            built: built.iter().filter_map(|line| Built::parse(line)).collect(),
            direct: direct.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
        };
        check(&tree::Tree::of(&[("deny.toml", DENY)]), &crates).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_banned_crate_is_found_once() {
        let found = offences(&["ring v0.17.14\tISC", "ring v0.17.14\tISC (*)", "serde v1.0.0 (proc-macro)\tMIT OR Apache-2.0"], &[]);
        assert_eq!(found, ["ring: is banned by deny.toml; `cargo tree --workspace --invert` shows what brings it"]);
    }

    #[test]
    fn an_unknown_license_is_found() {
        assert_eq!(offences(&["gnu v1.0.0\tGPL-3.0"], &[]), ["gnu: its license `GPL-3.0` is not allowed by deny.toml"]);
        assert_eq!(offences(&["none v1.0.0\t"], &[]).len(), 1);
    }

    #[test]
    fn a_replaced_crate_is_found_in_our_manifests_only() {
        assert_eq!(offences(&["chrono v0.4.0\tMIT"], &[]), Vec::<String>::new());
        assert_eq!(offences(&[], &[("certctl-api", "chrono")]).len(), 1);
    }

    #[test]
    fn expressions_are_read_as_spdx_says() {
        let licenses = strings(DENY, "allow");
        assert_eq!(licenses, ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC"]);
        for good in ["MIT", "GPL-3.0 OR MIT", "MIT/GPL-2.0", "MIT AND (GPL-3.0 OR ISC)", "Apache-2.0 WITH LLVM-exception OR GPL-3.0"] {
            assert!(allowed(good, &licenses), "{good}");
        }
        for bad in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT ISC", "MIT AND (GPL-3.0 OR LGPL-2.1)", "GPL-2.0 WITH Classpath-exception-2.0"]
        {
            assert!(!allowed(bad, &licenses), "{bad}");
        }
    }
}
