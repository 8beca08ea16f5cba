//! Answers HTTP challenges of ACME CAs (RFC 8555 section 8.3): plain HTTP, as the protocol demands, and this one path alone.
//!
//! The answers are in the database, so it does not matter which replica the CA reaches.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use certctl_engine::{Engine, issuers};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::listener::SmallListener;

/// Answers until `stop`.
pub async fn serve(listener: SmallListener, engine: Arc<Engine>, stop: CancellationToken) {
    listener.serve(stop, move |stream| connection(stream, Arc::clone(&engine))).await;
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

const HEAD: Duration = Duration::from_secs(5);
