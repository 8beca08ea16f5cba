//! One connection, from its first byte to its last.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::CertificateDer;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::ListenerLimits;
use super::activity::{Activity, Silence};
use super::counters::{End, ListenerCounters};
use super::executor::GroupExecutor;
use super::stall::StallGuard;
use crate::tls::ReloadingTls;

/// The certificate that the client showed, in the extensions of its requests. It has passed the verifier of
/// [`crate::tls::TlsOptions::client_certificates`].
#[derive(Debug, Clone)]
pub struct ClientCertificate(pub Arc<CertificateDer<'static>>);

/// What every connection is served with.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) app: Router,
    pub(super) tls: Arc<ReloadingTls>,
    pub(super) limits: ListenerLimits,
    pub(super) counters: Arc<ListenerCounters>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) cut: CancellationToken,
}

impl Connection {
    /// Serves the connection to its end; holds its seat as long.
    pub(super) async fn run(self, stream: TcpStream, peer: SocketAddr, seat: OwnedSemaphorePermit) {
        let open = self.counters.opened();
        let cut = self.cut.clone();
        // Nothing is lost by cutting off a handshake: no request has begun.
        let stopped = self.stop.clone();
        let handshake = async { stopped.run_until_cancelled(self.handshake(stream, peer)).await.flatten() };
        if let Some(Some(stream)) = cut.run_until_cancelled(handshake).await {
            cut.run_until_cancelled(self.serve(stream, canonical(peer))).await;
        }
        drop((open, seat));
    }

    async fn handshake(&self, stream: TcpStream, peer: SocketAddr) -> Option<TlsStream<StallGuard<TcpStream>>> {
        let acceptor = TlsAcceptor::from(self.tls.server_config());
        let handshake = async {
            // Who says nothing at all only looked whether the port is open.
            if first_byte(&stream).await?.is_ascii_uppercase() {
                self.counters.ended(End::PlainHttp);
                refuse_plain_http(stream).await;
                return None;
            }
            match acceptor.accept(StallGuard::new(stream, self.limits.write)).await {
                Ok(stream) => Some(stream),
                Err(error) => {
                    self.counters.ended(End::HandshakeFailed);
                    tracing::debug!(client.address = %peer, error = %error, "a TLS handshake failed");
                    None
                }
            }
        };
        timeout(self.limits.handshake, handshake).await.unwrap_or_else(|_| {
            self.counters.ended(End::HandshakeTimedOut);
            tracing::debug!(client.address = %peer, "a TLS handshake took too long");
            None
        })
    }

    async fn serve(&self, stream: TlsStream<StallGuard<TcpStream>>, peer: SocketAddr) {
        let (_, session) = stream.get_ref();
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let certificate =
            session.peer_certificates().and_then(|chain| chain.first()).map(|leaf| ClientCertificate(Arc::new(leaf.clone().into_owned())));
        let activity = Activity::default();
        let service = service_fn({
            let activity = activity.clone();
            let app = self.app.clone();
            move |mut request: hyper::Request<Incoming>| {
                let running = activity.begin();
                request.extensions_mut().insert(ConnectInfo(peer));
                if let Some(certificate) = &certificate {
                    request.extensions_mut().insert(certificate.clone());
                }
                let answer = app.clone().call(request.map(Body::new));
                async move {
                    let answer = answer.await;
                    drop(running);
                    answer
                }
            }
        });
        let builder = self.builder();
        // The protocol is what ALPN agreed on. Guessing it from the first bytes would wait for them without a time-out.
        let builder = if is_http2 { builder.http2_only() } else { builder.http1_only() };
        let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let outcome = tokio::select! {
            outcome = serving.as_mut() => outcome,
            () = self.stop.cancelled() => {
                // A client that has not sent a request yet has nothing to lose, and may never send anything.
                if activity.is_unused() {
                    return;
                }
                serving.as_mut().graceful_shutdown();
                serving.await
            }
            silence = activity.silence(self.limits.header, self.limits.idle), if is_http2 => {
                self.counters.ended(End::TimedOut);
                match silence {
                    Silence::FromTheStart => return,
                    Silence::SinceTheLast => {
                        serving.as_mut().graceful_shutdown();
                        // A client that is gone does not answer, and should not be waited for.
                        timeout(self.limits.header, serving).await.unwrap_or(Ok(()))
                    }
                }
            }
        };
        if let Err(error) = outcome {
            if is_timeout(error.as_ref()) {
                self.counters.ended(End::TimedOut);
            }
            tracing::debug!(client.address = %peer, error = %error, "a connection ended with an error");
        }
    }

    fn builder(&self) -> auto::Builder<GroupExecutor> {
        let mut builder = auto::Builder::new(GroupExecutor { tasks: self.tasks.clone(), cut: self.cut.clone() });
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.limits.header).max_buf_size(HTTP1_BUFFER);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(self.limits.idle / 3)
            .keep_alive_timeout(self.limits.header)
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_header_list_size(HTTP2_HEADERS);
        builder
    }
}

/// An IPv4 client of a dual-stack socket appears as `::ffff:a.b.c.d`; everywhere else it is `a.b.c.d`.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// A TLS client begins with the byte 0x16 (RFC 8446 section 5.1), an HTTP client with the first letter of a method.
async fn first_byte(stream: &TcpStream) -> Option<u8> {
    let mut first = [0_u8; 1];
    let length = stream.peek(&mut first).await.ok()?;
    first.get(..length)?.first().copied()
}

async fn refuse_plain_http(mut stream: TcpStream) {
    let answered = async {
        stream.write_all(PLAIN_HTTP_ANSWER).await?;
        stream.shutdown().await?;
        // What the client sent must be read, or the kernel resets the connection and the answer may be lost.
        tokio::io::copy(&mut tokio::io::AsyncReadExt::take(&mut stream, 64 * 1024), &mut tokio::io::sink()).await
    };
    if let Err(error) = answered.await {
        tracing::debug!(error = %error, "a client that spoke HTTP without TLS could not be told so");
    }
}

fn is_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let of_hyper = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout);
        let of_io = error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut);
        if of_hyper || of_io {
            return true;
        }
        next = error.source();
    }
    false
}

const PLAIN_HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 60\r\nconnection: close\r\n\r\nThis port speaks HTTPS only. Write https:// before the name\n";
const HTTP1_BUFFER: usize = 64 * 1024;
const HTTP2_HEADERS: u32 = 32 * 1024;
const HTTP2_STREAMS: u32 = 250;
