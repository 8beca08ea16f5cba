//! What is made from the chart and kept in the repository: the page of values, the rules as a plain file, the rendered examples.

use std::path::Path;

use crate::codegen::Page;
use crate::failure::Failure;
use crate::files;

use super::cases;
use super::chart::{Tools, World};
use super::values;

/// The rules for a Prometheus without the Operator.
pub(super) const RULES: &str = "deploy/prometheus/certctl.rules.yaml";

/// The dashboard for Grafana.
pub(super) const DASHBOARD: &str = "deploy/grafana/certctl.json";

/// Every page as it should be.
pub(super) fn all(root: &Path, tools: &Tools) -> Result<Vec<Page>, Failure> {
    let world = World { root, tools, rendered: Vec::new() };
    let mut pages = vec![
        Page { path: "docs/reference/helm-values.md".to_owned(), text: values::page(&world)? },
        Page { path: RULES.to_owned(), text: rules(&world)? },
        // Helm reads no file outside of its chart.
        Page { path: "deploy/helm/certctl/files/dashboard.json".to_owned(), text: files::read(&root.join(DASHBOARD))? },
    ];
    for example in &cases::EXAMPLES {
        let text = render(&world, &["--values", &cases::example(example.name)])?;
        pages.push(Page { path: format!("deploy/helm/rendered/{}.yaml", example.name), text: without_chance(&text) });
    }
    Ok(pages)
}

/// Every page that says something else than the chart.
pub(super) fn check(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let pages = match all(world.root, world.tools) {
        Ok(pages) => pages,
        Err(error) => return Ok(vec![error.chain()]),
    };
    let stale = pages.into_iter().filter(|page| !files::read(&world.root.join(&page.path)).is_ok_and(|old| old == page.text));
    Ok(stale.map(|page| format!("{} is stale; run `cargo xtask helm --write` and look at the difference", page.path)).collect())
}

/// The rules as Prometheus reads them: the `spec` of the `PrometheusRule`, for the job `certctl`.
pub(super) fn rules(world: &World<'_>) -> Result<String, Failure> {
    let sets = ["monitoring.prometheusRules.enabled=true", "monitoring.prometheusRules.selector=job=\"certctl\""];
    let arguments =
        ["--values", &cases::example("small"), "--show-only", "templates/prometheusrules.yaml", "--set", sets[0], "--set", sets[1]];
    let text = render(world, &arguments)?;
    let spec = text.lines().skip_while(|line| *line != "spec:").skip(1);
    let lines: Vec<&str> = spec.map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
    Ok(format!("{RULES_HEAD}{}\n", lines.join("\n").trim_end()))
}

fn render(world: &World<'_>, arguments: &[&str]) -> Result<String, Failure> {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    world.template(&arguments)?.map_err(|said| Failure::new("the chart does not render").because(said))
}

/// Keys and certificates that Helm makes are others each time.
fn without_chance(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let (indent, body) = line.split_at(line.len() - line.trim_start().len());
        match body.split_once(": ") {
            Some((key @ ("tls.crt" | "tls.key" | "ca.crt"), value)) if value.len() > 100 => format!("{indent}{key}: made by Helm\n"),
            _ => format!("{line}\n"),
        }
    });
    lines.collect()
}

const RULES_HEAD: &str =
    "# Alerts for a Prometheus that does not run under the Operator: name this file in `rule_files`, and the scrape job `certctl`.
# Made from the chart's template prometheusrules.yaml; run `cargo xtask codegen` after a change.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_by_chance_is_left_out() {
        let long = "A".repeat(200);
        assert_eq!(
            without_chance(&format!("data:\n  tls.key: {long}\n  tls.crt: short\n")),
            "data:\n  tls.key: made by Helm\n  tls.crt: short\n"
        );
    }
}
