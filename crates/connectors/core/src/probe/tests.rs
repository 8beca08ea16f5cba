use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ResolvesServerCertUsingSni, WebPkiClientVerifier};
use rustls::sign::CertifiedKey as ServerKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn ask(server_name: Option<&str>) -> Question {
    Question { server_name: server_name.map(str::to_owned), key_kind: None, timeout: PATIENCE }
}

struct Pair {
    der: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

fn pair(name: &str) -> Pair {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    Pair { der: cert.der().clone(), key: PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap() }
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions().unwrap()
}

/// Serves handshakes until the test ends.
async fn serve(config: ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut tls) = acceptor.accept(tcp).await {
                    tls.read_to_end(&mut Vec::new()).await.ok();
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn each_name_shows_its_own_certificate() {
    let (one, two) = (pair("one.example.test"), pair("two.example.test"));
    let mut resolver = ResolvesServerCertUsingSni::new();
    for (name, pair) in [("one.example.test", &one), ("two.example.test", &two)] {
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&pair.key).unwrap();
        resolver.add(name, ServerKey::new(vec![pair.der.clone()], key)).unwrap();
    }
    let address = serve(builder().with_no_client_auth().with_cert_resolver(Arc::new(resolver))).await;
    for (name, pair) in [("one.example.test", &one), ("two.example.test", &two), ("one.example.test", &one)] {
        let report = probe(address, &ask(Some(name))).await.unwrap();
        assert_eq!(report.leaf_fingerprint, fingerprint(&pair.der), "a fresh handshake each time");
        assert_eq!(report.chain, [pair.der.to_vec()]);
        assert_eq!((report.tls_version.as_deref(), report.key_kind), (Some("TLSv1_3"), Some(KeyKind::Ecdsa)));
        assert!(report.cipher.unwrap().starts_with("TLS13_"));
    }
    // Without a name this server has no certificate to show: that is an error, not a success.
    assert!(probe(address, &ask(None)).await.is_err());
    assert!(probe(address, &ask(Some("not a name"))).await.unwrap_err().to_string().contains("not a DNS name"));
}

#[tokio::test]
async fn every_resolved_address_is_asked() {
    let pair = pair("localhost");
    let address = serve(builder().with_no_client_auth().with_single_cert(vec![pair.der.clone()], pair.key).unwrap()).await;
    let answers = probe_all(&format!("localhost:{}", address.port()), &ask(None)).await.unwrap();
    for (asked, answer) in &answers {
        assert_eq!(answer.is_ok(), asked.is_ipv4(), "{asked}: only IPv4 is served here, and that must show: {answer:?}");
    }
    assert!(answers.iter().any(|(_, answer)| answer.is_ok()));
    assert!(probe_all("no-such-host.invalid:443", &ask(None)).await.is_err());
    assert!(probe_all("no port", &ask(None)).await.unwrap_err().advice().unwrap().contains("host:port"));
}

#[tokio::test]
async fn nobody_there_and_nobody_talking_are_errors_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let question = Question { timeout: Duration::from_millis(200), ..ask(None) };
    let error = probe(silent, &question).await.unwrap_err();
    assert!(error.to_string().contains("no answer within"), "{error}");
    drop(listener);
    let error = probe(silent, &ask(None)).await.unwrap_err();
    assert!(error.explain().contains("cannot connect") && error.advice().is_some(), "{}", error.explain());
}

#[tokio::test]
async fn a_peer_that_does_not_speak_tls_is_explained() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut tcp, b"220 mail.example.test ESMTP\r\n").await.unwrap();
        tcp.read_to_end(&mut Vec::new()).await.ok();
    });
    let error = probe(address, &ask(None)).await.unwrap_err();
    assert!(error.advice().unwrap().contains("STARTTLS"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_still_shows_its_own() {
    let pair = pair("localhost");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pair.der.clone()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider())).build().unwrap();
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(Arc::clone(&clients))
            .with_single_cert(vec![pair.der.clone()], pair.key.clone_key())
            .unwrap();
        let report = probe(serve(config).await, &ask(None)).await.unwrap();
        assert_eq!(report.leaf_fingerprint, fingerprint(&pair.der));
    }
}

#[tokio::test]
async fn a_borrowed_certificate_proves_nothing() {
    let (shown, owned) = (pair("localhost"), pair("localhost"));
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&owned.key).unwrap();
    let mut resolver = ResolvesServerCertUsingSni::new();
    resolver.add("localhost", ServerKey::new(vec![shown.der], key)).unwrap();
    let address = serve(builder().with_no_client_auth().with_cert_resolver(Arc::new(resolver))).await;
    assert!(probe(address, &ask(Some("localhost"))).await.is_err());
}

#[tokio::test]
async fn the_kind_of_key_can_be_chosen() {
    let ecdsa = pair("localhost");
    let address = serve(builder().with_no_client_auth().with_single_cert(vec![ecdsa.der], ecdsa.key).unwrap()).await;
    let only = |kind| Question { key_kind: Some(kind), ..ask(None) };
    assert_eq!(probe(address, &only(KeyKind::Ecdsa)).await.unwrap().key_kind, Some(KeyKind::Ecdsa));
    assert!(probe(address, &only(KeyKind::Rsa)).await.is_err(), "this server has no RSA certificate");
}

#[tokio::test]
async fn a_question_over_https_is_answered_by_whoever_is_there() {
    let pair = pair("else.example.test");
    let config = builder().with_no_client_auth().with_single_cert(vec![pair.der], pair.key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let mut tls = acceptor.accept(tcp).await.unwrap();
            let mut head = [0; 256];
            let n = tls.read(&mut head).await.unwrap();
            let answer: &[u8] = match &head[..n] {
                head if head.starts_with(b"GET /well ") => b"HTTP/1.1 503 x\r\ncontent-length: 3\r\n\r\nill",
                head if head.starts_with(b"GET /cut ") => b"HTTP/1.1 200 x\r\ncontent-length: 30\r\n\r\nill",
                _ => b"no HTTP\r\n\r\n",
            };
            tls.write_all(answer).await.unwrap();
            tls.shutdown().await.ok();
        }
    });
    let ask = async |path| https::get(address, path, PATIENCE).await;
    assert_eq!(ask("/well").await.unwrap(), https::Answer { status: 503, body: "ill".to_owned() });
    assert!(ask("/cut").await.unwrap_err().to_string().contains("breaks off"));
    assert!(ask("/other").await.is_err());
    let nobody = https::get(nobodys_address().await, "/well", PATIENCE).await.unwrap_err();
    assert!(nobody.to_string().contains("cannot connect"), "{nobody}");
}

/// Where nobody listens: the listener is closed again.
async fn nobodys_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
