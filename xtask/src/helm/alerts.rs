//! The alerts: Prometheus takes them, unit tests show each firing, silent and resolved, and they speak of metrics, commands and pages
//! that there are.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::failure::Failure;
use crate::files;
use crate::process::{command, output};

use super::chart::World;
use super::objects::{at, list};
use super::pages;

/// The unit tests, beside the rules.
const TESTS: &str = "deploy/prometheus/certctl.rules.test.yaml";

/// What is wrong with them.
pub(super) fn check(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let text = match pages::rules(world) {
        Ok(text) => text,
        Err(error) => return Ok(vec![error.chain()]),
    };
    let rules: Value = match serde_norway::from_str(&text) {
        Ok(rules) => rules,
        Err(error) => return Ok(vec![format!("the rules are no YAML: {error}")]),
    };
    let tests = files::read(&world.root.join(TESTS))?;
    let parsed: Value = serde_norway::from_str(&tests).map_err(|error| Failure::new(format!("{TESTS} is no YAML")).because(error))?;
    let alerts: Vec<&Value> = list(at(&rules, "/groups")).iter().flat_map(|group| list(at(group, "/rules"))).collect();
    let mut findings = promtool(world, &text, &tests)?;
    findings.extend(untested(&alerts, &parsed));
    findings.extend(
        WANTED
            .iter()
            .filter(|name| !alerts.iter().any(|alert| at(alert, "/alert") == **name))
            .map(|name| format!("there is no alert {name}")),
    );
    let metrics = files::read(&world.root.join("docs/reference/metrics.md"))?;
    let commands = files::read(&world.root.join("docs/reference/cli.md"))?;
    let runbook = files::read(&world.root.join("docs/operator/alerts.md"))?;
    for alert in alerts {
        let name = at(alert, "/alert").as_str().unwrap_or_default();
        let found = unknown_metrics(at(alert, "/expr").as_str().unwrap_or_default(), &metrics)
            .into_iter()
            .chain(unknown_commands(alert, &commands));
        findings.extend(found.map(|what| format!("{name}: {what}")));
        if !runbook.contains(&format!("\n### {name}\n")) {
            findings.push(format!("{name}: docs/operator/alerts.md has no heading for it"));
        }
        if !matches!(at(alert, "/labels/severity").as_str(), Some("critical" | "warning" | "info")) {
            findings.push(format!("{name}: has no severity"));
        }
    }
    Ok(findings)
}

/// `promtool check rules` and `promtool test rules`.
fn promtool(world: &World<'_>, rules: &str, tests: &str) -> Result<Vec<String>, Failure> {
    let folder = tempfile::tempdir().map_err(|error| Failure::new("cannot make a temporary folder").because(error))?;
    files::write(&folder.path().join("certctl.rules.yaml"), rules)?;
    files::write(&folder.path().join("certctl.rules.test.yaml"), tests)?;
    let mut findings = Vec::new();
    for arguments in [["check", "rules", "certctl.rules.yaml"], ["test", "rules", "certctl.rules.test.yaml"]] {
        let output = output(command(&world.tools.promtool).current_dir(folder.path()).args(arguments))?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            findings.push(format!("promtool {}: {}", arguments.join(" "), String::from_utf8_lossy(&said).trim()));
        }
    }
    Ok(findings)
}

/// Alerts that no test shows firing, silent, and resolved after it fired.
fn untested(alerts: &[&Value], tests: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for alert in alerts {
        let name = at(alert, "/alert").as_str().unwrap_or_default();
        let (mut fires, mut silent, mut resolves) = (false, false, false);
        for test in list(at(tests, "/tests")) {
            let seen: Vec<bool> = list(at(test, "/alert_rule_test"))
                .iter()
                .filter(|seen| at(seen, "/alertname") == name)
                .map(|seen| !list(at(seen, "/exp_alerts")).is_empty())
                .collect();
            fires |= seen.contains(&true);
            silent |= seen.contains(&false);
            resolves |= seen.iter().skip_while(|fired| !**fired).any(|fired| !fired);
        }
        for (shown, what) in [(fires, "firing"), (silent, "staying silent"), (resolves, "resolving")] {
            if !shown {
                findings.push(format!("{name}: no test shows it {what}"));
            }
        }
    }
    findings
}

/// Names in an expression that the reference of metrics does not have.
pub(super) fn unknown_metrics(expression: &str, reference: &str) -> Vec<String> {
    let words = expression
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("certctl_") || word.starts_with("process_"));
    let words: BTreeSet<&str> = words.collect();
    let known = |word: &str| {
        let stem = ["_count", "_sum", "_bucket"].into_iter().find_map(|ending| word.strip_suffix(ending));
        reference.contains(&format!("| `{word}` |")) || stem.is_some_and(|stem| reference.contains(&format!("| `{stem}` | histogram |")))
    };
    words.into_iter().filter(|word| !known(word)).map(|word| format!("there is no metric {word}")).collect()
}

/// Commands in the texts that `certctl` does not have.
fn unknown_commands(alert: &Value, reference: &str) -> Vec<String> {
    let texts = at(alert, "/annotations").as_object().into_iter().flatten().filter_map(|(_, text)| text.as_str());
    let commands = texts.flat_map(|text| text.split('`').skip(1).step_by(2)).filter(|code| code.starts_with("certctl "));
    let named = commands.map(|code| code.split(' ').take(3).collect::<Vec<_>>().join(" "));
    named
        .filter(|command| !reference.contains(&format!("\n### {command}\n")))
        .map(|command| format!("there is no command `{command}`"))
        .collect()
}

/// Those that people know by name.
const WANTED: [&str; 4] = ["CertctlCertificateExpiringSoon", "CertctlAgentOffline", "CertctlJobFailureRateHigh", "CertctlIssuanceFailures"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metrics_and_commands_must_exist() {
        let reference = "| `certctl_a` | gauge |\n| `certctl_b_seconds` | histogram |\n";
        assert_eq!(unknown_metrics("max(certctl_a{job=\"certctl\"}) + certctl_b_seconds_count", reference), Vec::<String>::new());
        assert_eq!(unknown_metrics("certctl_c + certctl_a_count", reference).len(), 2);
        let alert = json!({"annotations": {"a": "`certctl jobs list --all` and `certctl certs bake`"}});
        assert_eq!(unknown_commands(&alert, "\n### certctl jobs list\n"), ["there is no command `certctl certs bake`"]);
    }

    #[test]
    fn a_test_must_show_all_three() {
        let alert = json!({"alert": "A"});
        let test = |fired: &[bool]| {
            let seen: Vec<Value> =
                fired.iter().map(|fired| json!({"alertname": "A", "exp_alerts": if *fired { vec![json!({})] } else { vec![] }})).collect();
            json!({"tests": [{"alert_rule_test": seen}]})
        };
        assert_eq!(untested(&[&alert], &test(&[false, true, false])), Vec::<String>::new());
        assert_eq!(untested(&[&alert], &test(&[false, true])).len(), 1);
        assert_eq!(untested(&[&alert], &test(&[])).len(), 3);
    }
}
