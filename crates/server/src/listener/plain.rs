//! Plain HTTP for what relying parties fetch, and for nothing else: whoever must check a TLS certificate cannot be asked to trust TLS
//! first (RFC 5280 section 8). What is served is signed; nothing here is secret, and nobody logs in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use certctl_connector_core::listen::bind_all;
use certctl_protocols::revocation::{Request, Revocation};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stall::StallGuard;
use super::{ACCEPT_PAUSE, BindError, is_of_one_connection};
use crate::handlers::pki::{MOST_BYTES, written};

/// Bound sockets that speak plain HTTP and do not accept yet.
#[derive(Debug)]
pub struct PlainListener {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl PlainListener {
    /// Binds every address. Needs a Tokio runtime.
    ///
    /// # Errors
    /// At the first address that cannot be bound.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let (sockets, addresses) = bind_all(addresses)?;
        Ok(Self { sockets, addresses })
    }

    /// The addresses that are bound; port 0 has become a real port.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `stop`; what is being answered then is answered.
    pub async fn serve(self, revocation: Revocation, stop: CancellationToken) {
        let seats = Arc::new(Semaphore::new(CONNECTIONS));
        let connections = TaskTracker::new();
        let accepting = TaskTracker::new();
        for socket in self.sockets {
            drop(accepting.spawn(accept(socket, revocation.clone(), Arc::clone(&seats), connections.clone(), stop.clone())));
        }
        accepting.close();
        accepting.wait().await;
        connections.close();
        if timeout(DRAIN, connections.wait()).await.is_err() {
            tracing::debug!("clients of plain HTTP are cut off by the stop");
        }
    }
}

async fn accept(socket: TcpListener, revocation: Revocation, seats: Arc<Semaphore>, connections: TaskTracker, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = async {
                let seat = Arc::clone(&seats).acquire_owned().await;
                (socket.accept().await, seat)
            } => accepted,
        };
        match accepted {
            (Ok((stream, _)), Ok(seat)) => {
                let (revocation, stop) = (revocation.clone(), stop.clone());
                drop(connections.spawn(async move {
                    serve(stream, revocation, stop).await;
                    drop(seat);
                }));
            }
            (Ok(_), Err(_)) => return,
            (Err(error), _) if is_of_one_connection(&error) => tracing::debug!(error = %error, "a connection broke before it was accepted"),
            (Err(error), _) => {
                tracing::error!(error = %error, "cannot accept plain HTTP connections; trying again in a second");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, revocation: Revocation, stop: CancellationToken) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let revocation = revocation.clone();
        async move { Ok::<_, std::convert::Infallible>(answer(&revocation, request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER).max_buf_size(BUFFER);
    let connection = builder.serve_connection(TokioIo::new(StallGuard::new(stream, WRITE)), service);
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(error = %error, "a plain HTTP connection ended with an error");
    }
}

async fn answer(revocation: &Revocation, request: hyper::Request<Incoming>) -> Response {
    let (parts, body) = request.into_parts();
    let body = match timeout(BODY, Limited::new(body, MOST_BYTES).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return plain(StatusCode::PAYLOAD_TOO_LARGE, "an OCSP request is shorter\n"),
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the request did not come\n"),
    };
    let request = Request {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        content_type: text(&parts.headers, header::CONTENT_TYPE),
        if_none_match: text(&parts.headers, header::IF_NONE_MATCH),
        body: &body,
    };
    let mut response = match revocation.answer(request).await {
        Some(found) => written(found),
        None => plain(StatusCode::NOT_FOUND, "only revocation lists, OCSP and CA certificates are here\n"),
    };
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if parts.method == Method::HEAD {
        // With the length that a GET would have.
        let length = axum::body::HttpBody::size_hint(response.body()).exact();
        if let Some(length) = length {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        *response.body_mut() = Body::empty();
    }
    response
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const CONNECTIONS: usize = 2_000;
const BUFFER: usize = 64 * 1024;
const HEADER: Duration = Duration::from_secs(15);
const BODY: Duration = Duration::from_secs(15);
const WRITE: Duration = Duration::from_secs(30);
const DRAIN: Duration = Duration::from_secs(3);
