//! A small TLS server for demonstrations: serves one certificate, and the new one as soon as its files have changed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use certctl_connector_core::ConnectorError;
use certctl_connector_core::files::explain;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// The files of the pair that is served.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// A listening TLS server.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    config: Arc<ServerConfig>,
    pair: Arc<Pair>,
}

impl Listener {
    /// Loads the pair and listens.
    pub(crate) async fn bind(address: SocketAddr, files: Files) -> Result<Self, ConnectorError> {
        let seen = files.marks();
        let served = files.load()?;
        let pair = Arc::new(Pair { files, served: Mutex::new(Loaded { served, seen }) });
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| ConnectorError::permanent("TLS is not available").caused_by(e))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&pair) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let socket = TcpListener::bind(address).await.map_err(|e| {
            ConnectorError::permanent(format!("cannot listen on {address}"))
                .hint("is another program listening there? Port 0 takes a free one")
                .caused_by(e)
        })?;
        Ok(Self { socket, config: Arc::new(config), pair })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Result<SocketAddr, ConnectorError> {
        self.socket.local_addr().map_err(|e| ConnectorError::transient("the listener has no address").caused_by(e))
    }

    /// Loads the pair anew; one that does not fit together is not taken.
    pub(crate) fn reload(&self) {
        self.pair.reload();
    }

    /// Serves until told to stop.
    pub(crate) async fn serve(&self, stop: &CancellationToken) {
        let mut connections = JoinSet::new();
        // Not a sleep in the loop: connections that come fast would begin it anew each time.
        let mut look = interval(LOOK);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = look.tick() => self.pair.reload_if_changed(),
                Some(_) = connections.join_next() => {}
                accepted = self.socket.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                    Ok((tcp, _)) => {
                        connections.spawn(answer(TlsAcceptor::from(Arc::clone(&self.config)), tcp));
                    }
                    Err(error) => tracing::warn!(%error, "a connection was not accepted"),
                }
            }
        }
    }
}

#[derive(Debug)]
struct Pair {
    files: Files,
    served: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    served: Arc<CertifiedKey>,
    seen: Marks,
}

/// By what a file is known to have changed: a deployment replaces it, so its time and length may be the same.
type Marks = [Option<(SystemTime, u64, u64)>; 2];

impl Files {
    fn marks(&self) -> Marks {
        use std::os::unix::fs::MetadataExt as _;
        let mark = |path: &Path| path.metadata().and_then(|m| Ok((m.modified()?, m.ino(), m.len()))).ok();
        [mark(&self.certificate), mark(&self.key)]
    }

    fn load(&self) -> Result<Arc<CertifiedKey>, ConnectorError> {
        let bad = |path: &Path, why: &str| ConnectorError::permanent(format!("{} cannot be served: {why}", path.display()));
        let chain_pem = std::fs::read(&self.certificate).map_err(|e| explain("read", &self.certificate, e))?;
        let key_pem = zeroize::Zeroizing::new(std::fs::read(&self.key).map_err(|e| explain("read", &self.key, e))?);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain_pem).collect();
        let chain = chain.map_err(|e| bad(&self.certificate, "it is not PEM").caused_by(e))?;
        if chain.is_empty() {
            return Err(bad(&self.certificate, "there is no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|e| bad(&self.key, "there is no private key in it").caused_by(e))?;
        let pair = CertifiedKey::from_der(chain, key, &default_provider());
        pair.map(Arc::new).map_err(|e| bad(&self.certificate, "the key does not belong to it").caused_by(e))
    }
}

impl Pair {
    fn reload_if_changed(&self) {
        let marks = self.files.marks();
        if self.lock().seen != marks {
            self.reload();
        }
    }

    fn reload(&self) {
        let seen = self.files.marks();
        let loaded = self.files.load();
        let mut now = self.lock();
        now.seen = seen;
        match loaded {
            Ok(served) => {
                now.served = served;
                tracing::info!(certificate = %self.files.certificate.display(), "the pair was loaded anew");
            }
            // Between the renames of a deployment that is usual.
            Err(error) => tracing::warn!(error = %error.explain(), "the new pair is not taken; the old one is served on"),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Loaded> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Pair {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.lock().served))
    }
}

const LOOK: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(10);
const MOST_CONNECTIONS: usize = 64;
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 31\r\nConnection: close\r\n\r\ncertctl demonstration listener\n";

/// One answer to whatever is asked.
async fn answer(acceptor: TlsAcceptor, tcp: TcpStream) {
    let talk = async {
        let mut stream = acceptor.accept(tcp).await?;
        let mut asked = [0; 4096];
        if stream.read(&mut asked).await? > 0 {
            stream.write_all(ANSWER).await?;
        }
        stream.shutdown().await
    };
    match timeout(PATIENCE, talk).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
        Err(_elapsed) => tracing::debug!("a connection was idle for too long"),
    }
}

#[cfg(test)]
mod tests {
    use certctl_connector_core::probe::{Question, fingerprint, probe};
    use certctl_domain::x509::Fingerprint;

    use super::*;
    use crate::state::write_private;

    struct Made {
        certificate: String,
        key: String,
        fingerprint: Fingerprint,
    }

    fn made() -> Made {
        let made = rcgen::generate_simple_self_signed(vec!["web.example.test".into()]).unwrap();
        Made { certificate: made.cert.pem(), key: made.signing_key.serialize_pem(), fingerprint: fingerprint(made.cert.der()) }
    }

    async fn served(address: SocketAddr) -> Fingerprint {
        let question = Question { server_name: Some("web.example.test".into()), key_kind: None, timeout: Duration::from_secs(5) };
        probe(address, &question).await.unwrap().leaf_fingerprint
    }

    async fn becomes(address: SocketAddr, wanted: &Fingerprint) {
        timeout(Duration::from_secs(20), async { while served(address).await != *wanted {} }).await.unwrap();
    }

    #[tokio::test]
    async fn the_pair_in_the_files_is_served_and_a_bad_one_is_not_taken() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        let files = Files { certificate: root.join("web.pem"), key: root.join("web.key") };
        let (first, second) = (made(), made());
        write_private(&files.certificate, first.certificate.as_bytes()).unwrap();
        write_private(&files.key, first.key.as_bytes()).unwrap();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), files.clone()).await.unwrap();
        let address = listener.address().unwrap();
        let stop = CancellationToken::new();
        let story = async {
            becomes(address, &first.fingerprint).await;
            // Half a deployment: the key does not belong to the certificate yet.
            write_private(&files.certificate, second.certificate.as_bytes()).unwrap();
            listener.reload();
            assert_eq!(served(address).await, first.fingerprint);
            write_private(&files.key, second.key.as_bytes()).unwrap();
            becomes(address, &second.fingerprint).await;
            stop.cancel();
        };
        tokio::join!(listener.serve(&stop), story);
    }

    #[tokio::test]
    async fn what_cannot_be_served_is_told_at_the_start() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        let files = Files { certificate: root.join("web.pem"), key: root.join("web.key") };
        let address = "127.0.0.1:0".parse().unwrap();
        assert!(Listener::bind(address, files.clone()).await.unwrap_err().to_string().contains("does not exist"));
        write_private(&files.certificate, made().certificate.as_bytes()).unwrap();
        write_private(&files.key, made().key.as_bytes()).unwrap();
        assert!(Listener::bind(address, files).await.unwrap_err().to_string().contains("does not belong"));
    }
}
