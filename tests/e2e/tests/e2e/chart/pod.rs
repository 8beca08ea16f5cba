//! Pods of a rendered chart, and how to start one here: its paths are made by mounts that only its own process sees.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certctl_testkit::require_program;
use nix::sys::signal::Signal;
use serde::Deserialize as _;
use serde_json::Value;

use crate::harness::{Home, Process, Ran, command, in_own_mounts, in_repository, product, run, write};

/// What Helm rendered.
pub(super) struct Chart {
    text: String,
}

impl Chart {
    /// An example with these values; a word with `--` is an argument for Helm itself.
    pub(super) async fn render(home: &Home, example: &str, sets: &[String]) -> Self {
        let root = in_repository("");
        let mut helm = command(home, require_program("helm"));
        helm.current_dir(&root).args(["template", "rel", "deploy/helm/certctl", "--namespace", "tools"]);
        helm.args(["--values", &format!("deploy/helm/certctl/examples/{example}.yaml")]);
        for set in sets {
            match set.starts_with("--") {
                true => helm.arg(set),
                false => helm.args(["--set", set]),
            };
        }
        Self { text: run(&mut helm).await.ok() }
    }

    /// The same with the Service of PostgreSQL at another address, since there is no name service here.
    pub(super) fn at(self, host: &str, port: u16) -> Self {
        let there = format!("@{host}:{port}/postgres");
        Self { text: self.text.replace("@rel-certctl-postgres:5432/certctl", &there) }
    }

    fn objects(&self) -> impl Iterator<Item = Value> {
        serde_norway::Deserializer::from_str(&self.text).map(|document| Value::deserialize(document).unwrap())
    }

    /// The Secrets and configuration that were rendered too.
    pub(super) fn fill(&self, secrets: &mut Secrets) {
        for object in self.objects().filter(|object| ["Secret", "ConfigMap"].contains(&object["kind"].as_str().unwrap_or_default())) {
            for (key, value) in object["data"].as_object().unwrap() {
                let value = value.as_str().unwrap();
                let encoded = object["kind"] == "Secret";
                let text = if encoded { String::from_utf8(STANDARD.decode(value).unwrap()).unwrap() } else { value.to_owned() };
                secrets.add(object["metadata"]["name"].as_str().unwrap(), key, &text);
            }
        }
    }

    /// The only object of this kind.
    pub(super) fn object(&self, kind: &str) -> Value {
        self.objects().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind} was rendered"))
    }

    /// Its pod.
    pub(super) fn pod(&self, kind: &str) -> Pod {
        let object = self.object(kind);
        let template = object.pointer("/spec/jobTemplate/spec/template").unwrap_or(&object["spec"]["template"]);
        Pod { kind: kind.to_lowercase(), spec: template["spec"].clone(), name: String::new(), container: "containers" }
    }
}

/// The Secrets that the operator made.
#[derive(Default)]
pub(super) struct Secrets(BTreeMap<String, BTreeMap<String, String>>);

impl Secrets {
    pub(super) fn add(&mut self, name: &str, key: &str, value: &str) {
        self.0.entry(name.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
    }

    /// One entry.
    pub(super) fn entry(&self, name: &str, key: &str) -> &str {
        &self.0[name][key]
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }
}

/// One pod.
pub(super) struct Pod {
    kind: String,
    spec: Value,
    /// Of its node, or its own where it has one.
    name: String,
    /// Which of its lists of containers is meant: the first one of it.
    container: &'static str,
}

impl Pod {
    /// The same with the name of its node, or with one of its own.
    pub(super) fn called(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// The same, of which the container is meant that runs before the others.
    pub(super) fn before(mut self) -> Self {
        self.container = "initContainers";
        self
    }

    /// A path of the container, as this machine has it.
    pub(super) fn path(&self, home: &Home, inside: &str) -> PathBuf {
        self.root(home).join(inside.trim_start_matches('/'))
    }

    fn container(&self) -> &Value {
        &self.spec[self.container][0]
    }

    /// The variables, as the kubelet gives them: what comes from the node, and `$(NAME)` put in.
    fn variables(&self) -> Vec<(String, String)> {
        let mut variables: Vec<(String, String)> = Vec::new();
        for variable in self.container()["env"].as_array().unwrap() {
            let given = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("spec.nodeName" | "metadata.name") => self.name.clone(),
                Some(other) => panic!("{other} is not known here"),
                None => variable["value"].as_str().unwrap().to_owned(),
            };
            let value = variables.iter().fold(given, |value, (name, earlier)| value.replace(&format!("$({name})"), earlier));
            variables.push((variable["name"].as_str().unwrap().to_owned(), value));
        }
        variables
    }

    /// One of them.
    pub(super) fn variable(&self, name: &str) -> String {
        self.variables().into_iter().find(|(one, _)| one == name).unwrap_or_else(|| panic!("{name} is not set")).1
    }

    /// The words of a probe that runs a program.
    pub(super) fn probe(&self, name: &str) -> Vec<String> {
        words(&self.container()[name]["exec"]["command"])
    }

    /// A number of a probe.
    pub(super) fn probe_number(&self, name: &str, field: &str) -> u64 {
        self.container()[name][field].as_u64().unwrap_or_else(|| panic!("{name} has no {field}"))
    }

    /// The path that a probe asks for over HTTPS.
    pub(super) fn probe_path(&self, name: &str) -> String {
        let get = &self.container()[name]["httpGet"];
        assert_eq!(get["scheme"], "HTTPS");
        get["path"].as_str().unwrap().to_owned()
    }

    /// Where volumes are mounted, and their names.
    pub(super) fn mounts(&self) -> Vec<(String, String)> {
        let mounts = self.container()["volumeMounts"].as_array().unwrap();
        mounts.iter().map(|mount| (mount["mountPath"].as_str().unwrap().to_owned(), mount["name"].as_str().unwrap().to_owned())).collect()
    }

    /// Its program, run with other arguments to its end.
    pub(super) async fn ask(&self, home: &Home, secrets: &Secrets, arguments: &[&str]) -> Ran {
        self.lay_out(home, secrets);
        let mut all = words(&self.container()["command"]);
        all.extend(arguments.iter().map(ToString::to_string));
        self.run_beside(home, &all).await
    }

    /// Starts its container.
    pub(super) fn start(&self, home: &Home, secrets: &Secrets) -> Process {
        self.lay_out(home, secrets);
        let container = self.container();
        let [program] = &words(&container["command"])[..] else { panic!("a command of one word") };
        let mut all = vec![product(program).to_str().unwrap().to_owned()];
        all.extend(words(&container["args"]));
        let all = in_own_mounts(&self.script(home), &all.iter().map(String::as_str).collect::<Vec<_>>());
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        Process::start(home, &self.kind, &all, Signal::SIGKILL, |command| {
            command.env_remove("HOME").envs(self.variables());
        })
    }

    /// Runs a program in the same surroundings, as a probe does.
    pub(super) async fn run_beside(&self, home: &Home, probe: &[String]) -> Ran {
        let mut all = vec![product(&probe[0]).to_str().unwrap().to_owned()];
        all.extend_from_slice(&probe[1..]);
        let all = in_own_mounts(&self.script(home), &all.iter().map(String::as_str).collect::<Vec<_>>());
        run(command(home, &all[0]).args(&all[1..]).env_remove("HOME").envs(self.variables())).await
    }

    fn root(&self, home: &Home) -> PathBuf {
        home.join(&format!("pod-{}", self.kind))
    }

    /// Makes the folders and files that the container sees. What a Secret lacks is not there; other volumes keep what is in them.
    fn lay_out(&self, home: &Home, secrets: &Secrets) {
        let root = self.root(home);
        for place in PLACES {
            std::fs::create_dir_all(root.join(place.trim_start_matches('/'))).unwrap();
        }
        for file in ["passwd", "group", "hosts", "nsswitch.conf", "resolv.conf"] {
            if let Ok(text) = std::fs::read(Path::new("/etc").join(file)) {
                write(&root.join("etc").join(file), text);
            }
        }
        for (path, name) in self.mounts() {
            assert!(PLACES.iter().any(|place| path.starts_with(place)), "{path} is in none of {PLACES:?}");
            let folder = root.join(path.trim_start_matches('/'));
            // What is not among them is claimed by the object that the pod is of.
            let volume =
                self.spec["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == name.as_str()).unwrap_or(&Value::Null);
            let Some(secret) = volume["secret"]["secretName"].as_str().or_else(|| volume["configMap"]["name"].as_str()) else {
                std::fs::create_dir_all(&folder).unwrap();
                continue;
            };
            std::fs::remove_dir_all(&folder).ok();
            std::fs::create_dir_all(&folder).unwrap();
            let Some(entries) = secrets.0.get(secret) else {
                assert_eq!(volume["secret"]["optional"], true, "the Secret {secret} is not there, and the pod would wait for it");
                continue;
            };
            match volume["secret"]["items"].as_array().or_else(|| volume["configMap"]["items"].as_array()) {
                None => entries.iter().for_each(|(key, value)| drop(write(&folder.join(key), value))),
                Some(items) => items.iter().for_each(|item| {
                    let value = &entries[item["key"].as_str().unwrap()];
                    write(&folder.join(item["path"].as_str().unwrap()), value);
                }),
            }
        }
    }

    fn script(&self, home: &Home) -> String {
        let root = self.root(home);
        let mounts = PLACES.iter().map(|place| format!("mount --bind {}{place} {place}", root.display()));
        mounts.collect::<Vec<_>>().join("\n")
    }
}

fn words(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// The folders of this machine over which the container's are mounted.
const PLACES: [&str; 3] = ["/etc", "/var/lib", "/opt"];
