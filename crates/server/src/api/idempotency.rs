//! `Idempotency-Key`: a POST that is sent twice, because its answer was lost, is done once and answered twice.

use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::response::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use certctl_domain::noun::Refusal;
use certctl_engine::{Error, ErrorKind};
use certctl_store::idempotency::{self, Answer as Kept, Begin, Request as Asked, Ticket};
use futures_util::FutureExt as _;
use hyper::body::Body as _;

use super::access;
use super::body::bounded;
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// Honors the header on one operation.
pub(super) async fn honor(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if !request.headers().contains_key(IDEMPOTENCY_KEY) {
        return next.run(request).await;
    }
    once(&state, request, next).await.unwrap_or_else(|problem| problem.into_response())
}

async fn once(state: &AppState, request: Request, next: Next) -> Answer<Response> {
    let (mut parts, body) = request.into_parts();
    let actor = access::caller(&mut parts, state).await?.actor.to_string();
    let key = parts.headers.get(IDEMPOTENCY_KEY).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if !(1..=LONGEST_KEY).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
        let refusal = Refusal::field("Idempotency-Key", format_args!("must be 1 to {LONGEST_KEY} visible ASCII characters"));
        return Err(refusal.hint("a random UUID for each new request is best").into());
    }
    let body = bounded(body, state.limits.body).await?;
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let hash = certctl_engine::auth::token::hash_of(&[parts.method.as_str().as_bytes(), target.as_bytes(), &body]);
    let store = state.engine.store();
    let asked = Asked { actor: &actor, key: &key, hash: &hash };
    match idempotency::begin(store, asked, state.engine.now()).await? {
        Begin::Fresh(ticket) => {
            let run = AssertUnwindSafe(next.run(Request::from_parts(parts, Body::from(body)))).catch_unwind();
            match run.await {
                Ok(response) => keep(state, &ticket, response).await,
                Err(panic) => {
                    // What panicked has not committed: the caller may try again at once.
                    idempotency::abandon(store, &ticket, state.engine.now()).await?;
                    std::panic::resume_unwind(panic)
                }
            }
        }
        Begin::Replay(kept) => Ok(replay(kept)),
        Begin::InProgress => Err(Problem::from(
            Error::conflict("idempotency_in_progress", "a request with this Idempotency-Key is being done right now")
                .hint("send it again in a second, with the same key"),
        )
        .header(header::RETRY_AFTER, HeaderValue::from_static("1"))),
        Begin::Mismatch => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            Error::new(ErrorKind::Invalid, "idempotency_mismatch", "this Idempotency-Key was used for another request")
                .hint("use a new key for each new request"),
        )),
    }
}

/// Keeps what was done. What was refused is not kept: nothing happened, and the same request may be right later.
async fn keep(state: &AppState, ticket: &Ticket, response: Response) -> Answer<Response> {
    let store = state.engine.store();
    if !response.status().is_success() {
        idempotency::abandon(store, ticket, state.engine.now()).await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let headers = |parts: &Parts| {
        let text = |name: &HeaderName| Some((name.to_string(), parts.headers.get(name)?.to_str().ok()?.to_owned()));
        KEPT_HEADERS.iter().filter_map(text).collect()
    };
    if body.size_hint().exact().is_none_or(|length| usize::try_from(length).is_ok_and(|length| length > LARGEST_KEPT)) {
        // It was done, and is not done again: the next one who asks is told so, without the whole answer.
        let told = br#"{"message":"this was done; the answer was too large to be kept"}"#.to_vec();
        idempotency::finish(
            store,
            ticket,
            &Kept { status: parts.status.as_u16(), headers: headers(&parts), body: told },
            state.engine.now(),
        )
        .await?;
        return Ok(Response::from_parts(parts, body));
    }
    let body = bounded(body, LARGEST_KEPT).await?;
    let kept = Kept { status: parts.status.as_u16(), headers: headers(&parts), body: body.to_vec() };
    idempotency::finish(store, ticket, &kept, state.engine.now()).await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replay(kept: Kept) -> Response {
    let mut response = Response::new(Body::from(kept.body));
    *response.status_mut() = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    for (name, value) in kept.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEPT_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG];
const LONGEST_KEY: usize = 255;
const LARGEST_KEPT: usize = 4 * 1024 * 1024;
