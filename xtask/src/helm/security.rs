//! What no pod may: more than Pod Security `restricted` allows, a token, the server's key. And where no secret may stand.

use serde_json::Value;

use crate::failure::Failure;

use super::chart::World;
use super::objects::{Object, Pod, at, list};

/// Every pod that may too much.
pub(super) fn check(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let mut findings = Vec::new();
    for rendered in &world.rendered {
        for pod in rendered.objects().iter().filter_map(Object::pod) {
            let found = restricted(pod).into_iter().chain(hardened(pod)).chain(server_key(pod));
            findings.extend(found.map(|what| format!("{}: {}: {what}", rendered.case.name, pod.owner.title())));
        }
        for account in rendered.objects().iter().filter(|object| object.kind() == "ServiceAccount") {
            if account.at("/automountServiceAccountToken") != &Value::Bool(false) {
                findings.push(format!("{}: {}: mounts its token into pods", rendered.case.name, account.title()));
            }
        }
    }
    Ok(findings)
}

/// Pod Security Standards, profile `restricted`.
fn restricted(pod: Pod<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let context = pod.at("/securityContext");
    for shared in ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|key| pod.at(&format!("/{key}")) == &Value::Bool(true)) {
        found.push(format!("shares {shared} with its node"));
    }
    if at(context, "/runAsNonRoot") != true || at(context, "/runAsUser").as_i64().is_none_or(|user| user == 0) {
        found.push("may run as root".to_owned());
    }
    if !matches!(at(context, "/seccompProfile/type").as_str(), Some("RuntimeDefault" | "Localhost")) {
        found.push("has no seccomp profile".to_owned());
    }
    for volume in pod.volumes() {
        let kind = volume.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).find(|key| *key != "name").unwrap_or_default();
        if !VOLUMES.contains(&kind) && !is_folder_of_the_node(pod, kind) {
            found.push(format!("has a volume of the kind {kind}"));
        }
    }
    for container in pod.containers() {
        let own = at(container, "/securityContext");
        if at(own, "/allowPrivilegeEscalation") != false {
            found.push("may gain privileges".to_owned());
        }
        if at(own, "/privileged") == true || at(own, "/procMount").as_str().is_some_and(|mount| mount != "Default") {
            found.push("is privileged".to_owned());
        }
        if *at(own, "/capabilities/drop") != serde_json::json!(["ALL"]) || !list(at(own, "/capabilities/add")).is_empty() {
            found.push("keeps capabilities".to_owned());
        }
        if list(at(container, "/ports")).iter().any(|port| !at(port, "/hostPort").is_null()) {
            found.push("takes a port of its node".to_owned());
        }
    }
    found
}

/// The one exception: an agent of a `DaemonSet` keeps its state in a folder of its node, and puts certificates into others. No other kind of
/// volume outlives such a pod; where it may not be, agents run as a `StatefulSet`.
fn is_folder_of_the_node(pod: Pod<'_>, kind: &str) -> bool {
    kind == "hostPath" && pod.owner.kind() == "DaemonSet" && pod.owner.component() == "agent"
}

/// What we ask beyond that.
fn hardened(pod: Pod<'_>) -> Vec<String> {
    let mut found = Vec::new();
    if pod.at("/automountServiceAccountToken") != &Value::Bool(false) {
        found.push("has a token for the API of Kubernetes".to_owned());
    }
    if pod.at("/enableServiceLinks") != &Value::Bool(false) {
        found.push("gets variables for every Service".to_owned());
    }
    for container in pod.containers() {
        if at(container, "/securityContext/readOnlyRootFilesystem") != true {
            found.push("may write into its image".to_owned());
        }
        if at(container, "/resources/limits/memory").is_null() || at(container, "/resources/requests/cpu").is_null() {
            found.push("has no bounds for memory or no share of the processor".to_owned());
        }
        let image = at(container, "/image").as_str().unwrap_or_default();
        let named = image.rsplit('/').next().unwrap_or_default();
        if image.ends_with(":latest") || !(named.contains(':') || named.contains('@')) {
            found.push(format!("has the image {image}, which may be another tomorrow"));
        }
    }
    found
}

/// The server's private key is for servers: others mount named entries of its Secret, or none.
fn server_key(pod: Pod<'_>) -> Vec<String> {
    let server = pod.owner.component() == "server";
    let mut found = Vec::new();
    for volume in pod.volumes().iter().filter(|volume| !at(volume, "/secret").is_null() && !server) {
        let items = list(at(volume, "/secret/items"));
        let name = at(volume, "/secret/secretName").as_str().unwrap_or_default();
        if items.iter().any(|item| at(item, "/key") == "tls.key") || (items.is_empty() && name.ends_with("-tls")) {
            found.push(format!("sees the private key in the Secret {name}"));
        }
    }
    found
}

/// Renders with secrets that are easy to recognize, and looks for them everywhere.
pub(super) fn secrets(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let mut findings = Vec::new();
    for example in ["ha", "small"] {
        let mut arguments = vec!["--values".to_owned(), super::cases::example(example)];
        for set in super::cases::Part::SecretValues.sets().iter().copied().chain([
            "migrations.viaHook=true",
            "backup.enabled=true",
            "backup.allowExternalDatabase=true",
        ]) {
            arguments.extend(["--set".to_owned(), set.to_owned()]);
        }
        let output = match world.render(&arguments)? {
            Ok(output) => output,
            Err(said) => return Ok(vec![format!("{example} with secrets as values: {said}")]),
        };
        findings.extend(leaks(&output.objects));
        if !output.objects.iter().any(|object| object.kind() == "Secret" && object.json().contains(CANARIES[1])) {
            findings.push(format!("{example}: no Secret has the password that was given as a value"));
        }
    }
    Ok(findings)
}

fn leaks(objects: &[Object]) -> Vec<String> {
    let others = objects.iter().filter(|object| object.kind() != "Secret");
    others
        .flat_map(|object| {
            CANARIES.iter().filter(|canary| object.json().contains(**canary)).map(|_| format!("{} has a secret in it", object.title()))
        })
        .collect()
}

/// The password of the canaries, plain and in base64, and their key.
const CANARIES: [&str; 3] = ["canary/+@:%?", "Y2FuYXJ5LytAOiU/", "Q0FOQVJZLUNBTkFSWS1DQU5BUlktQ0FOQVJZLUNBTkE="];

const VOLUMES: [&str; 8] = ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helm::objects::parse;

    const GOOD: &str = "kind: Job\nmetadata: {name: a, labels: {app.kubernetes.io/component: agent}}\nspec:\n  template:\n    spec:\n      automountServiceAccountToken: false\n      \
        enableServiceLinks: false\n      securityContext: {runAsNonRoot: true, runAsUser: 1, seccompProfile: {type: RuntimeDefault}}\n      \
        containers:\n        - image: a:1\n          resources: {requests: {cpu: 1}, limits: {memory: 1}}\n          \
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}\n      \
        volumes: [{name: a, secret: {secretName: a-tls, items: [{key: ca.crt}]}}]\n";

    fn found(text: &str) -> usize {
        let objects = parse(text).unwrap();
        let pod = objects[0].pod().unwrap();
        restricted(pod).len() + hardened(pod).len() + server_key(pod).len()
    }

    #[test]
    fn each_loosened_bolt_is_found() {
        assert_eq!(found(GOOD), 0);
        for (bolt, loose) in [
            ("runAsNonRoot: true", "runAsNonRoot: false"),
            ("runAsUser: 1", "runAsUser: 0"),
            ("type: RuntimeDefault", "type: Unconfined"),
            ("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"),
            ("drop: [ALL]", "drop: [NET_RAW]"),
            ("drop: [ALL]", "drop: [ALL], add: [NET_ADMIN]"),
            ("automountServiceAccountToken: false", "hostNetwork: false"),
            ("enableServiceLinks: false", "hostPID: true"),
            ("readOnlyRootFilesystem: true", "privileged: true"),
            ("image: a:1", "image: host:5000/a"),
            ("image: a:1", "image: a:latest"),
            ("secretName: a-tls, items: [{key: ca.crt}]", "secretName: a-tls"),
            ("key: ca.crt", "key: tls.key"),
            ("secret: {secretName: a-tls, items: [{key: ca.crt}]}", "hostPath: {path: /}"),
        ] {
            assert!(GOOD.contains(bolt), "{bolt}");
            assert!(found(&GOOD.replace(bolt, loose)) > 0, "{loose}");
        }
    }

    #[test]
    fn a_secret_outside_a_secret_is_found() {
        let objects = parse(&format!("kind: Secret\na: '{0}'\n---\nkind: Job\na: '{0}'\n", CANARIES[0])).unwrap();
        assert_eq!(leaks(&objects).len(), 1);
    }
}
