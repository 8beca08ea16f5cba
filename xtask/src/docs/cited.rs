//! Tests that pages cite as what holds a claim: each exists, by its whole name.

use std::collections::BTreeSet;
use std::path::Path;

use crate::failure::Failure;
use crate::files;

use super::{Finding, Pages};

/// Every citation of a test that is not there.
pub(super) fn check(pages: &Pages<'_>) -> Result<Vec<Finding>, Failure> {
    let tests = test_names(pages.root)?;
    let settings = files::read(&pages.root.join("docs/reference/configuration.md"))?;
    let mut findings = Vec::new();
    for page in pages.pages.iter().filter(|page| page.path.starts_with("docs/operator/") || page.path.starts_with("docs/decisions/")) {
        let a_setting = |span: &str| settings.contains(&format!(".{span}`"));
        let missing = page.spans().into_iter().filter(|(_, span)| is_citation(span) && !tests.contains(last(span)) && !a_setting(span));
        findings.extend(missing.map(|(line, span)| Finding::new(&page.path, line, format!("there is no test `{span}`"))));
    }
    Ok(findings)
}

/// Names of all functions in the Rust sources and tests of the repository.
pub(crate) fn test_names(root: &Path) -> Result<BTreeSet<String>, Failure> {
    let mut names = BTreeSet::new();
    for folder in ["tests", "crates", "xtask/src"] {
        functions(&root.join(folder), &mut names)?;
    }
    Ok(names)
}

/// A test is cited as `module::it_holds_so_and_so`, or by a name of at least four words.
fn is_citation(span: &str) -> bool {
    span.matches('_').count() > 2
        && last(span).contains('_')
        && span.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c))
        && !["certctl_", "pg_"].iter().any(|other| span.starts_with(other))
}

fn last(span: &str) -> &str {
    span.rsplit("::").next().unwrap_or(span)
}

fn functions(folder: &Path, names: &mut BTreeSet<String>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("cannot read {}", folder.display())).because(error);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            functions(&path, names)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            names.extend(functions_in(&files::read(&path)?));
        }
    }
    Ok(())
}

/// The names of the functions in a source.
pub(super) fn functions_in(text: &str) -> Vec<String> {
    text.split("fn ").skip(1).filter_map(|rest| Some(rest.split(['(', '<']).next()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citations_are_told_from_other_spans() {
        assert!(is_citation("backups::drill::a_restored_server_goes_on_where_it_was") && is_citation("counters_never_fall_at_all"));
        for other in ["tls.cert_file", "certctl_backup_last_success_timestamp_seconds", "backup/create_it_now_and_here.rs", "keep_daily"] {
            assert!(!is_citation(other), "{other}");
        }
    }
}
