//! A real HAProxy with a directory of its own, two certificates, and a count of its reloads.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use certctl_connector_core::material::{Material, leaf_in};
use certctl_connector_core::target::Target;
use certctl_domain::x509::Fingerprint;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::TARGETS;
use crate::tests::support::{Authority, Issued, Stage, eventually, free_port, served};

pub(super) const FILES: &str = "bind 127.0.0.1:{port} ssl crt {ssl}/one.pem crt {ssl}/two.pem";
pub(super) const DIRECTORY: &str = "bind 127.0.0.1:{port} ssl crt {ssl}/";
pub(super) const LIST: &str = "bind 127.0.0.1:{port} ssl crt-list {root}/list";
pub(super) const SSL: [&str; 2] = ["one.pem", "two.pem"];

pub(super) struct Scene {
    pub(super) stage: Stage,
    pub(super) authority: Authority,
    pub(super) old: Issued,
    pub(super) two: Issued,
    pub(super) port: u16,
    child: Option<Child>,
}

impl Scene {
    /// HAProxy runs with this `bind` line and serves `one.example.test` and `two.example.test`.
    pub(super) async fn start(bind: &str) -> Self {
        let mut scene = Self::prepare(bind);
        scene.run().await;
        scene
    }

    pub(super) fn prepare(bind: &str) -> Self {
        let (stage, authority) = (Stage::new(), Authority::new());
        let (old, two) = (authority.issue("one.example.test"), authority.issue("two.example.test"));
        let scene = Self { stage, authority, old, two, port: free_port(), child: None };
        scene.install("ssl/one.pem", &scene.old);
        scene.install("ssl/two.pem", &scene.two);
        fs::write(
            scene.stage.path("list"),
            format!("# by name\n{0}/one.pem [alpn h2,http/1.1] one.example.test\n{0}/two.pem two.example.test\n", scene.stage.text("ssl")),
        )
        .unwrap();
        scene.configure(bind);
        let body = format!("echo >> {0}/reloads\nkill -USR2 $(cat {0}/pid)", scene.stage.root.display());
        scene.stage.script("reload", &body);
        scene.stage.allow(&["haproxy", "-c", "-f", "*"].map(str::to_owned));
        scene
    }

    pub(super) fn configure(&self, bind: &str) {
        let text = format!(
            "global\n  stats socket {{root}}/admin.sock mode 600 level admin expose-fd listeners\n\
             \x20 stats socket {{root}}/operator.sock mode 600 level operator\n\
             \x20 maxconn 200\n  hard-stop-after 1s\n\
             defaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 10s\n\
             frontend web\n  {bind}\n  http-request return status 200\n"
        );
        fs::write(self.stage.path("haproxy.cfg"), self.fill(&text)).unwrap();
    }

    fn fill(&self, text: &str) -> String {
        let text = text.replace("{root}", self.stage.root.to_str().unwrap()).replace("{ssl}", &self.stage.text("ssl"));
        text.replace("{port}", &self.port.to_string())
    }

    pub(super) async fn run(&mut self) {
        let mut command = Command::new("haproxy");
        command.args(["-W", "-S"]).arg(self.stage.path("master.sock")).arg("-f").arg(self.stage.path("haproxy.cfg"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.expect("haproxy (package haproxy) must be installed");
        fs::write(self.stage.path("pid"), child.id().to_string()).unwrap();
        self.child = Some(child);
        eventually("HAProxy listens", async || UnixStream::connect(self.stage.path("admin.sock")).is_ok()).await;
        let address = self.address();
        eventually("HAProxy serves", async || tokio::net::TcpStream::connect(&address).await.is_ok()).await;
        self.listens_to_signals().await;
    }

    /// Waits until another process serves, and the next reload would be heard.
    pub(super) async fn reloaded(&self, worker: &str) {
        eventually("another worker serves", async || self.worker() != worker).await;
        self.listens_to_signals().await;
    }

    /// The master starts anew with each reload, and a signal that comes before it is through is lost. It answers when it is.
    async fn listens_to_signals(&self) {
        let answers = || {
            let mut stream = UnixStream::connect(self.stage.path("master.sock"))?;
            // A connection that a dying master took is never answered.
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"show proc\n")?;
            stream.read(&mut [0; 512])
        };
        eventually("HAProxy's master answers", async || answers().is_ok_and(|length: usize| length > 0)).await;
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Combined as an administrator would have.
    pub(super) fn install(&self, below: &str, issued: &Issued) {
        let material = issued.material();
        fs::write(self.stage.path(below), format!("{}\n{}", material.key_pem().expose(), material.fullchain_pem())).unwrap();
        fs::set_permissions(self.stage.path(below), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(super) fn config(&self, more: Value) -> Value {
        let mut config = json!({
            "pem_path": self.stage.text("ssl/one.pem"),
            "config_paths": [self.stage.text("haproxy.cfg")],
            "reload_command": [self.stage.text("reload")],
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    }

    pub(super) fn target(&self, more: Value) -> Box<dyn Target> {
        TARGETS.build("HAProxy", self.config(more)).unwrap()
    }

    /// A target that is rolled back, because it asks for the new certificate under a name that has another.
    pub(super) fn doomed(&self) -> Box<dyn Target> {
        self.target(json!({"observe": {"address": self.address(), "server_names": ["two.example.test"], "attempts": 1}}))
    }

    pub(super) fn new_one(&self) -> Issued {
        self.authority.issue("one.example.test")
    }

    /// What the running process answers to a command.
    pub(super) fn ask(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(self.stage.path("admin.sock")).unwrap();
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The process that serves.
    pub(super) fn worker(&self) -> String {
        self.ask("show info").lines().find_map(|line| line.strip_prefix("Pid: ")).unwrap().to_owned()
    }

    /// The certificates that the running process has.
    pub(super) fn known(&self) -> Vec<String> {
        let listed = self.ask("show ssl cert");
        assert!(!listed.contains("# transaction"), "{listed}");
        let ssl = self.stage.path("ssl");
        let mut names: Vec<_> =
            listed.lines().filter_map(|line| PathBuf::from(line).strip_prefix(&ssl).ok()?.to_str().map(str::to_owned)).collect();
        names.sort();
        names
    }

    pub(super) fn reloads(&self) -> usize {
        fs::read_to_string(self.stage.path("reloads")).map_or(0, |text| text.lines().count())
    }

    pub(super) fn installed(&self) -> Fingerprint {
        leaf_in(self.stage.read("ssl/one.pem").as_bytes()).unwrap().0
    }

    /// Each name is served its certificate, with the intermediate.
    pub(super) async fn assert_served(&self, one: &Issued) {
        for (name, issued) in [("one.example.test", one), ("two.example.test", &self.two)] {
            let chain = Material::chain_fingerprints(&issued.material());
            let address = self.address();
            eventually(name, async || served(&address, name).await.is_some_and(|report| report.chain_fingerprints == chain)).await;
        }
    }

    /// What is served is what is installed; nothing is left to do.
    pub(super) async fn assert_settled(&self, one: &Issued, what: &str) {
        assert_eq!(self.installed(), one.fingerprint(), "{what}: installed");
        self.assert_served(one).await;
        self.stage.assert_clean(&SSL);
        assert_eq!(self.stage.recover().await, [], "{what}: nothing is left to recover");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // The master ends its workers too.
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
            child.wait().unwrap();
        }
    }
}
