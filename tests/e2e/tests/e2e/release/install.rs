//! `install-agent.sh` on a machine of its own: `/usr`, `/etc` and `/var` are those of this machine, and what is written goes elsewhere.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certctl_testkit::{Engine, require_program};
use nix::sys::signal::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Release, architecture};
use crate::harness::{Gate, Home, Nginx, Process, Ran, World, command, free_port, names_in, read, run, write_script};

/// A machine without an agent, and a place that has a release.
struct Machine {
    /// Ends before its folder goes.
    nginx: Nginx,
    home: Arc<Home>,
    /// What is published.
    files: PathBuf,
    /// Where.
    port: u16,
    version: &'static str,
}

impl Machine {
    async fn new(home: &Arc<Home>) -> Self {
        let made = Release::made().await;
        let files = home.join("www");
        std::fs::create_dir(&files).unwrap();
        let archive = format!("certctl-agent-{}-linux-{}.tar.gz", made.version, architecture());
        for name in ["SHA256SUMS", "SHA256SUMS.sig", "install-agent.sh", &archive] {
            std::fs::copy(made.folder.join(name), files.join(name)).unwrap();
        }
        for folder in [home.path(), &files] {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let port = free_port();
        let nginx = Nginx::publishing(home, &["localhost"], (&files, port)).await;
        Self { home: Arc::clone(home), files, port, nginx, version: &made.version }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    fn archive(&self) -> PathBuf {
        self.files.join(format!("certctl-agent-{}-linux-{}.tar.gz", self.version, architecture()))
    }

    /// A path as this machine has it once something was written there.
    fn path(&self, inside: &str) -> PathBuf {
        let mut parts = inside.trim_start_matches('/').splitn(2, '/');
        self.home.join("machine").join(parts.next().unwrap()).join("upper").join(parts.next().unwrap())
    }

    /// The words that run the published script there, with this in front of `PATH`.
    fn words(&self, path: &Path, from: &str, more: &[&str]) -> Vec<String> {
        let root = nix::unistd::geteuid().is_root();
        let mut script = vec![format!("mkdir -p {0}/tmp", self.home.join("machine").display())];
        for folder in ["usr", "etc", "var"] {
            let (upper, work) = (self.path(&format!("/{folder}/")), self.home.join("machine").join(folder).join("work"));
            let (upper, work) = (upper.display(), work.display());
            let options = if root { "" } else { ",userxattr" };
            script.push(format!("mkdir -p {upper} {work}"));
            script.push(format!("mount -t overlay overlay -o lowerdir=/{folder},upperdir={upper},workdir={work}{options} /{folder}"));
        }
        // No service manager of this machine is to hear of it.
        script.push("mount -t tmpfs tmpfs /run".to_owned());
        script.push(format!("export PATH={}:$PATH TMPDIR={}/tmp\nexec \"$0\" \"$@\"", path.display(), self.home.join("machine").display()));
        let mut words = vec![require_program("unshare").to_str().unwrap().to_owned()];
        if !root {
            words.extend(["--map-root-user", "--map-auto"].map(str::to_owned));
        }
        words.extend(["--mount", "--", "sh", "-ec", &script.join("\n"), "sh"].map(str::to_owned));
        words.push(self.files.join("install-agent.sh").to_str().unwrap().to_owned());
        let certificate = self.nginx.certificate("localhost");
        words.extend(["--from", from, "--cacert", certificate.to_str().unwrap()].map(str::to_owned));
        words.extend(more.iter().map(ToString::to_string));
        words
    }

    async fn install_from(&self, from: &str, more: &[&str]) -> Ran {
        let words = self.words(Path::new("/usr/bin"), from, more);
        run(command(&self.home, &words[0]).args(&words[1..])).await
    }

    async fn install(&self, more: &[&str]) -> Ran {
        self.install_from(&self.url(), more).await
    }

    /// Nothing of an agent is there, not even in part.
    fn is_bare(&self) {
        for folder in ["/usr/bin/", "/etc/systemd/system/", "/etc/certctl-agent/"] {
            let left = names_in(&self.path(folder));
            assert!(left.is_empty(), "{folder} has {left:?}");
        }
        assert!(names_in(&self.home.join("machine/tmp")).is_empty(), "what was fetched is thrown away");
    }

    fn is_installed(&self) {
        assert_eq!(names_in(&self.path("/usr/bin/")), ["certctl-agent"]);
        assert_eq!(names_in(&self.path("/etc/systemd/system/")), ["certctl-agent.service"]);
        assert_eq!(self.path("/usr/bin/certctl-agent").metadata().unwrap().permissions().mode() & 0o777, 0o755);
    }
}

#[tokio::test]
async fn an_agent_is_installed_enrolled_and_removed() {
    let world = World::open(Engine::Sqlite).await;
    let machine = Machine::new(&world.home).await;
    let token = crate::harness::token(&world.home, &world.cli, "web-1").await;
    let file = world.home.write("token", &token);
    let (server, ca) = (world.server.url(), world.server.ca_file());
    let enroll = ["--server", &server, "--ca", ca.to_str().unwrap(), "--token-file", file.to_str().unwrap()];

    machine.install(&[&enroll[..], &["--dry-run"]].concat()).await.says(&["would install"]).ok();
    machine.is_bare();
    machine.install(&enroll).await.ok();
    machine.is_installed();
    let identity = machine.path("/var/lib/certctl-agent/identity.json");
    assert_eq!(identity.metadata().unwrap().permissions().mode() & 0o077, 0);
    let shown = world.cli.json(&["agents", "get", "web-1"]).await;
    assert_eq!(shown["name"], "web-1");
    let before = read(&identity);
    world.home.plant_key(serde_json::from_str::<serde_json::Value>(&before).unwrap()["credential"].as_str().unwrap());

    // Again: nothing changes, and the token, which is used up, is not missed.
    machine.install(&enroll).await.says(&["unchanged", "enrolled already"]).ok();
    assert_eq!(read(&identity), before);
    machine.is_installed();

    machine.install(&["--uninstall"]).await.ok();
    assert!(identity.exists(), "identity and keys stay");
    for gone in ["/usr/bin/certctl-agent", "/etc/systemd/system/certctl-agent.service"] {
        assert!(!machine.path(gone).exists(), "{gone}");
    }
    machine.install(&["--uninstall"]).await.ok();
}

#[tokio::test]
async fn nothing_but_the_signed_release_is_installed() {
    let machine = Machine::new(&Arc::new(Home::new())).await;
    let archive = machine.archive();
    let good = std::fs::read(&archive).unwrap();
    let refused = async |code: i32, words: &[&str]| {
        machine.install(&[]).await.ends(code).says(words);
        machine.is_bare();
    };

    // One bit of the archive, or half of it.
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    std::fs::write(&archive, &flipped).unwrap();
    refused(3, &["not what its makers signed"]).await;
    std::fs::write(&archive, &good[..good.len() / 2]).unwrap();
    refused(3, &["not what its makers signed"]).await;
    std::fs::write(&archive, &flipped).unwrap();

    // A list that goes with the changed archive, under the old signature, and under that of somebody else.
    let (sums, signature) = (machine.files.join("SHA256SUMS"), machine.files.join("SHA256SUMS.sig"));
    let (good_sums, good_signature) = (read(&sums), std::fs::read(&signature).unwrap());
    let sum =
        run(command(&machine.home, require_program("sha256sum")).current_dir(&machine.files).arg(archive.file_name().unwrap())).await.ok();
    std::fs::write(&sums, &sum).unwrap();
    refused(3, &["not signed by the key"]).await;
    let key = machine.home.join("other.key");
    super::new_key(&machine.home, "P-256", &key).await;
    let mut sign = command(&machine.home, require_program("openssl"));
    run(sign.args(["dgst", "-sha256", "-sign"]).arg(&key).arg("-out").arg(&signature).arg(&sums)).await.ok();
    refused(3, &["not signed by the key"]).await;
    std::fs::write(&signature, b"").unwrap();
    refused(3, &["not signed by the key"]).await;
    std::fs::remove_file(&signature).unwrap();
    refused(1, &["cannot fetch"]).await;

    // A list that is signed and names another release.
    std::fs::write(&sums, &good_sums).unwrap();
    std::fs::write(&signature, &good_signature).unwrap();
    std::fs::write(&archive, &good).unwrap();
    machine.install(&["--version", "0.0.9"]).await.ends(3).says(&["the signed list has no certctl-agent-0.0.9"]);
    machine.is_bare();
    machine.install(&[]).await.ok();
    machine.is_installed();
}

#[tokio::test]
async fn only_https_and_only_machines_that_there_is_a_release_for() {
    let machine = Machine::new(&Arc::new(Home::new())).await;
    machine.install_from(&format!("http://localhost:{}", machine.port), &[]).await.ends(2).says(&["by https alone"]);
    machine.install_from(&format!("https://localhost:{}/plain", machine.port), &[]).await.ends(1).says(&["cannot fetch"]);
    // A server whose certificate is not trusted.
    machine.install(&["--cacert", "/etc/ssl/certs/ca-certificates.crt"]).await.ends(1).says(&["cannot fetch"]);
    for wrong in
        [&["--token-file", "/no/such/file"][..], &["--server", "https://x:1"], &["--frm", "x"], &["--version", "../1"], &["--from"]]
    {
        machine.install(wrong).await.ends(2);
    }
    machine.is_bare();

    for (kind, code, words) in [("riscv64", 1, "no release for Linux on riscv64"), ("aarch64", 3, "the signed list has no")] {
        let kind = if kind == "aarch64" && architecture() == "arm64" { "x86_64" } else { kind };
        let bin = machine.home.join(kind);
        write_script(&bin.join("uname"), &format!("case $1 in -m) echo {kind} ;; *) echo Linux ;; esac"));
        let all = machine.words(&bin, &machine.url(), &[]);
        run(command(&machine.home, &all[0]).args(&all[1..])).await.ends(code).says(&[words]);
        machine.is_bare();
    }
}

#[tokio::test]
async fn what_was_cut_off_or_killed_is_made_good_by_the_next_run() {
    let machine = Machine::new(&Arc::new(Home::new())).await;
    let size = std::fs::metadata(machine.archive()).unwrap().len();
    let mut wires = JoinSet::new();
    let cut = cut_after(machine.port, size / 2, &mut wires).await;
    machine.install_from(&format!("https://localhost:{cut}"), &[]).await.ends(1).says(&["cannot fetch"]);
    machine.is_bare();

    // Killed when the new program lies beside its place, and is not there yet.
    let gate = Gate::before(&machine.home, "gate", &require_program("sync"));
    let bin = machine.home.join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(&gate.script, bin.join("sync")).unwrap();
    let words = machine.words(&bin, &machine.url(), &[]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut process = Process::start(&machine.home, "install", &words, Signal::SIGKILL, |_| {});
    gate.reached().await;
    process.kill().await;
    let left = names_in(&machine.path("/usr/bin/"));
    assert!(matches!(&left[..], [one] if one.starts_with("certctl-agent.new.")), "{left:?}");
    drop(process);
    machine.install(&[]).await.ok();
    machine.is_installed();
    // The program that it found is not replaced by one that is damaged.
    let before = std::fs::read(machine.path("/usr/bin/certctl-agent")).unwrap();
    std::fs::write(machine.archive(), b"other").unwrap();
    machine.install(&[]).await.ends(3);
    assert!(std::fs::read(machine.path("/usr/bin/certctl-agent")).unwrap() == before);
    machine.is_installed();
}

#[tokio::test]
async fn a_script_without_a_key_trusts_nobody() {
    let home = Home::new();
    let script = crate::harness::in_repository("deploy/install/install-agent.sh");
    let ask = async |more: &[&str]| {
        let words = [&["--from", "https://localhost:1", "--version", "1.0.0", "--root", "/nowhere"], more].concat();
        run(command(&home, require_program("sh")).arg(&script).args(words)).await
    };
    ask(&[]).await.ends(2).says(&["no key to check a release with"]);
    let made = Release::made().await;
    ask(&["--public-key", made.public_key.to_str().unwrap()]).await.ends(1).says(&["cannot fetch"]);
    let lint = run(command(&home, require_program("shellcheck")).arg(&script)).await;
    assert_eq!(lint.code, Some(0), "{}", lint.stdout);
    let filled = run(command(&home, require_program("shellcheck")).arg(made.file("install-agent.sh"))).await;
    assert_eq!(filled.code, Some(0), "{}", filled.stdout);
}

/// A port that leads to another one, until this much has come back on a connection.
async fn cut_after(port: u16, bytes: u64, tasks: &mut JoinSet<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            open.spawn(async move {
                let ((mut from_near, mut to_near), (from_far, mut to_far)) = (near.into_split(), far.into_split());
                let mut from_far = from_far.take(bytes);
                tokio::select! {
                    _ = tokio::io::copy(&mut from_near, &mut to_far) => {}
                    _ = tokio::io::copy(&mut from_far, &mut to_near) => {}
                }
            });
        }
    });
    taken
}
