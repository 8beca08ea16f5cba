//! Variables that the programs know, and files that are where the variables say.

use std::collections::BTreeSet;

use crate::failure::Failure;
use crate::files;

use super::chart::World;
use super::objects::{Object, Pod, at, list};

/// Every variable that means nothing, and every file that is not mounted.
pub(super) fn check(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let known = known(world)?;
    let mut findings = Vec::new();
    for rendered in &world.rendered {
        for pod in rendered.objects().iter().filter_map(Object::pod) {
            let found = unknown(pod, &known).into_iter().chain(unmounted(pod)).chain(impatient(pod));
            findings.extend(found.map(|what| format!("{}: {}: {what}", rendered.case.name, pod.owner.title())));
        }
    }
    Ok(findings)
}

/// The variables of the server, from its reference, and of the agent, from its settings.
fn known(world: &World<'_>) -> Result<BTreeSet<String>, Failure> {
    let reference = files::read(&world.root.join("docs/reference/configuration.md"))?;
    let agent = files::read(&world.root.join("crates/agent/src/settings.rs"))?;
    let quoted = reference.split('`').skip(1).step_by(2).chain(agent.split('"').skip(1).step_by(2));
    let known: BTreeSet<String> = quoted.filter(|word| word.starts_with("CERTCTL_")).map(str::to_owned).collect();
    if !known.contains("CERTCTL_DATABASE_URL") || !known.contains("CERTCTL_AGENT_SERVER") {
        return Err(Failure::new("the references name no settings any more; they are read in xtask/src/helm/settings.rs"));
    }
    Ok(known)
}

fn unknown(pod: Pod<'_>, known: &BTreeSet<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for container in pod.containers() {
        seen.clear();
        for name in list(at(container, "/env")).iter().filter_map(|variable| at(variable, "/name").as_str()) {
            if name.starts_with("CERTCTL_") && !known.contains(name) {
                found.push(format!("sets {name}, which no program knows"));
            }
            if !seen.insert(name) {
                found.push(format!("sets {name} twice"));
            }
        }
    }
    found
}

fn unmounted(pod: Pod<'_>) -> Vec<String> {
    let paths = pod.variables().filter_map(|(name, value)| path_in(name, value?));
    paths.filter(|path| !is_mounted(pod, path)).map(|path| format!("names the file {path}, which is not mounted")).collect()
}

/// The file that a variable names.
fn path_in<'a>(name: &str, value: &'a str) -> Option<&'a str> {
    if name == "CERTCTL_DATABASE_URL" {
        return Some(value.split_once("sslrootcert=")?.1);
    }
    let a_file = name.ends_with("_FILE")
        || matches!(
            name,
            "CERTCTL_AGENT_CA" | "CERTCTL_AGENT_ALLOW_LIST" | "CERTCTL_SERVER_DATA_DIR" | "CERTCTL_AGENT_STATE_DIR" | "PGDATA"
        );
    a_file.then_some(value)
}

/// A server whose migrations could be ended by the probes that wait for it, or one that is looked at while it does not listen yet.
fn impatient(pod: Pod<'_>) -> Option<String> {
    let container = pod.containers().next().filter(|container| at(container, "/name") == "server")?;
    let number = |key: &str| at(container, &format!("/startupProbe/{key}")).as_u64().unwrap_or_default();
    let seconds = number("periodSeconds") * number("failureThreshold");
    let looks_at = |probe: &str, path: &str| {
        at(container, &format!("/{probe}/httpGet/path")) == path && at(container, &format!("/{probe}/httpGet/scheme")) == "HTTPS"
    };
    if seconds < PATIENCE {
        return Some(format!("gives migrations {seconds} seconds, and they may need {PATIENCE}"));
    }
    let right = looks_at("startupProbe", "/health") && looks_at("livenessProbe", "/health") && looks_at("readinessProbe", "/ready");
    (!right).then(|| "is not asked for /health and /ready over HTTPS".to_owned())
}

/// Whether a path lies in a mounted volume, and is one of its items where it names them.
fn is_mounted(pod: Pod<'_>, path: &str) -> bool {
    let claims = list(pod.owner.at("/spec/volumeClaimTemplates")).iter().filter_map(|claim| at(claim, "/metadata/name").as_str());
    let claims: BTreeSet<&str> = claims.collect();
    pod.containers().flat_map(|container| list(at(container, "/volumeMounts"))).any(|mount| {
        let Some(inside) = at(mount, "/mountPath").as_str().and_then(|folder| path.strip_prefix(folder)) else { return false };
        let name = at(mount, "/name").as_str().unwrap_or_default();
        let Some(volume) = pod.volumes().iter().find(|volume| at(volume, "/name") == name) else { return claims.contains(name) };
        let tokens = list(at(volume, "/projected/sources")).iter().map(|source| at(source, "/serviceAccountToken"));
        let items = list(at(volume, "/secret/items")).iter().chain(list(at(volume, "/configMap/items"))).chain(tokens);
        let items: Vec<&str> = items.filter_map(|item| at(item, "/path").as_str()).collect();
        items.is_empty() || items.contains(&inside.trim_start_matches('/'))
    })
}

/// For how long migrations may run, in seconds: as long as the hook has.
const PATIENCE: u64 = 600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helm::objects::parse;

    const POD: &str = "kind: Job\nspec: {template: {spec: {containers: [{env: [{name: CERTCTL_A_FILE, value: /etc/a/key}], \
                       volumeMounts: [{name: v, mountPath: /etc/a}]}], volumes: [{name: v, secret: {items: [{key: k, path: key}]}}]}}}\n";

    fn found(text: &str) -> usize {
        let objects = parse(text).unwrap();
        let pod = objects[0].pod().unwrap();
        unmounted(pod).len() + unknown(pod, &BTreeSet::from(["CERTCTL_A_FILE".to_owned()])).len()
    }

    #[test]
    fn files_are_looked_up_through_mounts_and_items() {
        assert_eq!(found(POD), 0);
        for (was, is) in [("path: key", "path: kee"), ("mountPath: /etc/a", "mountPath: /etc/b"), ("{name: v, secret", "{name: w, secret")]
        {
            assert_eq!(found(&POD.replace(was, is)), 1, "{is}");
        }
        assert_eq!(found(&POD.replace("CERTCTL_A_FILE", "CERTCTL_B_FILE")), 1);
    }
}
