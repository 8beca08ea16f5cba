//! Commands of our own programs, in blocks and in prose: each is parsed by the program itself, up to a `--help` at its end.

use std::collections::BTreeMap;
use std::path::Path;

use crate::failure::Failure;
use crate::process::{command, output};

use super::blocks::Page;
use super::shell::{commands, run_words};
use super::{Finding, Pages};

/// Every command that its program does not take.
pub(super) fn check(pages: &Pages<'_>) -> Result<Vec<Finding>, Failure> {
    let scratch = tempfile::tempdir().map_err(|error| Failure::new("cannot make a folder").because(error))?;
    let mut judged: BTreeMap<Vec<String>, Option<String>> = BTreeMap::new();
    let mut findings = Vec::new();
    for page in &pages.pages {
        for (line, words) in named(page) {
            let verdict = match judged.get(&words) {
                Some(verdict) => verdict.clone(),
                None => judge(pages, scratch.path(), &words)?,
            };
            judged.insert(words.clone(), verdict.clone());
            findings.extend(verdict.map(|said| Finding::new(&page.path, line, format!("`{}`: {said}", words.join(" ")))));
        }
    }
    Ok(findings)
}

/// The commands of our programs on a page, with the lines where they begin or stand.
fn named(page: &Page) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for block in page.blocks().iter().filter(|block| SHELLS.contains(&block.info.split(' ').next().unwrap_or_default())) {
        found.extend(commands(&block.text).iter().filter_map(|words| ours(words)).map(|words| (block.line, words)));
    }
    for (line, span) in page.spans() {
        found.extend(commands(&span).iter().filter_map(|words| ours(words)).map(|words| (line, words)));
    }
    found
}

/// The words from our program on, where one is run: at the beginning, or behind `--`, as `kubectl exec` has it, or behind `xargs`.
fn ours(command: &[String]) -> Option<Vec<String>> {
    let words = run_words(command);
    let program = words.first()?;
    let handed_on = || words.iter().position(|word| word == "--").map(|at| at + 1);
    let by_xargs = || (program == "xargs").then(|| words.iter().position(|word| PROGRAMS.contains(&base(word)))).flatten();
    let start = if PROGRAMS.contains(&base(program)) { 0 } else { handed_on().or_else(by_xargs)? };
    let (program, rest) = words.get(start..)?.split_first()?;
    PROGRAMS.contains(&base(program)).then(|| std::iter::once(base(program).to_owned()).chain(rest.iter().cloned()).collect())
}

fn base(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// What the program says against the words; `None` when it takes them. It sees no environment and does nothing: `--help` is the last word
/// that it reads.
fn judge(pages: &Pages<'_>, scratch: &Path, words: &[String]) -> Result<Option<String>, Failure> {
    let Some((name, rest)) = words.split_first() else { return Ok(None) };
    let program = match name.as_str() {
        "certctl" => pages.binaries.cli()?,
        "certctl-server" => pages.binaries.server()?,
        _ => pages.binaries.agent()?,
    };
    // What stands behind `--` belongs to another program. An ellipsis is a value behind a flag, and further words elsewhere.
    let own: Vec<&str> = rest.iter().map(String::as_str).take_while(|word| *word != "--").collect();
    let before = std::iter::once("").chain(own.iter().copied());
    let said = own.iter().zip(before).filter(|(word, before)| **word != "..." || before.starts_with("--"));
    let said = said.map(|(word, _)| if *word == "..." { ANYTHING } else { word });
    let mut run = command(program);
    run.current_dir(scratch).env_clear().env("HOME", scratch).args(said).arg("--help");
    let ran = output(&mut run)?;
    if ran.status.success() && String::from_utf8_lossy(&ran.stdout).contains("Usage: ") {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    Ok(Some(said.lines().next().unwrap_or("it prints no help").trim_start_matches("error: ").to_owned()))
}

const PROGRAMS: [&str; 3] = ["certctl", "certctl-server", "certctl-agent"];

/// What an ellipsis may stand for, of whatever kind: a token, a fingerprint.
const ANYTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Blocks with commands. What programs say on their reference pages, with `[OPTIONS]`, is marked as text.
const SHELLS: [&str; 3] = ["sh", "console", "bash"];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let page = Page { path: "docs/a.md".to_owned(), text: text.to_owned() };
        named(&page).into_iter().map(|(line, words)| format!("{line} {}", words.join(" "))).collect()
    }

    #[test]
    fn our_programs_are_found_where_they_are_run_and_nowhere_else() {
        let text = "Use `certctl certs list`, not `helm install certctl x`.\n```sh\nA=b /usr/bin/certctl-server migrate && echo certctl\n\
                    kubectl exec x -- certctl-server backup list\ncertctl a -o name | xargs -n 1 certctl b\n```\n```text\ncertctl no\n```\n";
        assert_eq!(
            found(text),
            ["2 certctl-server migrate", "2 certctl-server backup list", "2 certctl a -o name", "2 certctl b", "1 certctl certs list"]
        );
    }
}
