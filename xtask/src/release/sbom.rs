//! A bill of materials for each program, in the form of `CycloneDX` 1.5 (ECMA-424): every crate that is compiled into it, with license, check
//! sum, and what it is used by.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::files;
use crate::process::{capture, command};

use super::Release;
use super::programs::NAMES;

/// Writes `<program>-<version>.cdx.json` for each.
pub(super) fn write(release: &Release) -> Result<(), Failure> {
    let mut cargo = command("cargo");
    cargo.current_dir(&release.root).args(["tree", "--workspace", "--locked", "--edges", "normal", "--prefix", "depth"]);
    cargo.args(["--target", release.programs.architecture.triple, "--format", "\t{p}\t{l}"]);
    let graph = Graph::parse(&capture(&mut cargo)?);
    let sums = check_sums(&files::read(&release.root.join("Cargo.lock"))?);
    let date = capture(command("date").args(["--utc", &format!("--date=@{}", release.date), "+%Y-%m-%dT%H:%M:%SZ"]))?;
    for name in NAMES {
        let package = if name == "certctl" { "certctl-cli" } else { name };
        let made_of = graph.bill(&About { name, package, version: &release.version, date: date.trim() }, &sums)?;
        let text = serde_json::to_string_pretty(&made_of).map_err(|error| Failure::new("a bill cannot be written").because(error))?;
        files::write(&release.out.join(format!("{name}-{}.cdx.json", release.version)), &format!("{text}\n"))?;
    }
    Ok(())
}

/// What a bill is about.
struct About<'a> {
    name: &'a str,
    package: &'a str,
    version: &'a str,
    date: &'a str,
}

/// A crate by name and version; no two of the same come from different places here, as `deny.toml` allows one registry alone.
type Crate = (String, String);

/// Who uses whom.
#[derive(Default)]
struct Graph {
    licenses: BTreeMap<Crate, String>,
    uses: BTreeMap<Crate, BTreeSet<Crate>>,
}

impl Graph {
    /// Lines such as `2<tab>serde v1.0.2 (proc-macro)<tab>MIT`. What was shown before ends with `(*)` and is not shown again.
    fn parse(tree: &str) -> Self {
        let mut graph = Self::default();
        let mut above: Vec<Crate> = Vec::new();
        for line in tree.lines() {
            let mut parts = line.split('\t');
            let (Some(depth), Some(package), Some(license)) = (parts.next(), parts.next(), parts.next()) else { continue };
            let Ok(depth) = depth.parse::<usize>() else { continue };
            let mut words = package.split(' ');
            let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
            let this = (name.to_owned(), version.trim_start_matches('v').to_owned());
            // A macro runs in the compiler; nothing of it, nor of what it uses, is in the program.
            let macros = package.contains("(proc-macro)");
            above.truncate(depth);
            if !macros && above.len() == depth {
                if let Some(user) = above.last() {
                    graph.uses.entry(user.clone()).or_default().insert(this.clone());
                }
                let license = license.trim_end_matches("(*)").trim().replace('/', " OR ");
                graph.licenses.insert(this.clone(), license);
                above.push(this);
            }
        }
        graph
    }

    fn bill(&self, about: &About<'_>, sums: &BTreeMap<Crate, String>) -> Result<Value, Failure> {
        let root = (about.package.to_owned(), about.version.to_owned());
        let mut found = BTreeSet::from([root.clone()]);
        let mut open = vec![root.clone()];
        while let Some(next) = open.pop() {
            open.extend(self.uses.get(&next).into_iter().flatten().filter(|used| found.insert((*used).clone())).cloned());
        }
        if found.len() < FEWEST {
            return Err(Failure::new(format!("{} seems to be made of {} crates alone", about.name, found.len())));
        }
        let components: Vec<Value> = found.iter().filter(|one| **one != root).map(|one| self.component(one, sums)).collect();
        let dependencies: Vec<Value> = found
            .iter()
            .map(|one| {
                let uses: Vec<String> = self.uses.get(one).into_iter().flatten().map(reference).collect();
                json!({"ref": reference(one), "dependsOn": uses})
            })
            .collect();
        Ok(json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {
                "timestamp": about.date,
                "tools": {"components": [{"type": "application", "name": "cargo xtask release", "version": about.version}]},
                "component": {
                    "type": "application", "name": about.name, "version": about.version, "bom-ref": reference(&root),
                    "licenses": [{"expression": "Apache-2.0"}],
                },
            },
            "components": components,
            "dependencies": dependencies,
        }))
    }

    fn component(&self, one: &Crate, sums: &BTreeMap<Crate, String>) -> Value {
        let license = self.licenses.get(one).map_or("", String::as_str);
        let mut component = json!({
            "type": "library", "name": one.0, "version": one.1, "bom-ref": reference(one), "purl": reference(one), "scope": "required",
            "licenses": [{"expression": license}],
        });
        // Crates of this repository have none.
        if let Some(sum) = sums.get(one)
            && let Some(fields) = component.as_object_mut()
        {
            fields.insert("hashes".to_owned(), json!([{"alg": "SHA-256", "content": sum}]));
        }
        component
    }
}

/// As package URLs have it (ECMA-427, type `cargo`).
fn reference((name, version): &Crate) -> String {
    format!("pkg:cargo/{name}@{version}")
}

/// The check sums of `Cargo.lock`.
fn check_sums(lock: &str) -> BTreeMap<Crate, String> {
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"").map(str::to_owned))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    let blocks = lock.split("[[package]]");
    blocks.filter_map(|block| Some(((value(block, "name")?, value(block, "version")?), value(block, "checksum")?))).collect()
}

/// Fewer crates than any program of ours has: the tree was not understood.
const FEWEST: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "0\tone v1.0.0 (/src/one)\tApache-2.0\n1\ttwo v2.0.0\tMIT/Apache-2.0\n2\tmacros v3.0.0 (proc-macro)\tMIT\n3\tsyn v4.0.0\tMIT\n\
                        2\tfive v5.0.0\tISC\n1\tfive v5.0.0\tISC (*)\n\n0\tother v1.0.0 (/src/other)\tMIT\n1\ttwo v2.0.0\tMIT/Apache-2.0 (*)\n";

    fn one(name: &str, version: &str) -> Crate {
        (name.to_owned(), version.to_owned())
    }

    #[test]
    fn what_is_compiled_in_is_found_and_macros_are_not() {
        let graph = Graph::parse(TREE);
        assert_eq!(graph.licenses.keys().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["five", "one", "other", "two"]);
        assert_eq!(graph.licenses[&one("two", "2.0.0")], "MIT OR Apache-2.0");
        assert_eq!(graph.licenses[&one("five", "5.0.0")], "ISC");
        assert_eq!(graph.uses[&one("one", "1.0.0")], BTreeSet::from([one("five", "5.0.0"), one("two", "2.0.0")]));
        assert_eq!(graph.uses[&one("other", "1.0.0")], BTreeSet::from([one("two", "2.0.0")]), "what was shown before is used all the same");
    }

    #[test]
    fn check_sums_are_those_of_the_lock_file() {
        let lock =
            "[[package]]\nname = \"one\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"two\"\nversion = \"2.0.0\"\nchecksum = \"abc\"\n";
        assert_eq!(check_sums(lock), BTreeMap::from([(one("two", "2.0.0"), "abc".to_owned())]));
    }
}
