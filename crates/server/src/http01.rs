//! Answers HTTP challenges of ACME CAs (RFC 8555 section 8.3): plain HTTP, as the protocol demands, and this one path alone.
//!
//! The answers are in the database, so it does not matter which replica the CA reaches.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use certctl_engine::{Engine, issuers};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::listener::BindError;

/// Bound sockets that do not answer yet.
#[derive(Debug)]
pub struct Http01 {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Http01 {
    /// Binds every address.
    ///
    /// # Errors
    /// At the first address that cannot be bound.
    pub async fn bind(addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let mut sockets = Vec::with_capacity(addresses.len());
        let mut bound = Vec::with_capacity(addresses.len());
        for &address in addresses {
            let socket = TcpListener::bind(address).await.map_err(|source| BindError { address, source })?;
            bound.push(socket.local_addr().map_err(|source| BindError { address, source })?);
            sockets.push(socket);
        }
        Ok(Self { sockets, addresses: bound })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Answers until `stop`.
    pub async fn serve(self, engine: Arc<Engine>, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let mut listening = JoinSet::new();
        for socket in self.sockets {
            listening.spawn(listen(socket, Arc::clone(&engine), Arc::clone(&room), stop.clone()));
        }
        while listening.join_next().await.is_some() {}
    }
}

async fn listen(socket: TcpListener, engine: Arc<Engine>, room: Arc<Semaphore>, stop: CancellationToken) {
    let mut open = JoinSet::new();
    loop {
        let next = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (socket.accept().await, permit)
        };
        tokio::select! {
            (accepted, permit) = next => match accepted {
                Ok((stream, _)) => {
                    let engine = Arc::clone(&engine);
                    open.spawn(async move {
                        let _permit = permit;
                        // Whoever is slower than this is no CA.
                        if timeout(LONGEST, connection(stream, engine)).await.is_err() {
                            tracing::debug!("a client of the HTTP challenges took too long");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection for an HTTP challenge cannot be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            _ended = open.join_next(), if !open.is_empty() => {}
            () = stop.cancelled() => break,
        }
    }
    open.shutdown().await;
}

async fn connection(stream: TcpStream, engine: Arc<Engine>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let engine = Arc::clone(&engine);
        async move { Ok::<_, Infallible>(answer(&engine, request.method(), request.uri().path()).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(16 * 1024).keep_alive(false);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a client of the HTTP challenges broke off");
    }
}

async fn answer(engine: &Engine, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let Some(token) = path.strip_prefix("/.well-known/acme-challenge/").filter(|token| !token.is_empty() && token.len() <= 256) else {
        return plain(StatusCode::NOT_FOUND, String::new());
    };
    if method != Method::GET && method != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, String::new());
    }
    match issuers::http_challenge(engine, token).await {
        Ok(Some(key_authorization)) => plain(StatusCode::OK, key_authorization),
        Ok(None) => plain(StatusCode::NOT_FOUND, String::new()),
        Err(error) => {
            tracing::warn!(%error, "an HTTP challenge cannot be answered");
            plain(StatusCode::SERVICE_UNAVAILABLE, String::new())
        }
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/octet-stream"));
    headers.insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", http::HeaderValue::from_static("nosniff"));
    response
}

const CONNECTIONS: usize = 256;
const HEAD: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(100);
