//! What a server shows in a TLS handshake, seen by openssl.

use std::path::Path;

use certctl_testkit::{require_program, wait_for};

use super::{Home, LONG, command, fingerprint_of, run};

/// The certificate that a server showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    /// SHA-256 of its DER form, lower hex.
    pub(crate) fingerprint: String,
}

/// Asks for `name` by SNI and trusts anything; `None` when there was no handshake.
pub(crate) async fn served_at(home: &Home, port: u16, name: &str) -> Option<Served> {
    look(home, &["-connect", &format!("127.0.0.1:{port}"), "-servername", name]).await.ok()
}

/// Waits until a server shows the certificate with this fingerprint for `name`. nginx finishes handshakes with its old workers for a
/// moment after a reload.
pub(crate) async fn served(home: &Home, port: u16, name: &str, fingerprint: &str) {
    let what = format!("{name} at port {port} to be served with {fingerprint}");
    wait_for(&what, LONG, async || served_at(home, port, name).await.filter(|served| served.fingerprint == fingerprint)).await;
}

/// Asks for `name` by SNI and trusts only the authorities in a file; fails unless chain, name and validity hold.
pub(crate) async fn verified(home: &Home, port: u16, name: &str, authorities: &Path) -> Result<Served, String> {
    let address = format!("127.0.0.1:{port}");
    let mut words = vec!["-connect", &address, "-servername", name, "-verify_return_error", "-verify_hostname", name];
    words.extend(["-no-CApath", "-no-CAstore", "-CAfile", authorities.to_str().unwrap()]);
    look(home, &words).await
}

async fn look(home: &Home, words: &[&str]) -> Result<Served, String> {
    let session = run(command(home, require_program("openssl")).arg("s_client").args(words)).await;
    if session.code != Some(0) || !session.stdout.contains("-----BEGIN CERTIFICATE-----") {
        return Err(format!("{}{}", session.stdout, session.stderr));
    }
    Ok(Served { fingerprint: fingerprint_of(home, &session.stdout).await })
}
