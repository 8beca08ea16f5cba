//! Real clients against a real socket: protocols, reload, limits, and the stop.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::routing::get;
use hyper::StatusCode;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use super::*;
use crate::config::TlsVersion;
use crate::fixture::{Connect, PairDirectory, TestPair, eventually, now, soon};
use crate::tls::{ReloadOutcome, TlsOptions};

const MOMENT: Duration = Duration::from_millis(150);
const AGES: Duration = Duration::from_secs(3600);

/// Limits that no test runs into by accident.
const PATIENT: ListenerLimits = ListenerLimits { connections: 100, handshake: AGES, header: AGES, idle: AGES, write: AGES };

struct Setup {
    limits: ListenerLimits,
    min_version: TlsVersion,
    client_certificates: Option<Arc<dyn ClientCertVerifier>>,
    budget: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self { limits: PATIENT, min_version: TlsVersion::Tls13, client_certificates: None, budget: AGES }
    }
}

struct Server {
    pair: TestPair,
    directory: PairDirectory,
    tls: Arc<ReloadingTls>,
    address: SocketAddr,
    counters: Arc<ListenerCounters>,
    stop: CancellationToken,
    abort: CancellationToken,
    /// How many requests for `/wait` have begun.
    entered: Arc<AtomicUsize>,
    /// Lets them end.
    release: CancellationToken,
    serving: JoinSet<Drained>,
}

impl Server {
    fn start(setup: Setup) -> Self {
        let pair = TestPair::new();
        let directory = PairDirectory::with(&pair);
        let options = TlsOptions { min_version: setup.min_version, client_certificates: setup.client_certificates };
        let tls = Arc::new(ReloadingTls::load(directory.files(), options, now()).unwrap());
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::bind(&[any_port], Arc::clone(&tls), setup.limits).unwrap();
        let address = listener.addresses()[0];
        let counters = listener.counters();
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let (entered, release) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let app = app(Arc::clone(&entered), release.clone());
        let mut serving = JoinSet::new();
        serving.spawn(listener.serve(app, stop.clone(), Drain { budget: setup.budget, abort: abort.clone() }));
        Self { pair, directory, tls, address, counters, stop, abort, entered, release, serving }
    }

    fn limited(limits: ListenerLimits) -> Self {
        Self::start(Setup { limits, ..Setup::default() })
    }

    fn connect(&self) -> Connect<'_> {
        Connect::trusting(&self.pair)
    }

    async fn waiting(&self, requests: usize) {
        eventually("the requests have begun", || self.entered.load(Ordering::SeqCst) == requests).await;
    }

    async fn drained(&mut self) -> Drained {
        soon("the listener has stopped", self.serving.join_next()).await.unwrap().unwrap()
    }

    async fn refuses_connections(&self) {
        soon("new connections are refused", async {
            loop {
                match TcpStream::connect(self.address).await {
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
                    Ok(_) | Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await;
    }
}

fn app(entered: Arc<AtomicUsize>, release: CancellationToken) -> Router {
    let wait = move || async move {
        entered.fetch_add(1, Ordering::SeqCst);
        release.cancelled().await;
        "done"
    };
    Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/peer", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }))
        .route(
            "/certificate",
            get(|certificate: Option<Extension<ClientCertificate>>| async move {
                certificate.map_or_else(Bytes::new, |Extension(ClientCertificate(der))| Bytes::copy_from_slice(&der))
            }),
        )
        .route("/wait", get(wait))
        .route("/large", get(|| async { Body::from(vec![0_u8; 64 << 20]) }))
}

/// Reads until the other side closes, however it does so.
async fn until_closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut seen = Vec::new();
    let end = soon("the server closes the connection", stream.read_to_end(&mut seen)).await;
    // A close without close_notify, or a reset, is a close too.
    assert!(end.is_ok() || matches!(end.unwrap_err().kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset));
    seen
}

#[tokio::test]
async fn both_protocols_are_spoken_and_the_peer_is_known() {
    let server = Server::start(Setup::default());
    let mut http1 = server.connect().client(server.address).await.unwrap();
    let mut http2 = server.connect().http2().client(server.address).await.unwrap();
    for client in [&mut http1, &mut http2] {
        assert_eq!(client.get("/peer").await.unwrap(), (StatusCode::OK, "127.0.0.1".to_owned()));
        assert_eq!(client.get("/nowhere").await.unwrap().0, StatusCode::NOT_FOUND);
    }
    let counts = server.counters.counts();
    assert_eq!((counts.accepted, counts.open, counts.handshake_failed), (2, 2, 0));
}

#[tokio::test]
async fn a_mapped_address_is_shown_as_ipv4() {
    let pair = TestPair::new();
    let directory = PairDirectory::with(&pair);
    let options = TlsOptions { min_version: TlsVersion::Tls13, client_certificates: None };
    let tls = Arc::new(ReloadingTls::load(directory.files(), options, now()).unwrap());
    let listener = Listener::bind(&["[::]:0".parse().unwrap()], tls, PATIENT).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.addresses()[0].port()));
    let mut serving = JoinSet::new();
    let drain = Drain { budget: AGES, abort: CancellationToken::new() };
    serving.spawn(listener.serve(app(Arc::default(), CancellationToken::new()), CancellationToken::new(), drain));
    let mut client = Connect::trusting(&pair).client(address).await.unwrap();
    assert_eq!(client.get("/peer").await.unwrap().1.parse::<IpAddr>().unwrap(), IpAddr::V4(Ipv4Addr::LOCALHOST));
}

#[tokio::test]
async fn a_reloaded_pair_is_shown_to_new_connections_and_a_bad_one_to_none() {
    let server = Server::start(Setup::default());
    let mut old = server.connect().client(server.address).await.unwrap();
    assert_eq!(old.certificate, server.pair.cert);

    let new_pair = TestPair::new();
    server.directory.put(&new_pair);
    assert!(matches!(server.tls.reload(now()).unwrap(), ReloadOutcome::Replaced { .. }));
    let new = Connect::trusting(&new_pair).client(server.address).await.unwrap();
    assert_eq!(new.certificate, new_pair.cert);
    assert!(server.connect().client(server.address).await.is_err(), "the old certificate is no longer shown");
    assert_eq!(old.get("/hello").await.unwrap().1, "hello", "an open connection goes on");

    server.directory.write("tls.key", &server.pair.key_pem);
    assert!(server.tls.reload(now()).is_err());
    let still = Connect::trusting(&new_pair).client(server.address).await.unwrap();
    assert_eq!(still.certificate, new_pair.cert);
}

#[tokio::test]
async fn tls_1_2_is_refused_unless_allowed() {
    let old = [&rustls::version::TLS12];
    let strict = Server::start(Setup::default());
    let refused = strict.connect().versions(&old).client(strict.address).await;
    assert!(refused.err().unwrap().to_string().contains("ProtocolVersion"));
    eventually("the failure is counted", || strict.counters.counts().handshake_failed == 1).await;

    let lenient = Server::start(Setup { min_version: TlsVersion::Tls12, ..Setup::default() });
    let mut client = lenient.connect().versions(&old).client(lenient.address).await.unwrap();
    assert_eq!(client.version, rustls::ProtocolVersion::TLSv1_2);
    assert_eq!(client.get("/hello").await.unwrap().1, "hello");
    let newest = lenient.connect().client(lenient.address).await.unwrap();
    assert_eq!(newest.version, rustls::ProtocolVersion::TLSv1_3);
}

#[tokio::test]
async fn a_client_certificate_reaches_the_request() {
    let identity = TestPair::new();
    let mut roots = RootCertStore::empty();
    roots.add(identity.cert.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated().build().unwrap();
    let server = Server::start(Setup { client_certificates: Some(verifier), ..Setup::default() });

    let mut known = server.connect().identity(&identity).client(server.address).await.unwrap();
    let (_, shown) = known.get("/certificate").await.unwrap();
    assert_eq!(shown, String::from_utf8_lossy(&identity.cert));
    let mut anonymous = server.connect().client(server.address).await.unwrap();
    assert_eq!(anonymous.get("/certificate").await.unwrap().1, "");

    let stranger = TestPair::new();
    let refused =
        async { server.connect().identity(&stranger).client(server.address).await?.get("/hello").await.map_err(io::Error::other) };
    assert!(refused.await.is_err());
}

#[tokio::test]
async fn a_stop_finishes_running_requests_and_refuses_new_connections() {
    let mut server = Server::start(Setup::default());
    let mut http1 = server.connect().client(server.address).await.unwrap();
    let mut http2 = server.connect().http2().client(server.address).await.unwrap();
    let (first, second, ()) = tokio::join!(http1.get("/wait"), http2.get("/wait"), async {
        server.waiting(2).await;
        server.stop.cancel();
        server.refuses_connections().await;
        server.release.cancel();
    });
    assert_eq!(first.unwrap(), (StatusCode::OK, "done".to_owned()));
    assert_eq!(second.unwrap(), (StatusCode::OK, "done".to_owned()));
    assert_eq!(server.drained().await, Drained { aborted: 0 });
    http1.closed().await;
    http2.closed().await;
}

#[tokio::test]
async fn idle_connections_and_handshakes_do_not_hold_up_a_stop() {
    let mut server = Server::start(Setup::default());
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut unused = server.connect().http2().open(server.address).await.unwrap();
    let mut http1 = server.connect().client(server.address).await.unwrap();
    let mut http2 = server.connect().http2().client(server.address).await.unwrap();
    http1.get("/hello").await.unwrap();
    http2.get("/hello").await.unwrap();
    eventually("all are connected", || server.counters.open() == 4).await;
    server.stop.cancel();
    assert_eq!(server.drained().await, Drained { aborted: 0 });
    until_closed(&mut silent).await;
    until_closed(&mut unused).await;
    http1.closed().await;
    http2.closed().await;
}

#[tokio::test]
async fn requests_that_outlast_the_budget_are_cut_off_and_counted() {
    let mut server = Server::start(Setup { budget: MOMENT, ..Setup::default() });
    let mut http1 = server.connect().client(server.address).await.unwrap();
    let mut http2 = server.connect().http2().client(server.address).await.unwrap();
    let stop = async {
        server.waiting(2).await;
        server.stop.cancel();
    };
    let (first, second, ()) = soon("the requests are cut off", async { tokio::join!(http1.get("/wait"), http2.get("/wait"), stop) }).await;
    assert!(first.is_err() && second.is_err());
    assert_eq!(server.drained().await, Drained { aborted: 2 });
}

#[tokio::test]
async fn an_abort_ends_the_waiting_at_once() {
    let mut server = Server::start(Setup::default());
    let mut client = server.connect().client(server.address).await.unwrap();
    let stop = async {
        server.waiting(1).await;
        server.stop.cancel();
        server.abort.cancel();
    };
    let (answer, ()) = tokio::join!(client.get("/wait"), stop);
    assert!(answer.is_err());
    assert_eq!(server.drained().await, Drained { aborted: 1 });
}

#[tokio::test]
async fn a_slow_handshake_is_cut_off() {
    let server = Server::limited(ListenerLimits { handshake: MOMENT, ..PATIENT });
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert!(until_closed(&mut silent).await.is_empty());
    let mut partial = TcpStream::connect(server.address).await.unwrap();
    // On a slow machine it may be cut off before it can write; that is what is wanted.
    drop(partial.write_all(&[0x16, 0x03, 0x01]).await);
    until_closed(&mut partial).await;
    eventually("both are counted", || server.counters.counts().handshake_timed_out == 2 && server.counters.open() == 0).await;
}

#[tokio::test]
async fn a_slow_request_head_is_cut_off() {
    let server = Server::limited(ListenerLimits { header: MOMENT, ..PATIENT });
    let mut trickle = server.connect().open(server.address).await.unwrap();
    drop(trickle.write_all(b"GET /hello HTTP/1.1\r\nhost: local").await);
    let answer = String::from_utf8(until_closed(&mut trickle).await).unwrap();
    assert!(!answer.contains("200"), "{answer}");
    eventually("it is counted", || server.counters.counts().timed_out == 1).await;

    for connect in [server.connect(), server.connect().http2()] {
        let mut nothing = connect.open(server.address).await.unwrap();
        until_closed(&mut nothing).await;
    }
    eventually("they are counted too", || server.counters.counts().timed_out == 3 && server.counters.open() == 0).await;
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed_but_not_while_a_request_runs() {
    let server = Server::limited(ListenerLimits { idle: MOMENT, ..PATIENT });
    let mut client = server.connect().http2().client(server.address).await.unwrap();
    let hold = async {
        server.waiting(1).await;
        // Each of these takes at least the idle limit, during which the first client's request runs.
        for _ in 0..3 {
            let mut other = server.connect().http2().client(server.address).await.unwrap();
            assert_eq!(other.get("/hello").await.unwrap().1, "hello");
            other.closed().await;
        }
        assert_eq!(server.counters.counts().timed_out, 3, "the first is not among them");
        server.release.cancel();
    };
    let (answer, ()) = tokio::join!(client.get("/wait"), hold);
    assert_eq!(answer.unwrap(), (StatusCode::OK, "done".to_owned()));
    client.closed().await;
    eventually("both are gone", || server.counters.open() == 0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let server = Server::limited(ListenerLimits { write: MOMENT, ..PATIENT });
    let mut client = server.connect().open(server.address).await.unwrap();
    client.write_all(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    eventually("it is counted and gone", || server.counters.counts().timed_out == 1 && server.counters.open() == 0).await;
}

#[tokio::test]
async fn clients_above_the_limit_wait_for_a_seat() {
    let server = Server::limited(ListenerLimits { connections: 1, ..PATIENT });
    let mut first = server.connect().client(server.address).await.unwrap();
    assert_eq!(first.get("/hello").await.unwrap().1, "hello");
    let connect = server.connect();
    let mut second = std::pin::pin!(connect.client(server.address));
    assert!(timeout(MOMENT, second.as_mut()).await.is_err(), "there is no seat");
    drop(first);
    let mut second = soon("the seat is free", second).await.unwrap();
    assert_eq!(second.get("/hello").await.unwrap().1, "hello");
}

#[tokio::test]
async fn a_client_that_forgot_the_s_is_told_so() {
    let server = Server::start(Setup::default());
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    plain.shutdown().await.unwrap();
    let answer = String::from_utf8(until_closed(&mut plain).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("speaks HTTPS only"), "{answer}");
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    assert!(answer.contains(&format!("content-length: {}\r\n", body.len())), "{answer}");
    eventually("it is counted", || server.counters.counts().plain_http == 1).await;
}

#[tokio::test]
async fn an_address_in_use_is_told_with_a_hint() {
    let server = Server::start(Setup::default());
    let error = Listener::bind(&[server.address], Arc::clone(&server.tls), PATIENT).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {}", server.address));
    assert!(error.hint().unwrap().contains("another certctl-server"));
}
