//! What stands around every request: its id, its log line, its metrics, the end of a panic, and the bodies of problems.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use certctl_domain::ids::ActorId;
use certctl_engine::{Error, ErrorKind};
use futures_util::FutureExt as _;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::problem::{self, Problem};
use crate::state::AppState;

/// What is known about a request while it is answered.
#[derive(Debug)]
pub(super) struct RequestInfo {
    id: String,
    actor: OnceLock<String>,
}

/// A request that was answered, for metrics.
#[derive(Debug, Clone, Copy)]
pub struct RequestSeen<'a> {
    /// The method, or `OTHER`.
    pub method: &'a str,
    /// The template of the path, so that there are few; `unmatched` when there was none.
    pub route: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// Time until the answer began.
    pub took: Duration,
}

impl RequestInfo {
    /// The request's id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Notes who acts, for the log line.
    pub(super) fn acts(&self, actor: &ActorId) {
        self.actor.get_or_init(|| actor.to_string());
    }
}

/// Stands around every request.
pub(super) async fn frame(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let info = Arc::new(RequestInfo { id: request_id(request.headers()), actor: OnceLock::new() });
    request.extensions_mut().insert(Arc::clone(&info));
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", request.id = info.id);
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span).await;
    let answer = answer.unwrap_or_else(|_| Problem::from(Error::internal("a handler panicked")).into_response());
    let mut answer = problem::finish(answer, &info.id, &path);
    if let Ok(id) = HeaderValue::from_str(&info.id) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    let took = begun.elapsed();
    let status = answer.status().as_u16();
    tracing::info!(
        request.id = info.id,
        actor.id = info.actor.get(),
        method = method.as_str(),
        route,
        status,
        duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "request answered"
    );
    state.requests.seen(&RequestSeen { method: known(&method), route: &route, status, took });
    answer
}

/// What is answered where nothing is.
pub(crate) async fn not_found() -> Problem {
    Error::new(ErrorKind::NotFound, "no_such_path", "there is nothing at this path")
        .hint("GET /api/v1/openapi.json lists all operations")
        .into()
}

/// What is answered where something is, but not for this method.
pub(super) async fn method_not_allowed(method: Method) -> Problem {
    let error = Error::invalid("method_not_allowed", format!("{method} is not possible here"));
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, error.hint("the header Allow lists what is"))
}

/// Taken from the caller where it can be a log field, else made here.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let fine = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    given.filter(fine).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// A caller can make up methods; metrics cannot have a label for each.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
