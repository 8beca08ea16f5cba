//! Plain HTTP, as the protocol demands, and one path alone.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::Answers;

pub(super) async fn connection(stream: TcpStream, answers: Arc<dyn Answers>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answers = Arc::clone(&answers);
        async move { Ok::<_, Infallible>(answer(&*answers, request.method(), request.uri().path()).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(16 * 1024).keep_alive(false);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a client of the HTTP challenges broke off");
    }
}

async fn answer(answers: &dyn Answers, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let Some(token) = path.strip_prefix("/.well-known/acme-challenge/").filter(|token| !token.is_empty() && token.len() <= 256) else {
        return plain(StatusCode::NOT_FOUND, String::new());
    };
    if method != Method::GET && method != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, String::new());
    }
    match answers.over_http(token).await {
        Ok(Some(key_authorization)) => plain(StatusCode::OK, key_authorization),
        Ok(None) => plain(StatusCode::NOT_FOUND, String::new()),
        Err(error) => {
            tracing::warn!(error = %error.explain(), "an HTTP challenge cannot be answered");
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
