//! The control plane of a Kubernetes and what extends it, for `cargo xtask helm --cluster`. No package has its programs, and `go install` refuses the
//! module, which builds only with the parts that its own source tree has beside it: so a module of our own asks for all of them in one release.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::Failure;
use crate::files;
use crate::process::{capture, command, find_program};

use super::golang;

/// The programs and files of it.
pub(crate) struct Kubernetes {
    /// Where the API server keeps everything.
    pub(crate) etcd: PathBuf,
    /// The API.
    pub(crate) apiserver: PathBuf,
    /// What makes pods of Deployments and Jobs.
    pub(crate) controller_manager: PathBuf,
    /// The command line.
    pub(crate) kubectl: PathBuf,
    /// The kinds of cert-manager and of the Prometheus Operator, a file each.
    pub(crate) kinds: Vec<PathBuf>,
}

/// The release of Kubernetes.
pub(crate) const RELEASE: &str = "1.37.2";

const KUBERNETES: &str = "k8s.io/kubernetes";
const PROGRAMS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kubectl"];

/// A module, its version, a folder in it and the files there.
const KINDS: [(&str, &str, &str, &[&str]); 2] = [
    ("github.com/cert-manager/cert-manager", "v1.21.2", "deploy/crds", &["cert-manager.io_certificates.yaml"]),
    (
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "example/prometheus-operator-crd",
        &["monitoring.coreos.com_prometheusrules.yaml", "monitoring.coreos.com_servicemonitors.yaml"],
    ),
];

/// What is there; a failure with the command that installs it where something is not.
pub(crate) fn find() -> Result<Kubernetes, Failure> {
    let tools = super::tools_dir()?;
    let missing = |what: &str| Failure::new(format!("{what} is not installed")).hint("cargo xtask setup --cluster");
    let etcd = find_program("etcd").ok_or_else(|| missing("etcd"))?;
    if !installed(&tools) {
        return Err(missing(&format!("Kubernetes {RELEASE}")));
    }
    let kinds = kinds(&tools).map(|(.., to)| to).collect();
    let [apiserver, controller_manager, kubectl] = PROGRAMS.map(|program| tools.join(program));
    Ok(Kubernetes { etcd, apiserver, controller_manager, kubectl, kinds })
}

/// Whether all of it is there, in this release; etcd is a package and counts by itself.
pub(super) fn installed(tools: &Path) -> bool {
    files::read(&stamp(tools)).is_ok_and(|text| text == stamped())
        && PROGRAMS.iter().all(|program| tools.join(program).is_file())
        && kinds(tools).all(|(.., to)| to.is_file())
}

/// Builds the programs and fetches the kinds. It takes a quarter of an hour of processor time.
pub(super) fn install(tools: &Path) -> Result<(), Failure> {
    let go = golang::go().ok_or_else(|| Failure::new("Kubernetes needs Go to be built").hint("as root: apt-get install -y golang-go"))?;
    let folder = tempfile::tempdir().map_err(|error| Failure::new("cannot make a temporary folder").because(error))?;
    let source = module(&go, KUBERNETES, &format!("v{RELEASE}"))?;
    files::write(&folder.path().join("go.mod"), &go_mod(&files::read(&source.join("go.mod"))?))?;
    let imports: String = PROGRAMS.iter().map(|program| format!("import _ \"{KUBERNETES}/cmd/{program}\"\n")).collect();
    files::write(&folder.path().join("programs.go"), &format!("//go:build programs\n\npackage programs\n\n{imports}"))?;
    capture(command(&go).args(["mod", "tidy"]).current_dir(folder.path()))?;
    files::make_dir(tools)?;
    // The version as its own build sets it: without it the server says that it is a release candidate of nothing, which charts refuse.
    let (major, minor) =
        RELEASE.split_once('.').map(|(major, rest)| (major, rest.split('.').next().unwrap_or_default())).unwrap_or_default();
    let variable = |name: &str, value: &str| format!("-X k8s.io/component-base/version.{name}={value}");
    let linking = [variable("gitVersion", &format!("v{RELEASE}")), variable("gitMajor", major), variable("gitMinor", minor)].join(" ");
    for program in PROGRAMS {
        let mut build = command(&go);
        build.args(["build", "-trimpath", &format!("-ldflags=-s -w {linking}"), "-o"]).arg(tools.join(program));
        capture(build.arg(format!("{KUBERNETES}/cmd/{program}")).current_dir(folder.path()).env("CGO_ENABLED", "0"))?;
    }
    for (name, version, file, to) in kinds(tools) {
        files::write(&to, &files::read(&module(&go, name, version)?.join(file))?)?;
    }
    files::write(&stamp(tools), &stamped())
}

/// Where Go keeps the source of a module, fetched if need be.
fn module(go: &Path, name: &str, version: &str) -> Result<PathBuf, Failure> {
    let said = capture(command(go).args(["mod", "download", "-json", &format!("{name}@{version}")]))?;
    let said: Value =
        serde_json::from_str(&said).map_err(|error| Failure::new("`go mod download` did not answer with JSON").because(error))?;
    said.pointer("/Dir").and_then(Value::as_str).map(PathBuf::from).ok_or_else(|| Failure::new(format!("{name} {version} was not fetched")))
}

/// A module that asks for Kubernetes, and for each part that its own `go.mod` takes from its source tree in the same release.
fn go_mod(theirs: &str) -> String {
    let go = theirs.lines().find(|line| line.starts_with("go ")).unwrap_or("go 1.26.0");
    let parts = theirs
        .lines()
        .filter_map(|line| line.split_once(" => ./staging/"))
        .map(|(part, _)| part.trim().trim_start_matches("replace ").trim());
    let version = RELEASE.split_once('.').map_or(RELEASE, |(_, rest)| rest);
    let replaced: String = parts.map(|part| format!("replace {part} => {part} v0.{version}\n")).collect();
    format!("module certctl.test/kubernetes\n\n{go}\n\nrequire {KUBERNETES} v{RELEASE}\n\n{replaced}")
}

/// Each file with a kind: module, version, its path there, and where it goes.
fn kinds(tools: &Path) -> impl Iterator<Item = (&'static str, &'static str, String, PathBuf)> {
    let folder = tools.parent().unwrap_or(tools).join("kubernetes");
    KINDS.iter().flat_map(move |(module, version, from, files)| {
        let folder = folder.clone();
        files.iter().map(move |file| (*module, *version, format!("{from}/{file}"), folder.join(file)))
    })
}

fn stamp(tools: &Path) -> PathBuf {
    tools.join(".kubernetes-version")
}

/// Everything whose change asks for another installation.
fn stamped() -> String {
    let kinds: Vec<String> = KINDS.iter().map(|(module, version, ..)| format!("{module} {version}")).collect();
    format!("{RELEASE}\n{}\n", kinds.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_asked_for_in_the_same_release() {
        let theirs = "module k8s.io/kubernetes\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/api v0.0.0\n)\n\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\
                      \tk8s.io/apiserver => ./staging/src/k8s.io/apiserver\n)\n";
        let ours = go_mod(theirs);
        assert!(ours.contains("\ngo 1.26.0\n") && ours.contains("require k8s.io/kubernetes v1.37.2\n"), "{ours}");
        let replaced: Vec<&str> = ours.lines().filter(|line| line.starts_with("replace ")).collect();
        assert_eq!(replaced, ["replace k8s.io/api => k8s.io/api v0.37.2", "replace k8s.io/apiserver => k8s.io/apiserver v0.37.2"]);
    }

    #[test]
    fn it_counts_as_a_whole_and_in_its_release_alone() {
        let folder = tempfile::tempdir().unwrap();
        let tools = folder.path().join("bin");
        for program in PROGRAMS {
            files::write(&tools.join(program), "").unwrap();
        }
        files::write(&stamp(&tools), &stamped()).unwrap();
        assert!(!installed(&tools), "the kinds are missing");
        for (.., to) in kinds(&tools) {
            files::write(&to, "").unwrap();
        }
        assert!(installed(&tools));
        files::write(&stamp(&tools), "1.36.0\n").unwrap();
        assert!(!installed(&tools));
    }
}
