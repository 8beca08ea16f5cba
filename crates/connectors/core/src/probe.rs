//! The only TLS prober: which certificate does an address serve for a name?
//!
//! Whether the certificate is to be trusted is not asked; whoever answers must prove that it has the certificate's key.

mod accept_any;
pub mod https;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use certctl_domain::x509::Fingerprint;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;

use self::accept_any::AcceptAny;
pub use self::accept_any::KeyKind;
use crate::ConnectorError;

/// What to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Name sent in the handshake (SNI, RFC 6066 section 3). `None` sends none.
    pub server_name: Option<String>,
    /// Accept signatures of this kind of key alone, so that a server with several certificates shows the one of that kind.
    pub key_kind: Option<KeyKind>,
    /// For connecting and the handshake together.
    pub timeout: Duration,
}

/// What an address served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Who answered.
    pub address: SocketAddr,
    /// The name that was asked for.
    pub server_name: Option<String>,
    /// SHA-256 of the leaf certificate.
    pub leaf_fingerprint: Fingerprint,
    /// SHA-256 of every certificate that was sent, leaf first.
    pub chain_fingerprints: Vec<Fingerprint>,
    /// The kind of the leaf's key.
    pub key_kind: Option<KeyKind>,
    /// The certificates in DER, leaf first.
    #[serde(skip)]
    pub chain: Vec<Vec<u8>>,
    /// `TLSv1_3` or `TLSv1_2`.
    pub tls_version: Option<String>,
    /// IANA name of the cipher suite.
    pub cipher: Option<String>,
    /// Milliseconds from connecting to the end of the handshake.
    pub handshake_ms: u64,
    /// The server showed its certificate, then ended the handshake: it asks clients for a certificate of their own.
    pub wants_client_certificate: bool,
}

/// Asks one address.
///
/// # Errors
/// When nobody answers in time, the answer is not TLS 1.2 or 1.3, no certificate is shown, or its key is not proven.
pub async fn probe(address: SocketAddr, question: &Question) -> Result<ProbeReport, ConnectorError> {
    let label = question.server_name.as_ref().map_or_else(|| address.to_string(), |name| format!("{address} ({name})"));
    match timeout(question.timeout, shake_hands(address, question, &label)).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(ConnectorError::transient(format!("{label}: no answer within {:?}", question.timeout))
            .hint("is the service running, and does a firewall drop the connection?")),
    }
}

/// Asks every address that `host:port` resolves to, all at once.
///
/// # Errors
/// When the name does not resolve. What single addresses answered is in the list.
pub async fn probe_all(
    address: &str,
    question: &Question,
) -> Result<Vec<(SocketAddr, Result<ProbeReport, ConnectorError>)>, ConnectorError> {
    let mut addresses = resolve(address, question.timeout).await?;
    addresses.truncate(MAX_ADDRESSES);
    let mut asked = JoinSet::new();
    for address in addresses {
        let question = question.clone();
        asked.spawn(async move { (address, probe(address, &question).await) });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(address, _)| *address);
    Ok(answers)
}

/// The addresses behind `host:port`.
///
/// # Errors
/// When there are none.
pub async fn resolve(address: &str, limit: Duration) -> Result<Vec<SocketAddr>, ConnectorError> {
    let fail = |why: &str| {
        ConnectorError::transient(format!("cannot resolve `{address}`: {why}"))
            .hint("give host:port, e.g. 127.0.0.1:443 or web.example.test:443")
    };
    let found = timeout(limit, lookup_host(address)).await.map_err(|_| fail("no answer in time"))?;
    let mut addresses: Vec<_> = found.map_err(|e| fail("the name is not known").caused_by(e))?.collect();
    addresses.sort();
    addresses.dedup();
    if addresses.is_empty() { Err(fail("it has no address")) } else { Ok(addresses) }
}

const MAX_ADDRESSES: usize = 16;
const NOT_MODERN: &str = "only TLS 1.2 and 1.3 are spoken here; check that the port speaks TLS at once (no STARTTLS, no PROXY protocol)";

/// The outcome of a handshake, and the verifier that saw it.
struct Connected {
    stream: std::io::Result<TlsStream<TcpStream>>,
    verifier: Arc<AcceptAny>,
    handshake_ms: u64,
}

async fn connect(address: SocketAddr, question: &Question, label: &str) -> Result<Connected, ConnectorError> {
    let fail = |what: &str| ConnectorError::transient(format!("{label}: {what}"));
    let name = match &question.server_name {
        // An IP address as server name is never sent (RFC 6066 section 3).
        None => ServerName::from(address.ip()),
        Some(name) => ServerName::try_from(name.clone()).map_err(|e| fail("the server name is not a DNS name").caused_by(e))?,
    };
    let verifier = Arc::new(AcceptAny::new(question.key_kind));
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| fail("TLS is not available").caused_by(e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
        .with_no_client_auth();
    // A resumed session shows the certificate of the first one.
    config.resumption = Resumption::disabled();

    let started = Instant::now();
    let tcp = TcpStream::connect(address).await.map_err(|e| fail("cannot connect").hint("is the service running?").caused_by(e))?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
    Ok(Connected { stream, verifier, handshake_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX) })
}

async fn shake_hands(address: SocketAddr, question: &Question, label: &str) -> Result<ProbeReport, ConnectorError> {
    let fail = |what: &str| ConnectorError::transient(format!("{label}: {what}"));
    let Connected { stream: answer, verifier, handshake_ms } = connect(address, question, label).await?;

    // A server that asks for a client certificate ends the handshake only after it has proven its own.
    let chain = verifier.proven().unwrap_or_default();
    let (Some(leaf), chain_fingerprints) = (chain.first(), chain.iter().map(fingerprint).collect()) else {
        return Err(match answer {
            Err(error) => fail("the TLS handshake failed").hint(NOT_MODERN).caused_by(error),
            Ok(_) => fail("the server showed no certificate"),
        });
    };
    let connection = answer.as_ref().ok().map(|stream| stream.get_ref().1);
    Ok(ProbeReport {
        address,
        server_name: question.server_name.clone(),
        leaf_fingerprint: fingerprint(leaf),
        chain_fingerprints,
        key_kind: KeyKind::of(leaf),
        tls_version: connection.and_then(|c| c.protocol_version()?.as_str().map(str::to_owned)),
        cipher: connection.and_then(|c| c.negotiated_cipher_suite()?.suite().as_str().map(str::to_owned)),
        handshake_ms,
        wants_client_certificate: answer.is_err(),
        chain: chain.iter().map(|der| der.as_ref().to_vec()).collect(),
    })
}

/// SHA-256 of a certificate's DER.
#[must_use]
pub fn fingerprint(der: &CertificateDer<'_>) -> Fingerprint {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    Fingerprint::from_bytes(&bytes)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files, tasks and processes")]
mod tests;
