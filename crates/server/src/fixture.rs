//! What the tests of TLS and of the listener share: certificates, files, clients that speak HTTP over TLS.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use certctl_domain::time::Timestamp;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::PairFiles;

/// The longest that anything in a test may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The instant of the tests.
pub(crate) fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    certctl_testkit::wait_until(what, PATIENCE, async || condition()).await;
}

/// Waits for `work`, but not for ever.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("waited in vain until {what}"))
}

/// A self-signed certificate for `localhost` and its key.
pub(crate) struct TestPair {
    pub(crate) cert_pem: String,
    pub(crate) key_pem: String,
    pub(crate) cert: CertificateDer<'static>,
    key: rcgen::KeyPair,
}

impl TestPair {
    /// Valid around [`now`] and around the day on which the test runs.
    pub(crate) fn new() -> Self {
        Self::valid("2020-01-01T00:00:00Z", "2120-01-01T00:00:00Z")
    }

    pub(crate) fn valid(from: &str, to: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = from.parse::<Timestamp>().unwrap().to_offset();
        params.not_after = to.parse::<Timestamp>().unwrap().to_offset();
        let cert = params.self_signed(&key).unwrap();
        Self { cert_pem: cert.pem(), key_pem: key.serialize_pem(), cert: cert.der().clone(), key }
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }
}

/// A directory with `tls.crt` and `tls.key` that is gone after the test.
pub(crate) struct PairDirectory(tempfile::TempDir);

impl PairDirectory {
    pub(crate) fn with(pair: &TestPair) -> Self {
        let directory = Self(tempfile::tempdir().unwrap());
        directory.put(pair);
        directory
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn files(&self) -> PairFiles {
        PairFiles { cert: self.path().join("tls.crt"), key: self.path().join("tls.key") }
    }

    pub(crate) fn put(&self, pair: &TestPair) {
        self.write("tls.crt", &pair.cert_pem);
        self.write("tls.key", &pair.key_pem);
    }

    /// Replaces a file by a rename, as careful writers do.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        let mut new = tempfile::NamedTempFile::new_in(self.path()).unwrap();
        io::Write::write_all(&mut new, text.as_bytes()).unwrap();
        new.persist(&path).unwrap();
        path
    }
}

const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// How a client connects.
pub(crate) struct Connect<'a> {
    pub(crate) trusted: &'a TestPair,
    pub(crate) alpn: &'a [&'a str],
    pub(crate) versions: &'a [&'static SupportedProtocolVersion],
    pub(crate) identity: Option<&'a TestPair>,
}

impl<'a> Connect<'a> {
    /// HTTP/1.1 over TLS 1.3.
    pub(crate) fn trusting(trusted: &'a TestPair) -> Self {
        Self { trusted, alpn: &["http/1.1"], versions: TLS13, identity: None }
    }

    pub(crate) fn http2(self) -> Self {
        Self { alpn: &["h2"], ..self }
    }

    pub(crate) fn versions(self, versions: &'a [&'static SupportedProtocolVersion]) -> Self {
        Self { versions, ..self }
    }

    pub(crate) fn identity(self, identity: &'a TestPair) -> Self {
        Self { identity: Some(identity), ..self }
    }

    /// Opens the TLS connection and says nothing over it yet.
    pub(crate) async fn open(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusted.cert.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.identity {
            Some(pair) => builder.with_client_auth_cert(vec![pair.cert.clone()], pair.key()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    /// Opens a connection that speaks HTTP.
    pub(crate) async fn client(&self, address: SocketAddr) -> io::Result<Client> {
        let stream = self.open(address).await?;
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().unwrap().first().unwrap().clone().into_owned();
        let version = session.protocol_version().unwrap();
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let mut driver = JoinSet::new();
        let sender = if is_http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(io::Error::other)?;
            driver.spawn(async { drop(connection.await) });
            Sender::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
            driver.spawn(async { drop(connection.await) });
            Sender::Http1(sender)
        };
        Ok(Client { sender, certificate, version, driver })
    }
}

/// One connection that speaks HTTP.
pub(crate) struct Client {
    sender: Sender,
    /// What the server showed.
    pub(crate) certificate: CertificateDer<'static>,
    /// What was agreed on.
    pub(crate) version: ProtocolVersion,
    driver: JoinSet<()>,
}

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Client {
    pub(crate) async fn get(&mut self, path: &str) -> Result<(StatusCode, String), hyper::Error> {
        let answer = match &mut self.sender {
            Sender::Http1(sender) => {
                let request = Request::get(path).header("host", "localhost").body(Empty::new()).unwrap();
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                let request = Request::get(format!("https://localhost{path}")).body(Empty::new()).unwrap();
                sender.send_request(request).await?
            }
        };
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Waits until the server closes the connection.
    pub(crate) async fn closed(&mut self) {
        soon("the server closes the connection", self.driver.join_next()).await;
    }
}
