//! Check sums of everything, their signature, and the script that installs the agent and looks at both.
//!
//! ECDSA on P-256 over SHA-256, made and checked by `openssl dgst`: openssl is on every host that has CA certificates to download with, in
//! every version that hosts still have. Ed25519 needs OpenSSL 3 on the command line, minisign and cosign have to be installed first.

use std::path::Path;

use crate::failure::Failure;
use crate::files;
use crate::process::{capture, command};

use super::{Release, names_in};

/// Writes `SHA256SUMS`.
pub(super) fn sums(release: &Release) -> Result<(), Failure> {
    let sums = capture(command("sha256sum").current_dir(&release.out).arg("--").args(names_in(&release.out)?))?;
    files::write(&release.out.join(SUMS), &sums)
}

/// Writes `SHA256SUMS.sig`, and sees that it can be checked.
pub(super) fn sign(release: &Release, key: &Path) -> Result<(), Failure> {
    let (sums, signature) = (release.out.join(SUMS), release.out.join(SIGNATURE));
    capture(command("openssl").args(["dgst", "-sha256", "-sign"]).arg(key).arg("-out").arg(&signature).arg(&sums))?;
    let public = release.out.join(".public");
    files::write(&public, &public_key(key)?)?;
    let mut check = command("openssl");
    check.args(["dgst", "-sha256", "-verify"]).arg(&public).arg("-signature").arg(&signature).arg(&sums);
    let checked = capture(&mut check);
    super::remove_file(&public)?;
    checked.map(drop)
}

/// Writes `install-agent.sh` with the version, the place and the public key of this release in it.
pub(super) fn script(release: &Release, key: &Path, published_at: Option<&str>) -> Result<(), Failure> {
    if published_at.is_some_and(|url| !url.starts_with("https://")) {
        return Err(Failure::new("a release is published by https alone").hint("--published-at https://HOST/FOLDER"));
    }
    let text = files::read(&release.root.join("deploy/install/install-agent.sh"))?;
    let filled = [
        ("version=''", format!("version='{}'", release.version)),
        ("from=''", format!("from='{}'", published_at.unwrap_or_default())),
        ("public_key=''", format!("public_key='{}'", public_key(key)?.trim())),
    ];
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (place, value) in filled {
        let line = lines.iter_mut().find(|line| *line == place);
        *line.ok_or_else(|| Failure::new(format!("install-agent.sh has no line `{place}`")))? = value;
    }
    let path = release.out.join("install-agent.sh");
    files::write(&path, &format!("{}\n", lines.join("\n")))?;
    super::packages::make_runnable(&path)
}

/// The public half, refused when it is of another kind than hosts check.
fn public_key(key: &Path) -> Result<String, Failure> {
    let about = capture(command("openssl").args(["pkey", "-noout", "-text_pub", "-in"]).arg(key))?;
    if !about.contains("prime256v1") {
        let failure = Failure::new(format!("{} is no ECDSA key on P-256", key.display()));
        return Err(failure.hint("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out release.key"));
    }
    capture(command("openssl").args(["pkey", "-pubout", "-in"]).arg(key))
}

const SUMS: &str = "SHA256SUMS";
const SIGNATURE: &str = "SHA256SUMS.sig";
