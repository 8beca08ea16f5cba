//! Which objects a situation must render. Written down here and not read from the templates, so that a lost one is missed.

use std::collections::{BTreeMap, BTreeSet};

use crate::failure::Failure;
use crate::files;

use super::cases::{Case, Part, example};
use super::chart::{CHART, RELEASE, Rendered, World};

/// Every case that renders something else than it should.
pub(super) fn check(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let mut findings: Vec<String> =
        world.rendered.iter().filter_map(|rendered| Some(format!("{}: {}", rendered.case.name, complaint(rendered)?))).collect();
    findings.extend(as_searched(world)?);
    Ok(findings)
}

/// What people search for with grep: one line for each of two fields of the `StatefulSet`, comments included, and one for each of three kinds.
fn as_searched(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let mut findings = Vec::new();
    let template = files::read(&world.root.join(CHART).join("templates/postgres-statefulset.yaml"))?;
    let fields = template.lines().filter(|line| line.contains("updateStrategy") || line.contains("podManagementPolicy")).count();
    if fields != 2 {
        findings.push(format!("postgres-statefulset.yaml names updateStrategy and podManagementPolicy in {fields} lines, not in 2"));
    }
    let sets = ["backup.enabled=true", "monitoring.prometheusRules.enabled=true", "migrations.viaHook=true"];
    let sets = sets.iter().flat_map(|set| ["--set".to_owned(), (*set).to_owned()]);
    let arguments: Vec<String> = ["--values".to_owned(), example("small")].into_iter().chain(sets).collect();
    let text = world.template(&arguments)?.unwrap_or_default();
    let kinds: Vec<&str> = text
        .lines()
        .filter(|line| ["CronJob", "PrometheusRule", "Job"].iter().any(|kind| line.contains(&format!("kind: {kind}"))))
        .collect();
    if kinds.len() != 3 {
        findings.push(format!("{} are rendered with {}, not 3 kinds", kinds.len(), arguments.join(" ")));
    }
    Ok(findings)
}

/// What a case renders too much or too little.
pub(super) fn complaint(rendered: &Rendered) -> Option<String> {
    if rendered.outcome.is_err() {
        return None;
    }
    let wanted = expected(&rendered.case);
    let mut found = BTreeSet::new();
    let twice: Vec<String> =
        rendered.objects().iter().map(super::objects::Object::title).filter(|title| !found.insert(title.clone())).collect();
    let missing: Vec<String> = wanted.difference(&found).cloned().collect();
    let more: Vec<String> = found.difference(&wanted).cloned().collect();
    let parts = [("lacks", missing), ("has, and should not,", more), ("has twice", twice)];
    let said: Vec<String> =
        parts.into_iter().filter(|(_, titles)| !titles.is_empty()).map(|(verb, titles)| format!("{verb} {}", titles.join(", "))).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// The kinds that a case renders, with their number.
pub(super) fn listed(rendered: &Rendered) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for object in rendered.objects() {
        *kinds.entry(object.kind()).or_default() += 1;
    }
    kinds
        .iter()
        .map(|(kind, count)| if *count == 1 { (*kind).to_owned() } else { format!("{count} {kind}") })
        .collect::<Vec<_>>()
        .join(", ")
}

fn expected(case: &Case) -> BTreeSet<String> {
    let mut titles = BTreeSet::new();
    let mut add = |wanted: bool, kinds: &[&str], name: &str| {
        titles.extend(kinds.iter().filter(|_| wanted).map(|kind| format!("{kind} {RELEASE}-certctl{name}")));
    };
    let has = |part| case.has(part);
    let bundled = !has(Part::ExternalDatabase);
    let network = has(Part::Network);
    add(true, &["Deployment", "Service", "ServiceAccount"], "-server");
    add(has(Part::SecretValues), &["Secret"], "");
    add(has(Part::Commands), &["ConfigMap"], "-server");
    add(has(Part::CertManager), &["Certificate"], "-server");
    add(has(Part::SelfMade), &["Secret"], "-server-tls");
    add(has(Part::SelfMade), &["ConfigMap"], "-server-ca");
    add(has(Part::Ingress), &["Ingress"], "-server");
    add(has(Part::Budget), &["PodDisruptionBudget"], "-server");
    add(has(Part::Scrape), &["ServiceMonitor"], "-server");
    add(has(Part::Alerts), &["PrometheusRule"], "");
    add(has(Part::Dashboard), &["ConfigMap"], "-dashboard");
    add(network, &["NetworkPolicy"], "-server");
    add(bundled, &["StatefulSet", "Service", "ServiceAccount"], "-postgres");
    add(bundled && network, &["NetworkPolicy"], "-postgres");
    add(has(Part::Hook), &["Job", "ServiceAccount"], "-migrate");
    add(has(Part::Hook) && has(Part::SecretValues), &["Secret"], "-migrate");
    add(has(Part::Hook) && network, &["NetworkPolicy"], "-migrate");
    add(has(Part::Backup), &["CronJob", "ServiceAccount"], "-backup");
    add(has(Part::Backup) && !has(Part::Bucket), &["PersistentVolumeClaim"], "-backup");
    add(has(Part::Backup) && network, &["NetworkPolicy"], "-backup");
    let agent = has(Part::Agent);
    add(agent, &["ServiceAccount"], "-agent");
    add(agent && !has(Part::AgentVolumes), &["DaemonSet"], "-agent");
    add(agent && has(Part::AgentVolumes), &["StatefulSet", "Service"], "-agent");
    add(agent && has(Part::AgentCommands), &["ConfigMap"], "-agent");
    add(agent && network, &["NetworkPolicy"], "-agent");
    titles
}
