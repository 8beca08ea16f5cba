//! Which objects a situation must render. Written down here and not read from the templates, so that a lost one is missed.

use std::collections::{BTreeMap, BTreeSet};

use crate::failure::Failure;

use super::cases::{Case, Part};
use super::chart::{RELEASE, Rendered, World};

/// Every case that renders something else than it should.
pub(super) fn check(world: &World<'_>) -> Result<Vec<String>, Failure> {
    Ok(world.rendered.iter().filter_map(|rendered| Some(format!("{}: {}", rendered.case.name, complaint(rendered)?))).collect())
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
