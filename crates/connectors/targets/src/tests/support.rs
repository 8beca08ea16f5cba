//! What the tests share: certificates, a scene, a service that reads its files, nginx.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::exec::AllowList;
use certctl_connector_core::material::Material;
use certctl_connector_core::probe::{ProbeReport, Question, probe};
use certctl_connector_core::report::{DeployEvent, DeployReport};
use certctl_connector_core::target::{Scene, Target};
use certctl_domain::secret::Secret;
use certctl_domain::time::Timestamp;
use certctl_domain::x509::Fingerprint;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::TARGETS;

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

/// Waits until a condition holds; fails at the deadline.
pub(super) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < until, "never came true: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A CA with one intermediate.
pub(super) struct Authority {
    intermediate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its chain and key.
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) fullchain: String,
    pub(super) key: Secret<String>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let ca = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let root = Issuer::new(ca("root"), KeyPair::generate().unwrap());
        let key = KeyPair::generate().unwrap();
        let intermediate = ca("intermediate").signed_by(&key, &root).unwrap().pem();
        Self { intermediate, issuer: Issuer::new(ca("intermediate"), key) }
    }

    pub(super) fn issue(&self, name: &str) -> Issued {
        self.issue_for(name, &KeyPair::generate().unwrap())
    }

    pub(super) fn issue_for(&self, name: &str, key: &KeyPair) -> Issued {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap().to_offset();
        params.not_after = "2036-01-01T00:00:00Z".parse::<Timestamp>().unwrap().to_offset();
        let leaf = params.signed_by(key, &self.issuer).unwrap().pem();
        Issued { fullchain: format!("{leaf}{}", self.intermediate), key: Secret::new(key.serialize_pem()) }
    }
}

impl Issued {
    pub(super) fn material(&self) -> Material {
        Material::parse(&self.fullchain, &self.key, now()).unwrap()
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.material().fingerprint()
    }

    /// Puts the pair in place as an administrator would have.
    pub(super) fn install(&self, certificate: &Path, key: &Path) {
        fs::write(certificate, self.material().fullchain_pem()).unwrap();
        fs::write(key, self.material().key_pem().expose()).unwrap();
        fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// A directory with a state directory and an allow-list, in which deployments happen.
pub(super) struct Stage {
    _guard: Option<tempfile::TempDir>,
    pub(super) root: PathBuf,
    pub(super) allow_list: Mutex<AllowList>,
    pub(super) events: Mutex<Vec<DeployEvent>>,
}

impl Stage {
    pub(super) fn new() -> Self {
        let guard = tempfile::tempdir().unwrap();
        let root = guard.path().canonicalize().unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(root.join("ssl")).unwrap();
        Self { _guard: Some(guard), ..Self::at(&root) }
    }

    /// One that another process made.
    pub(super) fn at(root: &Path) -> Self {
        let allow_list = Mutex::new(AllowList::load(&root.join("commands.toml")).unwrap());
        Self { _guard: None, root: root.to_owned(), allow_list, events: Mutex::default() }
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    pub(super) fn text(&self, below: &str) -> String {
        self.path(below).to_str().unwrap().to_owned()
    }

    pub(super) fn read(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap()
    }

    /// Names in a directory, sorted.
    pub(super) fn list(&self, below: &str) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path(below)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A shell script as a command that this machine allows; the test's stand-in for a service's own tools.
    pub(super) fn script(&self, name: &str, body: &str) -> Vec<String> {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let argv = vec![path.to_str().unwrap().to_owned()];
        self.allow(&argv);
        argv
    }

    pub(super) fn allow(&self, argv: &[String]) {
        let path = self.path("commands.toml");
        let old = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, format!("{old}[[command]]\nargv = {}\n", serde_json::to_string(argv).unwrap())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        *self.allow_list.lock().unwrap() = AllowList::load(&path).unwrap();
    }

    /// Settings of a files target for a pair below `ssl/`.
    pub(super) fn pair(&self, more: Value) -> Value {
        let mut config = json!({"certificate_path": self.text("ssl/cert.pem"), "key_path": self.text("ssl/key.pem")});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    }

    pub(super) fn files(&self, more: Value) -> Box<dyn Target> {
        TARGETS.build("Files", self.pair(more)).unwrap()
    }

    pub(super) async fn deploy(&self, target: &dyn Target, issued: &Issued) -> DeployReport {
        self.try_deploy(target, issued, "job-1").await.unwrap()
    }

    pub(super) async fn try_deploy(&self, target: &dyn Target, issued: &Issued, deployment: &str) -> Result<DeployReport, ConnectorError> {
        let allow_list = self.allow_list.lock().unwrap().clone();
        let progress = |event: &DeployEvent| self.events.lock().unwrap().push(event.clone());
        let state_dir = self.path("state");
        let scene = Scene { deployment, target: "tgt-1", state_dir: &state_dir, allow_list: &allow_list, now: now(), progress: &progress };
        target.deploy(&issued.material(), scene).await
    }

    pub(super) async fn recover(&self) -> Vec<DeployReport> {
        let allow_list = self.allow_list.lock().unwrap().clone();
        let ended = crate::recover(&self.path("state"), &allow_list, now(), &|_| {}).await;
        ended.into_iter().map(|(_, report)| report.unwrap()).collect()
    }

    /// What is in place belongs together: the key signs for the leaf.
    pub(super) fn installed(&self) -> Material {
        Material::parse(&self.read("ssl/cert.pem"), &Secret::new(self.read("ssl/key.pem")), now()).unwrap()
    }

    /// Nothing is left behind where services look, and no deployment is open.
    pub(super) fn assert_clean(&self, ssl: &[&str]) {
        assert_eq!(self.list("ssl"), ssl);
        let state = self.list("state/targets/tgt-1");
        assert!(!state.iter().any(|name| name == "journal.jsonl" || name == "work"), "{state:?}");
    }

    pub(super) fn mode(&self, below: &str) -> (u32, u32, u32) {
        let metadata = fs::metadata(self.path(below)).unwrap();
        (metadata.permissions().mode() & 0o7777, metadata.uid(), metadata.gid())
    }
}

/// An owner that the test may give files to: another one for root, itself for anybody else.
pub(super) fn some_owner() -> (u32, u32) {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if uid.is_root() { (65534, 65534) } else { (uid.as_raw(), gid.as_raw()) }
}

/// A port below those that the system gives to clients, so that no connection of another test takes it meanwhile.
pub(super) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let port = 10_000 + (std::process::id() * 101 + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let port = u16::try_from(port).unwrap();
        if ["127.0.0.1", "127.0.0.2"].iter().all(|ip| TcpListener::bind((*ip, port)).is_ok()) {
            return port;
        }
    }
}

/// The certificate that a name gets at an address now.
pub(super) async fn served(address: &str, name: &str) -> Option<ProbeReport> {
    let question = Question { server_name: Some(name.to_owned()), key_kind: None, timeout: PATIENCE };
    probe(address.parse().unwrap(), &question).await.ok()
}

/// nginx with a prefix of its own; stopped when dropped.
pub(super) struct Nginx {
    child: Option<Child>,
    pub(super) prefix: PathBuf,
    pub(super) port: u16,
}

impl Nginx {
    /// Prepares a prefix whose http block has these servers; `{port}` and `{ssl}` are replaced.
    pub(super) fn prepare(stage: &Stage, servers: &str) -> Self {
        let nginx = Self { child: None, prefix: stage.path("nginx"), port: free_port() };
        fs::create_dir_all(nginx.prefix.join("conf/sites")).unwrap();
        fs::write(
            nginx.prefix.join("conf/nginx.conf"),
            "daemon off; worker_processes 2; pid nginx.pid; error_log error.log info;\n\
             events { worker_connections 64; }\n\
             http {\n  access_log access.log;\n  ssl_session_timeout 5m; ssl_session_cache shared:SSL:1m;\n\
             client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n\
             include sites/*.conf;\n}\n",
        )
        .unwrap();
        nginx.site(stage, servers);
        stage.allow(&nginx.argv(&["-t", "-c", "*"]));
        stage.allow(&nginx.argv(&["-s", "reload", "-c", &nginx.conf()]));
        nginx
    }

    /// Prepares and starts.
    pub(super) async fn start(stage: &Stage, servers: &str) -> Self {
        let mut nginx = Self::prepare(stage, servers);
        nginx.run().await;
        nginx
    }

    pub(super) fn site(&self, stage: &Stage, servers: &str) {
        let servers = servers.replace("{port}", &self.port.to_string()).replace("{ssl}", &stage.text("ssl"));
        fs::write(self.prefix.join("conf/sites/web.conf"), servers).unwrap();
    }

    pub(super) async fn run(&mut self) {
        let argv = self.argv(&["-c", &self.conf()]);
        let child = Command::new(&argv[0]).args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.expect("nginx (package nginx-light) must be installed"));
        let address = self.address();
        eventually("nginx listens", async || tokio::net::TcpStream::connect(&address).await.is_ok()).await;
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn conf(&self) -> String {
        self.prefix.join("conf/nginx.conf").to_str().unwrap().to_owned()
    }

    pub(super) fn argv(&self, args: &[&str]) -> Vec<String> {
        let prefix = format!("{}/", self.prefix.display());
        ["nginx", "-e", "stderr", "-p", &prefix].iter().chain(args).map(|arg| (*arg).to_owned()).collect()
    }

    /// Settings of a target for the pair below `ssl/`.
    pub(super) fn config(&self, stage: &Stage, more: Value) -> Value {
        let mut config = stage.pair(json!({
            "config_path": self.conf(),
            "test_command": self.argv(&["-t", "-c", "{config}"]),
            "reload_command": self.argv(&["-s", "reload", "-c", "{config}"]),
        }));
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    }

    pub(super) fn target(&self, stage: &Stage, more: Value) -> Box<dyn Target> {
        TARGETS.build("NGINX", self.config(stage, more)).unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // SIGTERM lets the master end its workers too.
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), nix::sys::signal::Signal::SIGTERM).unwrap();
            child.wait().unwrap();
        }
    }
}

/// Runs a test again as a child in mount and user name spaces of its own, where it may mount what it likes and leaves no trace.
/// `true` in the child.
pub(super) fn in_own_mounts(test: &str) -> bool {
    const MARK: &str = "CERTCTL_TEST_OWN_MOUNTS";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    // The child cannot remove what it mounted upon; when it has ended, we can.
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(MARK, "1")
        .env("TMPDIR", scratch.path())
        .output()
        .expect("unshare (package util-linux) must be installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    false
}

pub(super) fn mount(args: &[&str], at: &Path) {
    let output = Command::new("mount").args(args).arg(at).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
