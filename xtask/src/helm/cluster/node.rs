//! The node of the cluster: it takes every pod and says of each what a kubelet would, without running anything. What a kubelet would wait for, it waits
//! for: Secrets and `ConfigMaps` that a pod refers to, their entries, and volumes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::helm::objects::{at, list};

use super::plane::Access;

/// A node that works until it is dropped.
pub(super) struct Node {
    watch: Child,
    threads: Vec<JoinHandle<()>>,
    state: Arc<Mutex<State>>,
}

/// What the node and the run tell each other.
#[derive(Default)]
struct State {
    /// The pods of this component end with a failure.
    failing: Option<&'static str>,
    /// By `namespace/pod`: what it waits for.
    waiting: BTreeMap<String, String>,
    /// What a kubelet has no answer to.
    findings: BTreeSet<String>,
}

impl Node {
    /// Makes itself known and begins to take pods.
    pub(super) fn start(access: &Access) -> Result<Self, Failure> {
        access.give(["create"], &this_node().to_string())?;
        access.give(["replace", "--subresource=status"], &this_node().to_string())?;
        let mut kubectl = access.kubectl();
        kubectl.args(["get", "pods", "--all-namespaces", "--watch", "--output-watch-events", "--output", "json"]);
        kubectl.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut watch = kubectl.spawn().map_err(|error| Failure::new("cannot start kubectl").because(error))?;
        let events = watch.stdout.take().ok_or_else(|| Failure::new("kubectl has no output"))?;
        let state = Arc::new(Mutex::new(State::default()));
        let (sender, receiver) = mpsc::channel();
        let worker = Worker { access: access.clone(), state: Arc::clone(&state) };
        let threads = vec![thread::spawn(move || read(events, &sender)), thread::spawn(move || worker.work(&receiver))];
        Ok(Self { watch, threads, state })
    }

    /// From now on the pods of this component fail; of none, with `None`.
    pub(super) fn fail(&self, component: Option<&'static str>) {
        lock(&self.state).failing = component;
    }

    /// What went wrong so far, and which pods wait for something.
    pub(super) fn findings(&self) -> Vec<String> {
        let mut state = lock(&self.state);
        let waiting = state.waiting.iter().map(|(pod, what)| format!("the pod {pod} waits for {what}")).collect::<Vec<_>>();
        std::mem::take(&mut state.findings).into_iter().chain(waiting).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that has ended by itself is what we want.
        self.watch.kill().and_then(|()| self.watch.wait()).ok();
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn read(events: impl Read, sender: &Sender<Value>) {
    let events = serde_json::Deserializer::from_reader(BufReader::new(events)).into_iter::<Value>();
    // Ends with the watch, or with the worker.
    events.map_while(Result::ok).take_while(|event| sender.send(event.clone()).is_ok()).for_each(drop);
}

struct Worker {
    access: Access,
    state: Arc<Mutex<State>>,
}

impl Worker {
    fn work(&self, events: &Receiver<Value>) {
        let mut waiting: BTreeMap<String, Value> = BTreeMap::new();
        loop {
            match events.recv_timeout(PAUSE) {
                Ok(event) => {
                    let pod = at(&event, "/object");
                    waiting.remove(&title(pod));
                    if at(&event, "/type") == "DELETED" {
                        lock(&self.state).waiting.remove(&title(pod));
                    } else {
                        self.look_at(pod, &mut waiting);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    for pod in std::mem::take(&mut waiting).into_values() {
                        self.look_at(&pod, &mut waiting);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn look_at(&self, pod: &Value, waiting: &mut BTreeMap<String, Value>) {
        let failing = lock(&self.state).failing;
        let done = match step(pod, failing) {
            Step::Nothing => Ok(()),
            Step::Bind => self.bind(pod),
            Step::Remove => self.remove(pod),
            Step::Start(status) => match self.lacks(pod) {
                Err(failure) => Err(failure),
                Ok(Some(what)) => {
                    lock(&self.state).waiting.insert(title(pod), what);
                    waiting.insert(title(pod), pod.clone());
                    Ok(())
                }
                Ok(None) => {
                    lock(&self.state).waiting.remove(&title(pod));
                    self.say(pod, &status)
                }
            },
        };
        if let Err(failure) = done {
            // A pod that was deleted meanwhile, or changed: the next event tells.
            let gone = ["NotFound", "Conflict", "already assigned"].iter().any(|word| failure.chain().contains(word));
            if !gone {
                lock(&self.state).findings.insert(format!("{}: {}", title(pod), failure.chain()));
            }
        }
    }

    fn bind(&self, pod: &Value) -> Result<(), Failure> {
        let (namespace, name) = named(pod);
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "namespace": namespace, "uid": at(pod, "/metadata/uid")},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
        });
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
        self.access.give(["create", "--raw", &path], &binding.to_string()).map(drop)
    }

    fn remove(&self, pod: &Value) -> Result<(), Failure> {
        let (namespace, name) = named(pod);
        self.access.run(["delete", "pod", name, "--namespace", namespace, "--grace-period=0", "--force", "--wait=false"]).map(drop)
    }

    fn say(&self, pod: &Value, status: &Value) -> Result<(), Failure> {
        let (namespace, name) = named(pod);
        let patch = json!({"status": status}).to_string();
        self.access
            .run(["patch", "pod", name, "--namespace", namespace, "--subresource=status", "--type=merge", "--patch", &patch])
            .map(drop)
    }

    /// What the pod refers to and that is not there. No cert-manager runs here, so a Secret that it would make is made.
    fn lacks(&self, pod: &Value) -> Result<Option<String>, Failure> {
        let (namespace, _) = named(pod);
        let there = self.access.get(["secrets,configmaps,persistentvolumeclaims,certificates", "--namespace", namespace])?;
        let there = list(at(&there, "/items"));
        let lacking = lacking(pod, there);
        if let Some(secret) = lacking.as_deref().and_then(|what| what.strip_prefix("Secret "))
            && there.iter().any(|object| at(object, "/kind") == "Certificate" && at(object, "/spec/secretName") == secret)
        {
            let entries = ["tls.crt", "tls.key", "ca.crt"].map(|entry| (entry, "of a test"));
            let made = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret, "namespace": namespace}, "type": "kubernetes.io/tls",
                "stringData": BTreeMap::from(entries),
            });
            self.access.give(["create"], &made.to_string())?;
        }
        Ok(lacking)
    }
}

/// What a kubelet, with a scheduler before it, would do with a pod.
#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    Bind,
    /// This is its status then.
    Start(Value),
    Remove,
}

fn step(pod: &Value, failing: Option<&str>) -> Step {
    let bound = at(pod, "/spec/nodeName").is_string();
    if at(pod, "/metadata/deletionTimestamp").is_string() {
        return if bound { Step::Remove } else { Step::Nothing };
    }
    if !bound {
        return Step::Bind;
    }
    if at(pod, "/status/phase") != "Pending" {
        return Step::Nothing;
    }
    let ends = list(at(pod, "/metadata/ownerReferences")).iter().any(|owner| at(owner, "/kind") == "Job");
    let fails = failing.is_some_and(|component| at(pod, "/metadata/labels/app.kubernetes.io~1component") == component);
    Step::Start(match (ends, fails) {
        (_, true) => status(pod, "Failed", &json!({"terminated": {"exitCode": 1, "reason": "Error"}}), false),
        (true, false) => status(pod, "Succeeded", &json!({"terminated": {"exitCode": 0, "reason": "Completed"}}), false),
        (false, false) => status(pod, "Running", &json!({"running": {}}), true),
    })
}

fn status(pod: &Value, phase: &str, state: &Value, ready: bool) -> Value {
    let kinds = ["PodScheduled", "Initialized", "ContainersReady", "Ready"];
    let is = |kind: &str| if ready || ["PodScheduled", "Initialized"].contains(&kind) { "True" } else { "False" };
    let conditions: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind, "status": is(kind)})).collect();
    let containers: Vec<Value> = list(at(pod, "/spec/containers"))
        .iter()
        .map(|container| {
            let (name, image) = (at(container, "/name"), at(container, "/image"));
            json!({"name": name, "image": image, "imageID": image, "ready": ready, "started": ready, "restartCount": 0, "state": state})
        })
        .collect();
    json!({"phase": phase, "conditions": conditions, "containerStatuses": containers, "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}]})
}

/// The first thing, in words, that is not among the objects of its namespace.
fn lacking(pod: &Value, there: &[Value]) -> Option<String> {
    let containers = ["/spec/initContainers", "/spec/containers"].iter().flat_map(|place| list(at(pod, place)));
    let variables = containers.flat_map(|container| list(at(container, "/env"))).map(|variable| at(variable, "/valueFrom"));
    let mut wanted: Vec<(&str, &Value, &Value, &Value)> = variables
        .flat_map(|from| [("Secret", at(from, "/secretKeyRef")), ("ConfigMap", at(from, "/configMapKeyRef"))])
        .map(|(kind, from)| (kind, at(from, "/name"), at(from, "/key"), at(from, "/optional")))
        .collect();
    for volume in list(at(pod, "/spec/volumes")) {
        let projected = list(at(volume, "/projected/sources"))
            .iter()
            .flat_map(|source| [("Secret", at(source, "/secret")), ("ConfigMap", at(source, "/configMap"))]);
        let direct = [("Secret", at(volume, "/secret")), ("ConfigMap", at(volume, "/configMap"))];
        for (kind, from) in direct.into_iter().chain(projected) {
            let name = if at(from, "/secretName").is_string() { at(from, "/secretName") } else { at(from, "/name") };
            wanted.push((kind, name, &Value::Null, at(from, "/optional")));
            wanted.extend(list(at(from, "/items")).iter().map(|item| (kind, name, at(item, "/key"), at(from, "/optional"))));
        }
        wanted.push(("PersistentVolumeClaim", at(volume, "/persistentVolumeClaim/claimName"), &Value::Null, &Value::Null));
    }
    wanted.into_iter().find_map(|(kind, name, key, optional)| {
        let name = name.as_str().filter(|_| optional != true)?;
        let Some(found) = there.iter().find(|object| at(object, "/kind") == kind && at(object, "/metadata/name") == name) else {
            return Some(format!("{kind} {name}"));
        };
        if kind == "PersistentVolumeClaim" {
            return (at(found, "/status/phase") != "Bound").then(|| format!("{kind} {name}, which has no volume"));
        }
        let key = key.as_str()?;
        let has = ["/data", "/binaryData"].iter().any(|place| at(found, place).get(key).is_some());
        (!has).then(|| format!("the entry {key} of {kind} {name}"))
    })
}

fn this_node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}},
        "status": {
            "capacity": {"cpu": "64", "memory": "256Gi", "pods": "1000"}, "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "1000"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}],
        },
    })
}

fn named(pod: &Value) -> (&str, &str) {
    (at(pod, "/metadata/namespace").as_str().unwrap_or_default(), at(pod, "/metadata/name").as_str().unwrap_or_default())
}

fn title(pod: &Value) -> String {
    let (namespace, name) = named(pod);
    format!("{namespace}/{name}")
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of the node.
pub(super) const NODE: &str = "node-1";

/// How often it looks again at what a pod waits for.
const PAUSE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(change: Value) -> Value {
        let mut pod = json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"app.kubernetes.io/component": "migrate"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"phase": "Pending"},
        });
        merge(&mut pod, change);
        pod
    }

    fn merge(into: &mut Value, change: Value) {
        match (into, change) {
            (Value::Object(into), Value::Object(change)) => {
                change.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value))
            }
            (into, change) => *into = change,
        }
    }

    fn phase(step: &Step) -> &str {
        let Step::Start(status) = step else { panic!("{step:?}") };
        status["phase"].as_str().unwrap()
    }

    #[test]
    fn a_pod_is_bound_then_runs_or_ends() {
        assert_eq!(step(&pod(json!({})), None), Step::Bind);
        let here = json!({"spec": {"nodeName": NODE}});
        assert_eq!(phase(&step(&pod(here.clone()), None)), "Running");
        assert_eq!(phase(&step(&pod(here.clone()), Some("migrate"))), "Failed");
        let mut of_a_job = pod(here.clone());
        merge(&mut of_a_job, json!({"metadata": {"ownerReferences": [{"kind": "Job"}]}}));
        assert_eq!(phase(&step(&of_a_job, Some("server"))), "Succeeded");
        let mut running = pod(here);
        merge(&mut running, json!({"status": {"phase": "Running"}}));
        assert_eq!(step(&running, None), Step::Nothing);
        merge(&mut running, json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        assert_eq!(step(&running, None), Step::Remove);
    }

    #[test]
    fn what_a_kubelet_would_wait_for_is_told() {
        let there = [
            json!({"kind": "Secret", "metadata": {"name": "s"}, "data": {"a": ""}}),
            json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "v"}, "status": {"phase": "Pending"}}),
        ];
        let lacks = |spec: Value| lacking(&json!({"spec": spec}), &there);
        let variable =
            |key: &str| json!({"containers": [{"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": key}}}]}]});
        assert_eq!(lacks(variable("a")), None);
        assert_eq!(lacks(variable("b")).as_deref(), Some("the entry b of Secret s"));
        let volume = |volume: Value| json!({"volumes": [volume]});
        assert_eq!(lacks(volume(json!({"secret": {"secretName": "s", "items": [{"key": "a"}]}}))), None);
        assert_eq!(
            lacks(volume(json!({"secret": {"secretName": "s", "items": [{"key": "b"}]}}))).as_deref(),
            Some("the entry b of Secret s")
        );
        assert_eq!(lacks(volume(json!({"secret": {"secretName": "t"}}))).as_deref(), Some("Secret t"));
        assert_eq!(lacks(volume(json!({"secret": {"secretName": "t", "optional": true}}))), None);
        assert_eq!(lacks(volume(json!({"projected": {"sources": [{"configMap": {"name": "m"}}]}}))).as_deref(), Some("ConfigMap m"));
        let claim = lacks(volume(json!({"persistentVolumeClaim": {"claimName": "v"}})));
        assert_eq!(claim.as_deref(), Some("PersistentVolumeClaim v, which has no volume"));
    }
}
