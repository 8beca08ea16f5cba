//! The dashboard: every expression speaks of metrics and labels that there are, of the installation that was chosen and of no other, and
//! every panel says what it shows, in which unit, and where to read on. That each expression is understood and gives something is shown by a
//! real Prometheus, in `tests/e2e`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::failure::Failure;
use crate::files;

use super::alerts::unknown_metrics;
use super::chart::World;
use super::objects::{at, list};
use super::pages::DASHBOARD;

/// What is wrong with it.
pub(super) fn check(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let text = files::read(&world.root.join(DASHBOARD))?;
    let dashboard: Value = match serde_json::from_str(&text) {
        Ok(dashboard) => dashboard,
        Err(error) => return Ok(vec![format!("{DASHBOARD} is no JSON: {error}")]),
    };
    let reference = files::read(&world.root.join("docs/reference/metrics.md"))?;
    let runbook = files::read(&world.root.join("docs/operator/alerts.md"))?;
    let labels = labels_of(&reference);
    let mut findings = frame(&dashboard);
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in list(at(&dashboard, "/panels")) {
        let title = at(panel, "/title").as_str().unwrap_or_default();
        let mut found = Vec::new();
        if !ids.insert(at(panel, "/id").as_u64()) {
            found.push("its id is another's too".to_owned());
        }
        found.extend(misplaced(panel, &mut cells));
        if at(panel, "/type") != "row" {
            found.extend(untold(panel, &runbook));
            for expression in list(at(panel, "/targets")).iter().filter_map(|target| at(target, "/expr").as_str()) {
                found.extend(unknown_metrics(expression, &reference));
                found.extend(unknown_labels(expression, &labels));
                found.extend(unchosen(expression));
            }
        }
        findings.extend(found.into_iter().map(|what| format!("{title}: {what}")));
    }
    Ok(findings)
}

/// What Grafana and the readers of the dashboard expect of the whole.
fn frame(dashboard: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    if at(dashboard, "/schemaVersion").as_u64() != Some(38) {
        findings.push("schemaVersion is not 38, which every Grafana from 10 on reads".to_owned());
    }
    let variables: BTreeSet<&str> =
        list(at(dashboard, "/templating/list")).iter().filter_map(|variable| at(variable, "/name").as_str()).collect();
    findings.extend(
        ["datasource", "job", "namespace", "runbook"]
            .into_iter()
            .filter(|name| !variables.contains(name))
            .map(|name| format!("has no variable {name}")),
    );
    let rows: Vec<&str> = list(at(dashboard, "/panels"))
        .iter()
        .filter(|panel| at(panel, "/type") == "row")
        .filter_map(|row| at(row, "/title").as_str())
        .collect();
    findings.extend(ROWS.into_iter().filter(|row| !rows.contains(row)).map(|row| format!("has no row {row}")));
    findings
}

/// A panel that lies over another one, or beyond the edge.
fn misplaced(panel: &Value, cells: &mut BTreeSet<(u64, u64)>) -> Option<String> {
    let of = |name: &str| at(panel, &format!("/gridPos/{name}")).as_u64().unwrap_or_default();
    let (x, y, w, h) = (of("x"), of("y"), of("w"), of("h"));
    let own = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
    if w == 0 || h == 0 || x + w > 24 {
        return Some("is beyond the edge".to_owned());
    }
    let taken = own.filter(|cell| !cells.insert(*cell)).count();
    (taken > 0).then(|| "lies over another panel".to_owned())
}

/// What a panel does not say of itself.
fn untold(panel: &Value, runbook: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (place, what) in [("/title", "title"), ("/description", "description"), ("/fieldConfig/defaults/unit", "unit")] {
        if at(panel, place).as_str().is_none_or(str::is_empty) {
            findings.push(format!("has no {what}"));
        }
    }
    if list(at(panel, "/fieldConfig/defaults/thresholds/steps")).is_empty() {
        findings.push("has no thresholds".to_owned());
    }
    if list(at(panel, "/targets")).is_empty() {
        findings.push("asks for nothing".to_owned());
    }
    let sources = std::iter::once(panel).chain(list(at(panel, "/targets")));
    if sources.into_iter().any(|source| at(source, "/datasource/uid") != "${datasource}") {
        findings.push("does not ask the data source that was chosen".to_owned());
    }
    for url in list(at(panel, "/links")).iter().filter_map(|link| at(link, "/url").as_str()) {
        let heading = url.strip_prefix("${runbook}#");
        let known = |anchor: &str| runbook.lines().filter_map(|line| line.strip_prefix("### ")).any(|title| title.to_lowercase() == anchor);
        if !heading.is_some_and(known) {
            findings.push(format!("leads to {url}, which is no heading of the page of alerts"));
        }
    }
    findings
}

/// The labels of each metric, from the reference.
fn labels_of(reference: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let rows = reference.lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let name = cells.next()?.trim_matches('`');
        let labels = cells.nth(1)?.split('`').skip(1).step_by(2).collect();
        Some((name, labels))
    })
    .collect()
}

/// Labels in an expression that none of its metrics has.
fn unknown_labels(expression: &str, labels: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let words: BTreeSet<&str> = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let metrics = labels.iter().filter(|(name, _)| words.iter().any(|word| word.starts_with(**name)));
    let known: BTreeSet<&str> = metrics.flat_map(|(_, labels)| labels.iter().copied()).chain(TARGET_LABELS).collect();
    named_labels(expression)
        .into_iter()
        .filter(|label| !known.contains(label))
        .map(|label| format!("none of its metrics has the label {label}"))
        .collect()
}

/// Labels in braces and behind `by`.
fn named_labels(expression: &str) -> BTreeSet<&str> {
    let between = |open: &'static str, close: char| expression.split(open).skip(1).filter_map(move |rest| rest.split(close).next());
    let matched = between("{", '}').flat_map(|inside| inside.split("\",")).filter_map(|pair| pair.split(['=', '!']).next());
    let grouped = between(" by (", ')').flat_map(|inside| inside.split(','));
    matched.chain(grouped).map(str::trim).filter(|label| !label.is_empty()).collect()
}

/// Selectors that do not keep to the installation that was chosen.
fn unchosen(expression: &str) -> Option<String> {
    let selectors = expression.split('{').skip(1);
    let all = selectors.clone().all(|rest| rest.starts_with(CHOSEN));
    (!all || selectors.count() == 0).then(|| format!("`{expression}` is not about the installation that was chosen"))
}

const CHOSEN: &str = "job=\"$job\",namespace=~\"$namespace\"";

/// Labels that Prometheus adds, and that of a histogram.
const TARGET_LABELS: [&str; 4] = ["job", "namespace", "instance", "le"];

const ROWS: [&str; 9] = [
    "Fleet",
    "Renewals and issuance",
    "Agents",
    "Jobs and tasks",
    "HTTP",
    "Database",
    "CA, revocation lists and OCSP",
    "Backups",
    "Process",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const REFERENCE: &str = "| `certctl_a` | gauge | `status`, `issuer` | A. |\n| `certctl_b` | gauge |  | B. |\n";

    #[test]
    fn labels_are_those_of_the_metrics() {
        let labels = labels_of(REFERENCE);
        let good = "max by (status) (certctl_a{job=\"$job\",namespace=~\"$namespace\",issuer!~\"x,y\"})";
        assert_eq!(unknown_labels(good, &labels), Vec::<String>::new());
        assert_eq!(unknown_labels("max by (host) (certctl_a{issuer=\"x\"})", &labels).len(), 1);
        assert_eq!(unknown_labels("certctl_b{job=\"x\",status=\"y\"}", &labels).len(), 1);
    }

    #[test]
    fn every_selector_is_about_the_chosen_installation() {
        assert_eq!(unchosen("sum(certctl_b{job=\"$job\",namespace=~\"$namespace\"})"), None);
        assert!(unchosen("sum(certctl_b{job=\"$job\"})").is_some());
        assert!(unchosen("sum(certctl_b)").is_some());
    }

    #[test]
    fn panels_do_not_lie_over_each_other() {
        let panel = |x: u64, w: u64| json!({"gridPos": {"x": x, "y": 0, "w": w, "h": 2}});
        let mut cells = BTreeSet::new();
        assert_eq!(misplaced(&panel(0, 12), &mut cells), None);
        assert_eq!(misplaced(&panel(12, 12), &mut cells), None);
        assert!(misplaced(&panel(11, 2), &mut cells).is_some());
        assert!(misplaced(&panel(20, 8), &mut cells).is_some());
    }
}
