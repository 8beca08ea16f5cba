//! `cargo xtask helm --cluster`: the chart on a real API server with real controllers. Helm installs, upgrades and rolls back there, waits as it does
//! elsewhere, and what only a server knows is found: fields that nobody may change, admission, ownership, what is left behind. No container runs: the
//! node says of each pod that it does, once everything is there that it refers to.

mod node;
mod plane;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::process::{capture, command, output};
use crate::setup::kubernetes;
use crate::{files, say};

use self::node::{NODE, Node};
use self::plane::{Access, Plane};

use super::cases::{self, EXAMPLES, Part};
use super::chart::{CHART, RELEASE, Tools, World};
use super::guide;
use super::objects::{Object, at, list};

/// Judges the chart with a cluster.
pub(super) fn run(root: &Path, tools: &Tools) -> Result<(), Failure> {
    let kubernetes = kubernetes::find()?;
    let interrupt = Interrupt::listen()?;
    say::title(format_args!("A cluster of Kubernetes {}", kubernetes::RELEASE));
    let started = Instant::now();
    let plane = Plane::start(&kubernetes, &interrupt)?;
    say::held("etcd, API server and controllers are ready", started.elapsed());
    let judged = judge(root, tools, &plane, &kubernetes.kinds, &interrupt);
    let stopped = plane.stop(judged.is_ok());
    match judged? {
        0 => stopped,
        1 => Err(Failure::new("1 finding about the chart in a cluster")),
        many => Err(Failure::new(format!("{many} findings about the chart in a cluster"))),
    }
}

fn judge(root: &Path, tools: &Tools, plane: &Plane, kinds: &[PathBuf], interrupt: &Interrupt) -> Result<usize, Failure> {
    let access = plane.access();
    for kind in kinds {
        access.give(["create"], &files::read(kind)?)?;
    }
    access.run(["wait", "--for=condition=established", "crd", "--all", "--timeout=60s"])?;
    let volumes: String = (1..=VOLUMES).map(|number| format!("{}\n---\n", volume(number))).collect();
    access.give(["create"], &volumes)?;
    let node = Node::start(access)?;
    let stage = Stage { root, tools, access, node: &node, folder: plane.folder() };
    let mut findings = 0;
    let mut step = |name: &str, found: &dyn Fn() -> Result<Vec<String>, Failure>| -> Result<(), Failure> {
        if interrupt.raised_within(Duration::ZERO) {
            return Err(Failure::new("interrupted"));
        }
        let started = Instant::now();
        // What Helm refuses is a finding like any other, and the next step has a namespace of its own.
        let mut found = found().unwrap_or_else(|failure| vec![failure.chain()]);
        found.extend(node.findings());
        if found.is_empty() {
            say::held(name, started.elapsed());
        } else {
            say::broke(name);
        }
        for finding in &found {
            say::line(format_args!("      {finding}"));
        }
        findings += found.len();
        Ok(())
    };
    say::title("The chart in it");
    step("the server takes what every case renders, and warns of nothing", &|| stage.taken())?;
    for example in &EXAMPLES {
        step(&format!("example {}: installed, upgraded, rolled back, removed", example.name), &|| stage.life(example.name))?;
    }
    step("each part can be turned on and off in an installation", &|| stage.parts())?;
    step("a hook that fails changes no server, and the next upgrade goes on", &|| stage.failing_hook())?;
    step("PostgreSQL's pod changes when it is deleted, and not before", &|| stage.postgresql())?;
    step("the commands of guide and rollback runbook work", &|| stage.guide())?;
    Ok(findings)
}

struct Stage<'a> {
    root: &'a Path,
    tools: &'a Tools,
    access: &'a Access,
    node: &'a Node,
    folder: &'a Path,
}

impl Stage<'_> {
    /// Gives all objects of all cases to the server, as a dry run in a namespace that warns of what Pod Security `restricted` would refuse.
    fn taken(&self) -> Result<Vec<String>, Failure> {
        let namespace = "cases";
        self.empty_namespace(namespace, "warn")?;
        let world = World::look_at(self.root, self.tools, cases::all())?;
        let mut seen = BTreeSet::new();
        let mut objects = String::new();
        for object in world.rendered.iter().flat_map(|rendered| rendered.objects()) {
            let text = object.json();
            if seen.insert(text.clone()) {
                objects.push_str(&text);
                objects.push_str("\n---\n");
            }
        }
        let words = ["create", "--dry-run=server", "--validate=strict", "--namespace", namespace, "--output", "name", "--filename", "-"];
        let answer = crate::process::fed(self.access.kubectl().args(words), &objects)?;
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        let lines: BTreeSet<&str> = said.lines().filter(|line| !is_expected(line)).collect();
        let mut findings: Vec<String> = lines.into_iter().map(str::to_owned).collect();
        let taken = String::from_utf8_lossy(&answer.stdout).lines().count();
        if taken != seen.len() {
            findings.push(format!("{taken} of {} objects were taken", seen.len()));
        }
        Ok(findings)
    }

    /// One installation from its beginning to its end.
    fn life(&self, example: &str) -> Result<Vec<String>, Failure> {
        let namespace = self.namespace(&format!("life-{example}"), if example == "ha" { "warn" } else { "enforce" })?;
        let mut findings = Vec::new();
        self.release("install", &namespace, example, &[])?;
        let first = self.objects(&namespace)?;
        let case = cases::all().into_iter().find(|case| case.name == format!("example {example}"));
        let rendered = case.map(|case| World::look_at(self.root, self.tools, vec![case])).transpose()?;
        let wanted: BTreeSet<String> = rendered
            .iter()
            .flat_map(|world| &world.rendered)
            .flat_map(|rendered| rendered.objects())
            .filter(|object| object.hook().is_none())
            .map(Object::title)
            .collect();
        let made: BTreeSet<String> = first.keys().cloned().collect();
        findings.extend(wanted.difference(&made).map(|title| format!("{title} is not there after the installation")));
        findings.extend(made.difference(&wanted).map(|title| format!("{title} is there after the installation, and was not rendered")));

        self.release("upgrade", &namespace, example, &[])?;
        findings.extend(differences("the same values again", &first, &self.objects(&namespace)?));
        self.release("upgrade", &namespace, example, &["--set", "log.level=warn", "--set", "server.podAnnotations.changed=yes"])?;
        if differences("", &first, &self.objects(&namespace)?).is_empty() {
            findings.push("other values changed nothing".to_owned());
        }
        self.helm(&namespace, example, &["rollback", RELEASE, "1", "--wait", "--timeout", LIMIT])?;
        findings.extend(differences("a rollback to the first revision", &first, &self.objects(&namespace)?));
        findings.extend(self.warnings(&namespace)?);
        self.helm(&namespace, example, &["uninstall", RELEASE, "--wait", "--timeout", LIMIT])?;
        let left = self.objects(&namespace)?;
        let kept = |object: &Value| at(object, "/metadata/annotations/helm.sh~1resource-policy") == "keep";
        findings
            .extend(left.iter().filter(|(_, object)| !kept(object)).map(|(title, _)| format!("{title} is left when the release is gone")));
        self.access.run(["delete", "namespace", &namespace, "--wait=false"])?;
        Ok(findings)
    }

    /// From the example `small`, one part after the other is turned on, each time back to none.
    fn parts(&self) -> Result<Vec<String>, Failure> {
        let namespace = self.namespace("parts", "warn")?;
        self.release("install", &namespace, "small", &[])?;
        let first = self.objects(&namespace)?;
        let mut findings = Vec::new();
        for part in Part::ALL {
            let sets: Vec<&str> = part.sets().iter().flat_map(|set| ["--set", *set]).collect();
            let turned =
                self.release("upgrade", &namespace, "small", &sets).and_then(|()| self.release("upgrade", &namespace, "small", &[]));
            if let Err(failure) = turned {
                findings.push(format!("{part:?}: {}", failure.chain()));
                self.release("upgrade", &namespace, "small", &[])?;
            }
            if part == Part::CertManager {
                // It leaves its Secret, as the guide says, and Helm takes over nothing that it has not made.
                let secret = format!("{RELEASE}-certctl-server-tls");
                self.access.run(["delete", "secret", &secret, "--namespace", &namespace])?;
            }
            let kept = |object: &Value| at(object, "/metadata/annotations/helm.sh~1resource-policy") == "keep";
            let now = self.objects(&namespace)?.into_iter().filter(|(_, object)| !kept(object)).collect();
            findings.extend(differences(&format!("{part:?}, on and off"), &first, &now));
        }
        findings.extend(self.warnings(&namespace)?);
        Ok(findings)
    }

    /// What the runbook for a rollback says of an upgrade whose hook failed.
    fn failing_hook(&self) -> Result<Vec<String>, Failure> {
        let namespace = self.namespace("hook", "enforce")?;
        let hook = ["--set", "migrations.viaHook=true", "--set", "migrations.backoffLimit=0"];
        self.release("install", &namespace, "small", &hook)?;
        self.release("upgrade", &namespace, "small", &hook)?;
        let before = self.objects(&namespace)?;
        let changed = [&hook[..], &["--set", "log.level=warn"]].concat();
        self.node.fail(Some("migrate"));
        let failed = self.release("upgrade", &namespace, "small", &changed);
        self.node.fail(None);
        let mut findings = Vec::new();
        if failed.is_ok() {
            findings.push("an upgrade succeeds whose hook failed".to_owned());
        }
        let without_the_job =
            |objects: BTreeMap<String, Value>| objects.into_iter().filter(|(title, _)| !title.ends_with("-migrate")).collect();
        findings.extend(differences("a hook that failed", &before, &without_the_job(self.objects(&namespace)?)));
        if !self.objects(&namespace)?.keys().any(|title| title.starts_with("Job ")) {
            findings.push("the Job that failed is gone, and its log with it".to_owned());
        }
        self.release("upgrade", &namespace, "small", &changed)?;
        findings.extend(
            self.objects(&namespace)?.keys().filter(|title| title.ends_with("-migrate")).map(|title| format!("{title} is left behind")),
        );
        Ok(findings)
    }

    /// A change of the `StatefulSet` waits for whoever deletes its pod, and can be seen meanwhile.
    fn postgresql(&self) -> Result<Vec<String>, Failure> {
        let namespace = self.namespace("postgresql", "enforce")?;
        self.release("install", &namespace, "small", &[])?;
        let name = format!("{RELEASE}-certctl-postgres");
        let pod = format!("{name}-0");
        let image = || -> Result<String, Failure> {
            let pod = self.access.get(["pod", &pod, "--namespace", &namespace])?;
            Ok(at(&pod, "/spec/containers/0/image").as_str().unwrap_or_default().to_owned())
        };
        let waits = || -> Result<bool, Failure> {
            let set = self.access.get(["statefulset", &name, "--namespace", &namespace])?;
            Ok(at(&set, "/status/currentRevision") != at(&set, "/status/updateRevision"))
        };
        let before = image()?;
        self.release("upgrade", &namespace, "small", &["--set", "postgresql.image.tag=18.9"])?;
        let mut findings = Vec::new();
        if image()? != before || !waits()? {
            findings.push(format!(
                "after the upgrade PostgreSQL runs {} and a change {} seen to wait",
                image()?,
                if waits()? { "is" } else { "is not" }
            ));
        }
        self.access.run(["delete", "pod", &pod, "--namespace", &namespace, "--wait"])?;
        self.access.run(["wait", "--for=create", &format!("pod/{pod}"), "--namespace", &namespace, "--timeout=60s"])?;
        self.access.run(["wait", "--for=condition=ready", &format!("pod/{pod}"), "--namespace", &namespace, "--timeout=60s"])?;
        if !image()?.ends_with(":18.9") {
            findings.push(format!("after its pod was deleted PostgreSQL runs {}", image()?));
        }
        Ok(findings)
    }

    /// The lines of the pages that need no program in a pod, one after the other, as a reader would type them.
    fn guide(&self) -> Result<Vec<String>, Failure> {
        let place = self.folder.join("guide");
        files::link(&self.root.join("deploy"), &place.join("deploy"))?;
        for file in ["tls.crt", "tls.key", "ca.crt", "api-key"] {
            files::write(&place.join(file), "of a test")?;
        }
        pair(&place)?;
        let mut findings = Vec::new();
        let mut ran = 0;
        for page in ["docs/operator/helm.md", "docs/operator/runbooks/rollback.md"] {
            let text = files::read(&self.root.join(page))?;
            for line in guide::shell_lines(&text) {
                if line.contains("certctl agents token") {
                    files::write(&place.join("tokens").join(NODE), "of a test")?;
                }
                if !can_run(line) {
                    continue;
                }
                // Some wait for hours, as they should where pods take their time.
                let mut shell = command("timeout");
                shell.args(["120", "bash", "-euo", "pipefail", "-c", line]).current_dir(&place);
                if let Err(failure) = capture(self.access.lend(&mut shell)) {
                    findings.push(format!("{page}: {}", failure.chain()));
                }
                ran += 1;
            }
            // Whoever goes back has backups, and an upgrade behind him.
            let words = ["upgrade", "certctl", CHART, "--values", &cases::example("small"), "--set", "backup.enabled=true"];
            for change in ["log.level=info", "log.level=warn"] {
                self.helm("certctl", "small", &[&words[..], &["--set", change]].concat())?;
            }
        }
        if ran < 20 {
            findings.push(format!("only {ran} commands of the guide were run"));
        }
        Ok(findings)
    }

    /// A namespace of its own, with all that the operator makes.
    fn namespace(&self, name: &str, pod_security: &str) -> Result<String, Failure> {
        self.empty_namespace(name, pod_security)?;
        let objects: String = supplied(name).iter().map(|object| format!("{object}\n---\n")).collect();
        self.access.give(["create"], &objects)?;
        Ok(name.to_owned())
    }

    fn empty_namespace(&self, name: &str, pod_security: &str) -> Result<(), Failure> {
        let label = format!("pod-security.kubernetes.io/{pod_security}");
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {label: "restricted"}}});
        self.access.give(["create"], &namespace.to_string()).map(drop)
    }

    /// `helm install` or `upgrade` of an example, until everything in it is ready.
    fn release(&self, verb: &str, namespace: &str, example: &str, more: &[&str]) -> Result<(), Failure> {
        let values = cases::example(example);
        let words = [&[verb, RELEASE, CHART, "--values", &values, "--wait", "--timeout", LIMIT], more].concat();
        self.helm(namespace, example, &words)
    }

    fn helm(&self, namespace: &str, example: &str, words: &[&str]) -> Result<(), Failure> {
        let mut helm = command(&self.tools.helm);
        helm.current_dir(self.root).args(words).args(["--namespace", namespace]);
        let answer = output(self.access.lend(&mut helm))?;
        if answer.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
        let waiting = self.node.findings();
        let events = self.warnings(namespace).unwrap_or_default();
        let said = std::iter::once(said).chain(waiting).chain(events).collect::<Vec<_>>().join("; ");
        Err(Failure::new(format!("{example}: helm {}", words.join(" "))).because(said))
    }

    /// Every object of the release, without what the server and the controllers add.
    fn objects(&self, namespace: &str) -> Result<BTreeMap<String, Value>, Failure> {
        let selector = format!("app.kubernetes.io/instance={RELEASE},app.kubernetes.io/managed-by=Helm");
        let found = self.access.get([KINDS, "--namespace", namespace, "--selector", &selector])?;
        let mut objects = BTreeMap::new();
        for object in list(at(&found, "/items")) {
            let title = format!(
                "{} {}",
                at(object, "/kind").as_str().unwrap_or_default(),
                at(object, "/metadata/name").as_str().unwrap_or_default()
            );
            objects.insert(title, own(object));
        }
        Ok(objects)
    }

    /// What the controllers complain of.
    fn warnings(&self, namespace: &str) -> Result<Vec<String>, Failure> {
        let events = self.access.get(["events", "--namespace", namespace, "--field-selector", "type=Warning"])?;
        let text = |event: &Value, place: &str| at(event, place).as_str().unwrap_or_default().to_owned();
        let told: BTreeSet<String> = list(at(&events, "/items"))
            .iter()
            .map(|event| format!("{}: {}: {}", text(event, "/involvedObject/name"), text(event, "/reason"), text(event, "/message")))
            .collect();
        Ok(told.into_iter().collect())
    }
}

/// What was written of an object, and not what became of it.
fn own(object: &Value) -> Value {
    let mut own = object.clone();
    if let Some(fields) = own.as_object_mut() {
        fields.remove("status");
        let metadata = fields.remove("metadata").unwrap_or_default();
        let mut annotations = at(&metadata, "/annotations").clone();
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.retain(|key, _| !SERVER.iter().any(|own| key.starts_with(own)));
        }
        fields.insert("metadata".to_owned(), json!({"labels": at(&metadata, "/labels"), "annotations": annotations}));
    }
    own
}

/// Which objects are not as they were.
fn differences(after: &str, before: &BTreeMap<String, Value>, now: &BTreeMap<String, Value>) -> Vec<String> {
    let titles: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let differ = |title: &&&String| before.get(**title) != now.get(**title);
    titles
        .iter()
        .filter(differ)
        .map(|title| match (before.get(*title), now.get(*title)) {
            (Some(_), None) => format!("{after}: {title} is gone"),
            (None, Some(_)) => format!("{after}: {title} is new"),
            (before, now) => format!("{after}: {title} differs at {}", place(before.unwrap_or(&Value::Null), now.unwrap_or(&Value::Null))),
        })
        .collect()
}

/// The first place where two values differ. Not what stands there: it may be a secret.
fn place(one: &Value, other: &Value) -> String {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            let differs = keys.into_iter().find(|key| one.get(*key) != other.get(*key));
            differs
                .map(|key| {
                    format!("/{key}{}", place(&one.get(key).cloned().unwrap_or_default(), &other.get(key).cloned().unwrap_or_default()))
                })
                .unwrap_or_default()
        }
        (Value::Array(one), Value::Array(other)) => {
            let index = (0..one.len().max(other.len())).find(|index| one.get(*index) != other.get(*index));
            index
                .map(|index| {
                    format!(
                        "/{index}{}",
                        place(&one.get(index).cloned().unwrap_or_default(), &other.get(index).cloned().unwrap_or_default())
                    )
                })
                .unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// The Secrets and the like that the examples tell to make.
fn supplied(namespace: &str) -> Vec<Value> {
    let metadata = |name: &str| json!({"name": name, "namespace": namespace});
    let secret = |name: &str, kind: &str, keys: &[&str]| {
        let data: BTreeMap<&str, &str> = keys.iter().map(|key| (*key, "of a test")).collect();
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata(name), "type": kind, "stringData": data})
    };
    vec![
        secret("certctl-encryption", "Opaque", &["encryption-key"]),
        secret("certctl-database", "Opaque", &["password"]),
        secret("certctl-bootstrap", "Opaque", &["bootstrap-token"]),
        secret("certctl-agent-tokens", "Opaque", &[NODE]),
        secret("certctl-s3", "Opaque", &["access-key-id", "secret-access-key"]),
        secret("certctl-database-ca", "Opaque", &["ca.crt"]),
        secret("certctl-prometheus-key", "Opaque", &["api-key"]),
        secret("certctl-server-tls", "kubernetes.io/tls", &["tls.crt", "tls.key", "ca.crt"]),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("certctl-dns-hooks"), "data": {"dns-hook": "of a test"}}),
    ]
}

fn volume(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": format!("volume-{number}")},
        "spec": {
            "capacity": {"storage": "1Ti"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": format!("/nowhere/{number}")},
        },
    })
}

/// A certificate for the Secret that the guide makes of three files; the server checks that they fit.
fn pair(folder: &Path) -> Result<(), Failure> {
    let mut openssl = command("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=certctl"]);
    capture(openssl.args(["-keyout", "tls.key", "-out", "tls.crt"]).current_dir(folder)).map(drop)
}

/// Whether a line needs nothing but the API: no program in a pod, no server of certctl.
fn can_run(line: &str) -> bool {
    let needs_a_pod =
        [" exec ", " logs ", " port-forward ", "certctl agents token", "certctl keys", "certctl-server backup ", "certctl-server migrate "];
    !line.starts_with("jq ") && !line.starts_with("certctl ") && !needs_a_pod.iter().any(|word| line.contains(word))
}

/// What the server says although all is well: an agent on every node has folders of its node, as the guide says.
fn is_expected(line: &str) -> bool {
    line.starts_with("Warning: would violate PodSecurity \"restricted:latest\": restricted volume types")
        && line.matches("hostPath").count() > 0
}

/// The kinds of which the chart makes objects.
const KINDS: &str = "deployments,statefulsets,daemonsets,jobs,cronjobs,services,ingresses,networkpolicies,poddisruptionbudgets,persistentvolumeclaims,\
                     secrets,configmaps,serviceaccounts,certificates,servicemonitors,prometheusrules";

/// Annotations that are not the chart's.
const SERVER: [&str; 5] = [
    "deployment.kubernetes.io/",
    "deprecated.daemonset.template.generation",
    "meta.helm.sh/",
    "pv.kubernetes.io/",
    "volume.kubernetes.io/",
];

/// How long Helm waits.
const LIMIT: &str = "90s";

/// More than the run has claims.
const VOLUMES: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told_by_its_place_and_not_by_its_value() {
        let before = BTreeMap::from([("Secret a".to_owned(), json!({"data": {"k": "x"}})), ("Job b".to_owned(), json!({}))]);
        let now = BTreeMap::from([("Secret a".to_owned(), json!({"data": {"k": "y"}})), ("Job c".to_owned(), json!({}))]);
        assert_eq!(differences("t", &before, &now), ["t: Job b is gone", "t: Job c is new", "t: Secret a differs at /data/k"]);
        assert_eq!(differences("t", &before, &before), Vec::<String>::new());
        assert_eq!(place(&json!({"a": [1, {"b": 2}]}), &json!({"a": [1, {"b": 3}]})), "/a/1/b");
    }

    #[test]
    fn what_the_server_adds_is_left_out() {
        let object = json!({
            "kind": "Deployment", "spec": {"a": 1}, "status": {"b": 2},
            "metadata": {"uid": "u", "labels": {"l": "m"}, "annotations": {"deployment.kubernetes.io/revision": "3", "own": "x"}},
        });
        assert_eq!(
            own(&object),
            json!({"kind": "Deployment", "spec": {"a": 1}, "metadata": {"labels": {"l": "m"}, "annotations": {"own": "x"}}})
        );
    }

    #[test]
    fn lines_that_need_a_pod_are_told_from_others() {
        for line in ["helm history certctl -n certctl", "kubectl create namespace certctl", "openssl rand -hex 24 > password"] {
            assert!(can_run(line), "{line}");
        }
        for line in [
            "kubectl -n certctl logs job/certctl-migrate",
            "kubectl -n certctl exec -it p -- psql",
            "jq -n . | curl x",
            "certctl keys list",
            "certctl-server backup list",
        ] {
            assert!(!can_run(line), "{line}");
        }
    }
}
