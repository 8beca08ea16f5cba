//! The control plane of a cluster that lasts as long as one run: etcd, the API server and the controllers, all on this machine, in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::children::{Children, bound, free_address};
use crate::failure::Failure;
use crate::files;
use crate::interrupt::Interrupt;
use crate::process::{capture, command, filter, path_with};
use crate::setup::kubernetes::Kubernetes;

/// A running control plane; it ends with this value.
pub(super) struct Plane {
    children: Children,
    access: Access,
    folder: TempDir,
}

/// How to speak to it.
#[derive(Clone)]
pub(super) struct Access {
    kubectl: PathBuf,
    /// Names the server and has the token of an administrator.
    kubeconfig: PathBuf,
}

impl Plane {
    /// Starts it and waits until it is ready.
    pub(super) fn start(kubernetes: &Kubernetes, interrupt: &Interrupt) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(|error| Failure::new("cannot make a temporary folder").because(error))?;
        let at = |name: &str| folder.path().join(name);
        let [clients, peers, api] = [free_address()?, free_address()?, free_address()?];
        let signing = at("accounts.key");
        capture(command("openssl").args(["genrsa", "-out"]).arg(&signing).arg("2048"))?;
        files::write(&at("tokens.csv"), &format!("{TOKEN},administrator,1,system:masters\n"))?;
        let access = Access { kubectl: kubernetes.kubectl.clone(), kubeconfig: at("kubeconfig") };
        files::write(&access.kubeconfig, &kubeconfig(&format!("https://{api}"), &at("certificates/apiserver.crt")))?;
        files::make_dir(&at("logs"))?;
        let mut children = Children::new(at("logs"));

        let mut etcd = bound(&kubernetes.etcd);
        etcd.arg("--data-dir").arg(at("etcd"));
        etcd.args(["--listen-client-urls", &format!("http://{clients}"), "--advertise-client-urls", &format!("http://{clients}")]);
        etcd.args(["--listen-peer-urls", &format!("http://{peers}"), "--initial-advertise-peer-urls", &format!("http://{peers}")]);
        etcd.arg(format!("--initial-cluster=default=http://{peers}"));
        children.start("etcd", etcd)?;

        let mut server = bound(&kubernetes.apiserver);
        server.arg(format!("--etcd-servers=http://{clients}")).arg(format!("--secure-port={}", api.port()));
        server.args(["--bind-address=127.0.0.1", "--endpoint-reconciler-type=none", "--authorization-mode=RBAC"]);
        server.args(["--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.0.0.0/24"]);
        server.arg("--service-account-signing-key-file").arg(&signing).arg("--service-account-key-file").arg(&signing);
        server.arg("--cert-dir").arg(at("certificates")).arg("--token-auth-file").arg(at("tokens.csv"));
        children.start("kube-apiserver", server)?;
        let ready = || access.run(["get", "--raw", "/readyz"]).map(drop);
        interrupt.until(PATIENCE, || children.all_alive(), ready)?;

        let mut controllers = bound(&kubernetes.controller_manager);
        controllers.arg("--kubeconfig").arg(&access.kubeconfig).arg("--service-account-private-key-file").arg(&signing);
        // There is no kubelet that says that the node lives, so nobody may conclude that it does not.
        controllers.args(["--controllers=*,-node-lifecycle-controller,-taint-eviction-controller"]);
        controllers.args(["--leader-elect=false", "--secure-port=0"]);
        children.start("kube-controller-manager", controllers)?;
        let accounts = || access.run(["get", "serviceaccount", "default", "--namespace", "default"]).map(drop);
        interrupt.until(PATIENCE, || children.all_alive(), accounts)?;
        Ok(Self { children, access, folder })
    }

    /// How to speak to it.
    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// A folder for what the run makes.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it; shows what it said last where the run went wrong.
    pub(super) fn stop(mut self, went_well: bool) -> Result<(), Failure> {
        if !went_well {
            self.children.show_last_words();
        }
        self.children.stop()
    }
}

impl Access {
    /// A `kubectl` that speaks to it.
    pub(super) fn kubectl(&self) -> Command {
        let mut kubectl = command(&self.kubectl);
        kubectl.arg("--kubeconfig").arg(&self.kubeconfig);
        kubectl
    }

    /// Runs `kubectl` and returns what it wrote.
    pub(super) fn run<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<String, Failure> {
        capture(self.kubectl().args(words))
    }

    /// Runs `kubectl` with the objects as its input.
    pub(super) fn give<'a>(&self, words: impl IntoIterator<Item = &'a str>, objects: &str) -> Result<String, Failure> {
        filter(self.kubectl().args(words).args(["--filename", "-"]), objects)
    }

    /// What `kubectl get` answers, as JSON.
    pub(super) fn get<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<Value, Failure> {
        let text = capture(self.kubectl().arg("get").args(words).args(["--output", "json"]))?;
        serde_json::from_str(&text).map_err(|error| Failure::new("kubectl did not answer with JSON").because(error))
    }

    /// The variables by which `helm`, and the commands of the guide, find the cluster and its `kubectl`.
    pub(super) fn lend<'a>(&self, other: &'a mut Command) -> &'a mut Command {
        let tools = self.kubectl.parent().unwrap_or(Path::new(".")).to_path_buf();
        let home = self.kubeconfig.parent().unwrap_or(Path::new(".")).join("helm");
        other.env("KUBECONFIG", &self.kubeconfig).env("PATH", path_with(tools));
        other
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"))
    }
}

fn kubeconfig(server: &str, ca: &Path) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": server, "certificate-authority": ca}}],
        "users": [{"name": "administrator", "user": {"token": TOKEN}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "administrator"}}],
    })
    .to_string()
}

/// Of an administrator of a cluster that nobody else can reach and that is gone in minutes.
const TOKEN: &str = "administrator-of-a-cluster-for-one-run";

const PATIENCE: Duration = Duration::from_secs(120);
