//! Names that lead somewhere: what a pod needs exists when Helm starts it, and what selects pods finds some.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::failure::Failure;

use super::chart::{NAMESPACE, World};
use super::objects::{Object, Pod, at, list, selects};

/// Everything that a pod refers to and that is not there by then.
pub(super) fn check(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let per_case = world
        .rendered
        .iter()
        .map(|rendered| dangling(rendered.objects()).into_iter().map(|what| format!("{}: {what}", rendered.case.name)));
    Ok(per_case.flatten().collect())
}

/// Plays Helm: hooks by weight before everything else, then everything else. What is a hook is gone when the rest runs.
fn dangling(objects: &[Object]) -> Vec<String> {
    let plain: Vec<&Object> = objects.iter().filter(|object| object.hook().is_none()).collect();
    let plain_titles = titles(&plain);
    let mut found = Vec::new();
    for pod in plain.iter().filter_map(|object| object.pod()) {
        let missing = needs(pod).into_iter().filter(|need| !plain_titles.contains(need) && !is_supplied(need));
        found.extend(missing.map(|need| format!("{} needs {need}, which nobody makes", pod.owner.title())));
    }
    for event in ["pre-install", "pre-upgrade", "post-install", "post-upgrade"] {
        let mut hooks: Vec<(i64, &Object)> = objects
            .iter()
            .filter_map(|object| Some((object.hook()?, object)))
            .filter(|(hook, _)| hook.events.iter().any(|e| e == event))
            .map(|(hook, object)| (hook.weight, object))
            .collect();
        hooks.sort_by_key(|(weight, _)| *weight);
        for (weight, hook) in &hooks {
            let Some(pod) = hook.pod() else { continue };
            let earlier: Vec<&Object> = hooks.iter().filter(|(other, _)| other < weight).map(|(_, object)| *object).collect();
            let earlier = titles(&earlier);
            for need in needs(pod).into_iter().filter(|need| !earlier.contains(need) && !is_supplied(need)) {
                // An upgrade finds what the revision before it left, the database above all. Secrets and accounts may be new in this one.
                if !(need.starts_with("Service ") && event != "pre-install" && plain_titles.contains(&need)) {
                    found.push(format!("{} needs {need} at {event}, before it is there", hook.title()));
                }
            }
        }
    }
    found
}

fn titles(objects: &[&Object]) -> BTreeSet<String> {
    let made =
        objects.iter().filter(|object| object.kind() == "Certificate").map(|object| format!("Secret {}", object.text("/spec/secretName")));
    objects.iter().map(|object| object.title()).chain(made).collect()
}

/// The titles of all objects that the pods cannot start, or work, without.
fn needs(pod: Pod<'_>) -> Vec<String> {
    let mut needs = vec![format!("ServiceAccount {}", pod.at("/serviceAccountName").as_str().unwrap_or("default"))];
    for volume in pod.volumes() {
        let named = |kind: &str, value: &Value| value.as_str().map(|name| format!("{kind} {name}"));
        if at(volume, "/secret/optional") != true {
            needs.extend(named("Secret", at(volume, "/secret/secretName")));
        }
        needs.extend(named("ConfigMap", at(volume, "/configMap/name")));
        needs.extend(named("PersistentVolumeClaim", at(volume, "/persistentVolumeClaim/claimName")));
    }
    for (name, value) in pod.variables() {
        let host = value.filter(|_| matches!(name, "CERTCTL_DATABASE_URL" | "CERTCTL_AGENT_SERVER")).and_then(service_in);
        needs.extend(host.map(|service| format!("Service {service}")));
    }
    let variables = pod.containers().flat_map(|container| list(at(container, "/env")));
    for from in variables.map(|variable| at(variable, "/valueFrom")) {
        needs.extend(at(from, "/secretKeyRef/name").as_str().map(|name| format!("Secret {name}")));
        needs.extend(at(from, "/configMapKeyRef/name").as_str().map(|name| format!("ConfigMap {name}")));
    }
    needs.extend(pod.owner.at("/spec/serviceName").as_str().map(|service| format!("Service {service}")));
    needs
}

/// The Service of this namespace that a URL leads to; none when it leads elsewhere.
fn service_in(url: &str) -> Option<&str> {
    let after_scheme = url.split_once("://")?.1;
    let authority = after_scheme.split(['/', '?']).next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?;
    let (first, rest) = host.split_once('.').unwrap_or((host, ""));
    (rest.is_empty() || rest == format!("{NAMESPACE}.svc")).then_some(first)
}

/// Whether the operator makes it: the names that the examples tell to make.
fn is_supplied(title: &str) -> bool {
    SUPPLIED.contains(&title)
}

/// What selects nothing, or speaks of ports that nobody has.
pub(super) fn selectors(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let per_case =
        world.rendered.iter().map(|rendered| lonely(rendered.objects()).into_iter().map(|what| format!("{}: {what}", rendered.case.name)));
    Ok(per_case.flatten().collect())
}

fn lonely(objects: &[Object]) -> Vec<String> {
    let pods: Vec<Pod<'_>> = objects.iter().filter_map(Object::pod).collect();
    let services: Vec<&Object> = objects.iter().filter(|object| object.kind() == "Service").collect();
    let mut found = Vec::new();
    for object in objects {
        let by = match object.kind() {
            "Service" => "/spec/selector",
            "Deployment" | "StatefulSet" | "DaemonSet" | "PodDisruptionBudget" => "/spec/selector/matchLabels",
            "NetworkPolicy" => "/spec/podSelector/matchLabels",
            "ServiceMonitor" => {
                found.extend(unscraped(object, &services));
                continue;
            }
            _ => continue,
        };
        let chosen: Vec<&Pod<'_>> = pods.iter().filter(|pod| selects(object.at(by), &pod.labels())).collect();
        let own = object.pod().is_none_or(|pod| selects(object.at(by), &pod.labels()));
        if chosen.is_empty() || !own {
            found.push(format!("{} selects no pod", object.title()));
        }
        // Two sets of pods that one selector finds would answer for each other.
        if object.kind() == "Service" && chosen.len() > 1 {
            found.push(format!("{} selects the pods of more than one", object.title()));
        }
        if object.kind() == "Service" {
            let ports: BTreeSet<&str> = chosen
                .iter()
                .flat_map(|pod| pod.containers())
                .flat_map(|container| list(at(container, "/ports")))
                .filter_map(|port| at(port, "/name").as_str())
                .collect();
            let wanted = list(object.at("/spec/ports")).iter().filter_map(|port| at(port, "/targetPort").as_str());
            found.extend(
                wanted
                    .filter(|port| !ports.contains(port))
                    .map(|port| format!("{} leads to the port {port}, which its pods do not have", object.title())),
            );
        }
    }
    found
}

fn unscraped(monitor: &Object, services: &[&Object]) -> Vec<String> {
    let chosen = services
        .iter()
        .filter(|service| selects(monitor.at("/spec/selector/matchLabels"), &super::objects::text_map(service.at("/metadata/labels"))));
    let ports: BTreeSet<&str> =
        chosen.flat_map(|service| list(service.at("/spec/ports"))).filter_map(|port| at(port, "/name").as_str()).collect();
    let endpoints = list(monitor.at("/spec/endpoints"));
    let mut found: Vec<String> = Vec::new();
    for endpoint in endpoints {
        if !at(endpoint, "/port").as_str().is_some_and(|port| ports.contains(port)) {
            found.push(format!("{} scrapes a port that no Service has", monitor.title()));
        }
        if at(endpoint, "/authorization/credentials/name").is_null() {
            found.push(format!("{} scrapes without a key, which is answered with 401", monitor.title()));
        }
        if at(endpoint, "/tlsConfig/serverName").is_null() || at(endpoint, "/tlsConfig/insecureSkipVerify") == true {
            found.push(format!("{} does not check whom it gives its key to", monitor.title()));
        }
    }
    found
}

const SUPPLIED: [&str; 9] = [
    "Secret certctl-encryption",
    "Secret certctl-bootstrap",
    "Secret certctl-server-tls",
    "Secret certctl-database",
    "Secret certctl-database-ca",
    "Secret certctl-agent-tokens",
    "Secret certctl-s3",
    "ConfigMap certctl-dns-hooks",
    "Service db",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helm::objects::parse;

    fn job(event: &str, weight: i32) -> String {
        format!(
            "kind: Job\nmetadata: {{name: j, annotations: {{helm.sh/hook: {event}, helm.sh/hook-weight: '{weight}'}}}}\nspec: {{template: {{spec: {{serviceAccountName: a, \
             containers: [{{env: [{{name: CERTCTL_DATABASE_URL, value: 'postgres://u@pg:5432/d'}}]}}]}}}}}}\n"
        )
    }

    fn account(annotations: &str) -> String {
        format!("---\nkind: ServiceAccount\nmetadata: {{name: a, annotations: {{{annotations}}}}}\n")
    }

    fn found(text: &str) -> Vec<String> {
        dangling(&parse(text).unwrap())
    }

    const SERVICE: &str = "---\nkind: Service\nmetadata: {name: pg}\n";

    #[test]
    fn a_hook_finds_what_earlier_hooks_and_the_revision_before_made() {
        let early = account("helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-weight: '-10'");
        assert_eq!(found(&format!("{}{early}{SERVICE}", job("pre-upgrade", -5))), Vec::<String>::new());
        assert_eq!(
            found(&format!("{}{early}{SERVICE}", job("pre-install", -5))),
            ["Job j needs Service pg at pre-install, before it is there"]
        );
        assert_eq!(found(&format!("{}{early}{SERVICE}", job("pre-upgrade", -10))).len(), 1, "no order within one weight");
        assert_eq!(found(&format!("{}{}{SERVICE}", job("pre-upgrade", -5), account(""))).len(), 1, "an account of this very revision");
    }

    #[test]
    fn urls_lead_to_services_of_this_namespace_only() {
        assert_eq!(service_in("postgres://u@rel-postgres:5432/d"), Some("rel-postgres"));
        assert_eq!(service_in("https://rel-server.tools.svc:8443"), Some("rel-server"));
        assert_eq!(service_in("postgres://u@db.example.test:5432/d?x=y"), None);
    }

    #[test]
    fn a_selector_that_finds_nothing_is_found() {
        let text = "kind: Service\nmetadata: {name: s}\nspec: {selector: {a: b}, ports: [{targetPort: p}]}\n---\nkind: Job\nmetadata: {name: j}\nspec: {template: {metadata: {labels: {a: b}}, spec: {containers: [{ports: [{name: p}]}]}}}\n";
        assert_eq!(lonely(&parse(text).unwrap()), Vec::<String>::new());
        assert_eq!(lonely(&parse(&text.replace("labels: {a: b}", "labels: {a: c}")).unwrap()).len(), 2);
        assert_eq!(lonely(&parse(&text.replace("name: p", "name: q")).unwrap()).len(), 1);
    }
}
