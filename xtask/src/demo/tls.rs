//! A witness of its own: asks a server by TLS handshake which certificate it serves, with openssl, which shares no code with certctl.

use std::net::SocketAddr;
use std::path::Path;

use crate::failure::Failure;
use crate::process::{capture, command, filter};

/// The certificate that a server showed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Served {
    /// SHA-256 of its DER form, lower hex, as certctl writes it.
    pub(crate) fingerprint: String,
    /// Its subject, as openssl prints it.
    pub(crate) subject: String,
    /// The end of its validity, as openssl prints it.
    pub(crate) not_after: String,
}

/// Makes a handshake for `name` and trusts only the authorities in `trusted`; fails unless chain, name and validity hold.
pub(crate) fn verified(address: SocketAddr, name: &str, trusted: &Path) -> Result<Served, Failure> {
    let mut client = client(address, name);
    client.args(["-verify_return_error", "-verify_hostname", name, "-no-CApath", "-no-CAstore", "-CAfile"]).arg(trusted);
    look_at(&capture(&mut client)?)
}

/// Makes a handshake for `name` and trusts anything.
pub(crate) fn unverified(address: SocketAddr, name: &str) -> Result<Served, Failure> {
    look_at(&capture(&mut client(address, name))?)
}

fn client(address: SocketAddr, name: &str) -> std::process::Command {
    let mut client = command("openssl");
    client.args(["s_client", "-connect", &address.to_string(), "-servername", name]);
    client
}

fn look_at(session: &str) -> Result<Served, Failure> {
    let mut look = command("openssl");
    look.args(["x509", "-noout", "-fingerprint", "-sha256", "-subject", "-enddate"]);
    let text = filter(&mut look, session).map_err(|error| Failure::new("the server showed no certificate").because(error))?;
    let value = |key: &str| {
        let found = text.lines().find_map(|line| line.to_lowercase().starts_with(key).then(|| line.split_once('='))?);
        found.map(|(_, value)| value.trim().to_owned()).ok_or_else(|| Failure::new(format!("openssl said nothing about {key}")))
    };
    let fingerprint = value("sha256 fingerprint")?.replace(':', "").to_lowercase();
    Ok(Served { fingerprint, subject: value("subject")?, not_after: value("notafter")? })
}
