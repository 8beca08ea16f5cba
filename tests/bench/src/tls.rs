//! One certificate for everybody who is measured, and the two ends of its connections, with the parameters of the product.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::failure::{Context as _, Result};
use crate::files;
use crate::process::{capture, command};

/// A certificate with its key (ECDSA P-256) and the CA that signed it, in files.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    ca: PathBuf,
}

impl Pair {
    /// Makes one for `localhost` and 127.0.0.1.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let pair = Self { certificate: folder.join("tls.pem"), key: folder.join("tls.key"), ca: folder.join("ca.pem") };
        let ca_key = folder.join("ca.key");
        let mut ca = command("openssl");
        ca.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=bench ca"]);
        capture(ca.arg("-keyout").arg(&ca_key).arg("-out").arg(&pair.ca))?;
        let mut leaf = command("openssl");
        leaf.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=localhost",
        ]);
        leaf.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:false"]);
        leaf.args(["-addext", "extendedKeyUsage=serverAuth"]).arg("-CA").arg(&pair.ca).arg("-CAkey").arg(&ca_key);
        capture(leaf.arg("-keyout").arg(&pair.key).arg("-out").arg(&pair.certificate))?;
        files::set_mode(&pair.key, 0o600)?;
        Ok(pair)
    }

    /// The client's end: HTTP/1.1 over TLS 1.3.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca).context("cannot read the CA")?).context("the CA is not usable")?;
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_protocol_versions(&[&TLS13]).context("no TLS 1.3")?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// The end of a bare server: the same versions, suites, tickets and protocols as the product offers.
pub(crate) fn server(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>> {
    let chain: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).context("cannot read the certificate")?.collect();
    let key = PrivateKeyDer::from_pem_file(key).context("cannot read the key")?;
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13]).context("no TLS 1.3")?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain.context("cannot read the certificate")?, key).context("the pair is not usable")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().context("no session tickets")?;
    Ok(Arc::new(config))
}
