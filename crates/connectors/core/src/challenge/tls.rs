//! A handshake for `acme-tls/1` and the name in question, and nothing else.

use std::sync::Arc;

use certctl_domain::time::Timestamp;
use certctl_domain::x509::San;
use certctl_pki::authority::{challenge_certificate, random_serial};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::server::Acceptor;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

use super::{Answers, identifier_of};
use crate::ConnectorError;

/// Why a handshake is not answered.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("the client is not there any more")]
    Gone(#[from] std::io::Error),
    #[error("the client does not ask for `acme-tls/1` and a name")]
    NoChallenge,
    #[error("nobody proves `{0}` here")]
    Unknown(String),
    #[error("the answer cannot be read")]
    Answers(#[from] ConnectorError),
    #[error("the certificate cannot be made")]
    Certificate(#[from] certctl_pki::authority::IssueError),
    #[error("there is no randomness for its serial number")]
    Random(#[from] certctl_pki::authority::RandomError),
    #[error("the key cannot be used")]
    Key(#[from] certctl_pki::key::KeyError),
    #[error("the key cannot be read again")]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error("the handshake cannot be answered")]
    Tls(#[from] rustls::Error),
}

pub(super) async fn connection(stream: TcpStream, answers: Arc<dyn Answers>) {
    match answer(stream, &*answers).await {
        Ok(()) => {}
        // Anybody may ask for anything.
        Err(error @ (Unanswered::Gone(_) | Unanswered::NoChallenge | Unanswered::Unknown(_))) => {
            tracing::debug!(%error, "a client of the TLS challenges was not answered");
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "a TLS challenge cannot be answered");
        }
    }
}

/// One handshake. What the CA wants to see is in it; nothing is said afterwards (RFC 8737 section 3).
async fn answer(stream: TcpStream, answers: &dyn Answers) -> Result<(), Unanswered> {
    let asked = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let hello = asked.client_hello();
    let for_a_challenge = hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == PROTOCOL));
    let name = hello.server_name().filter(|_| for_a_challenge).ok_or(Unanswered::NoChallenge)?.to_ascii_lowercase();
    let Some((identifier, key_authorization)) = identifier_of(&name).zip(answers.over_tls(&name).await?) else {
        return Err(Unanswered::Unknown(name));
    };
    asked.into_stream(Arc::new(config(&identifier, &key_authorization, answers.now())?)).await?;
    Ok(())
}

fn config(identifier: &San, key_authorization: &str, now: Timestamp) -> Result<ServerConfig, Unanswered> {
    let (certificate, key) = challenge_certificate(identifier, key_authorization, &random_serial()?, now)?;
    let key = PrivateKeyDer::from_pem_slice(key.to_pkcs8_pem()?.expose().as_bytes())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    // Not `with_single_cert`, which refuses critical extensions that it does not know, such as this one's.
    let shown = CertifiedKey::new(vec![CertificateDer::from(certificate.der().to_vec())], provider.key_provider.load_private_key(key)?);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

/// RFC 8737 section 6.2.
const PROTOCOL: &[u8] = b"acme-tls/1";
