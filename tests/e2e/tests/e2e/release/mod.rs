//! What `cargo xtask release` makes, from the programs of these tests: that it is the same each time, that packages go on a machine and off it
//! again, and that the script which installs the agent takes nothing that was not signed.

mod install;
mod packages;

use std::path::{Path, PathBuf};

use certctl_testkit::require_program;
use tokio::sync::OnceCell;

use crate::harness::{Home, command, in_repository, names_in, product, read, run};

/// A release of this test run, made once.
pub(super) struct Release {
    pub(super) folder: PathBuf,
    /// The public key of its makers.
    pub(super) public_key: PathBuf,
    version: String,
}

impl Release {
    pub(super) async fn made() -> &'static Self {
        MADE.get_or_init(async || {
            let home = Home::new();
            let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("release");
            std::fs::create_dir_all(&place).unwrap();
            let (key, public_key) = (place.join("release.key"), place.join("release.pub"));
            new_key(&home, "P-256", &key).await;
            let openssl = require_program("openssl");
            run(command(&home, openssl).args(["pkey", "-pubout", "-in"]).arg(&key).arg("-out").arg(&public_key)).await.ok();
            let folder = place.join("files");
            release(&home, &folder, &key).await;
            Self { folder, public_key, version: env!("CARGO_PKG_VERSION").to_owned() }
        })
        .await
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name.replace("VERSION", &self.version).replace("ARCH", architecture()))
    }
}

#[tokio::test]
async fn packing_again_gives_the_same_bytes() {
    let first = Release::made().await;
    let home = Home::new();
    let again = home.join("again");
    release(&home, &again, &first.folder.with_file_name("release.key")).await;
    let names = names_in(&first.folder);
    assert_eq!(names, names_in(&again));
    for name in names.iter().filter(|name| *name != "SHA256SUMS.sig") {
        assert!(std::fs::read(first.folder.join(name)).unwrap() == std::fs::read(again.join(name)).unwrap(), "{name} differs");
    }

    // Every file but these two is in the list, and the list is signed.
    let mut check = command(&home, require_program("sha256sum"));
    let checked = run(check.current_dir(&again).args(["--check", "--strict", "SHA256SUMS"])).await.ok();
    assert_eq!(checked.lines().count(), names.len() - 2, "{checked}");
    let mut verify = command(&home, require_program("openssl"));
    verify
        .current_dir(&again)
        .args(["dgst", "-sha256", "-signature", "SHA256SUMS.sig", "-verify"])
        .arg(&first.public_key)
        .arg("SHA256SUMS");
    run(&mut verify).await.ok();
    let images = read(&again.join("images.txt"));
    assert!(images.starts_with(&format!("registry.example.test/tools/certctl-server:{}\n", first.version)), "{images}");

    // The archive has programs that run, and nothing that belongs to somebody.
    run(command(&home, require_program("tar")).args(["xzf"]).arg(first.file("certctl-VERSION-linux-ARCH.tar.gz"))).await.ok();
    let inside = home.join(&format!("certctl-{}-linux-{}", first.version, architecture()));
    for program in ["certctl-server", "certctl-agent", "certctl"] {
        let told = run(command(&home, inside.join("bin").join(program)).arg("--version")).await.ok();
        assert_eq!(told.trim(), format!("{program} {}", first.version));
    }
}

#[tokio::test]
async fn bills_list_what_is_compiled_in() {
    let made = Release::made().await;
    let bill = |name: &str| -> serde_json::Value { serde_json::from_str(&read(&made.file(&format!("{name}-VERSION.cdx.json")))).unwrap() };
    let lock = read(&in_repository("Cargo.lock"));
    for (name, has, lacks) in
        [("certctl-server", "sqlx", "comfy-table"), ("certctl-agent", "rustls", "sqlx"), ("certctl", "comfy-table", "sqlx")]
    {
        let bill = bill(name);
        assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
        let components = bill["components"].as_array().unwrap();
        let named = |wanted: &str| components.iter().any(|one| one["name"] == wanted);
        assert!(named(has) && !named(lacks) && !named("proptest"), "{name}");
        for one in components {
            assert!(!one["licenses"][0]["expression"].as_str().unwrap().is_empty(), "{one}");
            let ours = one["name"].as_str().unwrap().starts_with("certctl-");
            assert!(ours || lock.contains(&format!("checksum = {}", one["hashes"][0]["content"])), "{one}");
        }
        // Whoever is used is listed.
        let known: Vec<&str> = bill["dependencies"].as_array().unwrap().iter().map(|one| one["ref"].as_str().unwrap()).collect();
        for used in bill["dependencies"].as_array().unwrap().iter().flat_map(|one| one["dependsOn"].as_array().unwrap()) {
            assert!(known.contains(&used.as_str().unwrap()), "{used}");
        }
    }
}

#[tokio::test]
async fn what_hosts_cannot_check_does_not_sign() {
    let home = Home::new();
    let key = home.join("other.key");
    new_key(&home, "P-384", &key).await;
    let mut cargo = xtask(&home, &home.join("out"), &key);
    run(&mut cargo).await.ends(1).says(&["no ECDSA key on P-256", "hint:"]);
    // A folder with files of somebody in it is left alone.
    home.write("mine/letter", "dear");
    let mut cargo = xtask(&home, &home.join("mine"), &key);
    run(&mut cargo).await.ends(1).says(&["has files of others"]);
    assert_eq!(names_in(&home.join("mine")), ["letter"]);
}

/// Makes one of the programs beside the tests.
async fn release(home: &Home, out: &Path, key: &Path) {
    run(&mut xtask(home, out, key)).await.ok();
}

fn xtask(home: &Home, out: &Path, key: &Path) -> tokio::process::Command {
    let mut xtask = command(home, product("xtask"));
    for name in ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR"] {
        if let Some(value) = std::env::var_os(name) {
            xtask.env(name, value);
        }
    }
    xtask.env("HOME", std::env::home_dir().unwrap()).env("SOURCE_DATE_EPOCH", "1700000000").current_dir(in_repository(""));
    xtask.args(["release", "--quick", "--registry", "registry.example.test/tools", "--programs"]).arg(product("certctl").parent().unwrap());
    xtask.args(["--published-at", "https://releases.example.test/here", "--sign-with"]).arg(key).arg("--out").arg(out);
    xtask
}

async fn new_key(home: &Home, curve: &str, file: &Path) {
    let curve = format!("ec_paramgen_curve:{curve}");
    let mut openssl = command(home, require_program("openssl"));
    run(openssl.args(["genpkey", "-algorithm", "EC", "-pkeyopt", &curve, "-out"]).arg(file)).await.ok();
}

/// As Debian names it.
fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

static MADE: OnceCell<Release> = OnceCell::const_new();
