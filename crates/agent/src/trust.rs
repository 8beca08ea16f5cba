//! Whom to trust to be the server: the machine's CAs, a file, or the one certificate whose SHA-256 was handed over with the token.

use std::path::Path;
use std::time::Duration;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::files::explain;
use certctl_connector_core::probe::{self, Question};
use certctl_domain::x509::Fingerprint;
use certctl_pki::certificate::Certificate;
use certctl_pki::chain::Chain;
use url::{Host, Url};

/// The CAs of a file.
///
/// # Errors
/// When it cannot be read or holds no certificate.
pub(crate) fn from_file(path: &Path) -> Result<String, ConnectorError> {
    let size = std::fs::metadata(path).map_err(|e| explain("read the CA file", path, e))?.len();
    if size > MAX_CA_FILE {
        return Err(ConnectorError::permanent(format!("the CA file {} is larger than 1 MiB", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(|e| explain("read the CA file", path, e))?;
    Chain::parse_pem(&text).map_err(|e| {
        ConnectorError::permanent(format!("the CA file {} cannot be used", path.display()))
            .hint("expected one or more CERTIFICATE blocks in PEM")
            .caused_by(e)
    })?;
    Ok(text)
}

/// The certificate with this SHA-256 among those that the server shows. The server has proven the key of the first of them;
/// that the first was issued by the pinned one is checked by the connection that follows, which trusts nothing else.
///
/// # Errors
/// When the server is not reached, or shows no such certificate.
pub(crate) async fn from_pin(server: &Url, pin: &Fingerprint) -> Result<String, ConnectorError> {
    let (address, server_name) = endpoint(server)?;
    let question = Question { server_name, key_kind: None, timeout: HANDSHAKE };
    let mut last = None;
    for (address, answer) in probe::probe_all(&address, &question).await? {
        match answer {
            Ok(report) => {
                let Some(at) = report.chain_fingerprints.iter().position(|fingerprint| fingerprint == pin) else {
                    let shown: Vec<_> = report.chain_fingerprints.iter().map(Fingerprint::as_str).collect();
                    last = Some(ConnectorError::permanent(format!(
                        "{address} shows no certificate with the SHA-256 {}: it shows {}",
                        pin.as_str(),
                        shown.join(", ")
                    ))
                    .hint("somebody may stand between this machine and the server; or the pin is old: compare it with what the server prints at its start"));
                    continue;
                };
                let der = report.chain.get(at).ok_or_else(|| ConnectorError::transient("the server's chain changed while it was read"))?;
                let pinned = Certificate::parse_der(der)
                    .map_err(|e| ConnectorError::permanent("the pinned certificate cannot be read").caused_by(e))?;
                return Ok(pinned.to_pem());
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| ConnectorError::transient(format!("{address} has no address"))))
}

fn endpoint(server: &Url) -> Result<(String, Option<String>), ConnectorError> {
    let port = server.port_or_known_default().unwrap_or(443);
    match server.host() {
        Some(Host::Domain(name)) => Ok((format!("{name}:{port}"), Some(name.to_owned()))),
        Some(Host::Ipv4(address)) => Ok((format!("{address}:{port}"), None)),
        Some(Host::Ipv6(address)) => Ok((format!("[{address}]:{port}"), None)),
        None => Err(ConnectorError::permanent(format!("`{server}` names no host")).hint("e.g. https://certctl.example.test:8443")),
    }
}

const HANDSHAKE: Duration = Duration::from_secs(10);
const MAX_CA_FILE: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_every_form_are_asked_for_by_name_where_they_have_one() {
        for (url, address, name) in [
            ("https://certctl.test", "certctl.test:443", Some("certctl.test")),
            ("https://10.0.0.1:8443", "10.0.0.1:8443", None),
            ("https://[::1]:8443/x", "[::1]:8443", None),
        ] {
            assert_eq!(endpoint(&url.parse().unwrap()).unwrap(), (address.to_owned(), name.map(str::to_owned)));
        }
    }

    #[test]
    fn a_ca_file_is_checked_before_it_is_trusted() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("ca.pem");
        assert!(from_file(&path).unwrap_err().to_string().contains("does not exist"));
        for text in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            crate::state::write_private(&path.canonicalize().unwrap_or(path.clone()), text.as_bytes()).unwrap();
            assert!(from_file(&path).unwrap_err().to_string().contains("cannot be used"), "{text}");
        }
        let ca = rcgen::generate_simple_self_signed(vec!["ca".into()]).unwrap().cert.pem();
        crate::state::write_private(&path, ca.as_bytes()).unwrap();
        assert_eq!(from_file(&path).unwrap(), ca);
    }
}
