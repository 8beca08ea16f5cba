//! What relying parties fetch. Everything of these protocols is in `certctl-protocols`; here it is given an address and a place in the
//! document.

use std::marker::PhantomData;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use certctl_api::pki::{CrlCache, CrlCacheRow};
use certctl_domain::auth::perm;
use certctl_engine::{Error, ErrorKind, crl};
use certctl_protocols::revocation::{self, Reply as Found};
use certctl_store::crls::List;
use http_body_util::{BodyExt as _, Limited};
use serde_json::json;

use crate::api::{Authorized, Json, MediaType, Operation, Part, Public, Reply, Required};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// What was found, of a media type.
#[derive(Debug)]
pub struct Published<M>(Found, PhantomData<M>);

/// The whole request, as the protocols look at it.
#[derive(Debug)]
pub struct Whole {
    method: String,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// [`Whole`], with an OCSP request in the body.
#[derive(Debug)]
pub struct OcspBody(Whole);

/// `application/pkix-crl`
#[derive(Debug, Clone, Copy)]
pub struct Crl;

/// `application/ocsp-response`
#[derive(Debug, Clone, Copy)]
pub struct OcspResponse;

/// `application/pkix-cert`
#[derive(Debug, Clone, Copy)]
pub struct Certificate;

impl MediaType for Crl {
    const NAME: &'static str = "application/pkix-crl";
}

impl MediaType for OcspResponse {
    const NAME: &'static str = "application/ocsp-response";
}

impl MediaType for Certificate {
    const NAME: &'static str = "application/pkix-cert";
}

/// Anything that is read by its path.
///
/// # Errors
/// None: what the protocols answer is the answer.
pub async fn get<M: MediaType>(_public: Public, state: AppState, whole: Whole) -> Answer<Published<M>> {
    answer(&state, &whole).await
}

/// Status requests in a body.
///
/// # Errors
/// None.
pub async fn ocsp(_public: Public, state: AppState, OcspBody(whole): OcspBody) -> Answer<Published<OcspResponse>> {
    answer(&state, &whole).await
}

/// The lists that are published, and how they stand.
///
/// # Errors
/// When the permission is held for a part of the installation only, or the database fails.
pub async fn cache(ctx: Authorized<perm::CrlAdmin>) -> Answer<Json<CrlCache>> {
    let cache_rows: Vec<CrlCacheRow> = crl::list(&ctx).await?.into_iter().map(shown).collect();
    Ok(Json(CrlCache { row_count: i64::try_from(cache_rows.len()).unwrap_or(i64::MAX), cache_rows, generated_at: ctx.now() }))
}

/// Answers a request outside of the list of operations: a status request in a path with slashes in it.
pub async fn fallback(state: AppState, request: Request) -> Response {
    let whole = match Whole::from_request(request, &state).await {
        Ok(whole) => whole,
        Err(problem) => return problem.into_response(),
    };
    match state.revocation().answer(whole.request()).await {
        Some(found) => written(found),
        None => crate::api::not_found().await.into_response(),
    }
}

/// An answer of the protocols as axum writes it.
pub(crate) fn written(found: Found) -> Response {
    let body = match found.body {
        revocation::Body::Shared(bytes) => Body::from(axum::body::Bytes::from_owner(bytes)),
        revocation::Body::Fixed(bytes) => Body::from(bytes),
        revocation::Body::Text(text) => Body::from(text),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(found.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in found.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

async fn answer<M>(state: &AppState, whole: &Whole) -> Answer<Published<M>> {
    let found = state.revocation().answer(whole.request()).await;
    let found = found.ok_or_else(|| Error::new(ErrorKind::NotFound, "no_such_path", "there is nothing at this path"))?;
    if found.status >= 400 {
        // On this listener errors look as everywhere in the API; what OCSP refuses is not an error of HTTP.
        return Err(problem(&found));
    }
    Ok(Published(found, PhantomData))
}

fn problem(found: &Found) -> Problem {
    let detail = String::from_utf8_lossy(found.body.as_bytes()).trim().to_owned();
    let status = StatusCode::from_u16(found.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (kind, code) = match found.status {
        404 => (ErrorKind::NotFound, "not_found"),
        415 => (ErrorKind::Invalid, "unsupported_media_type"),
        501 => (ErrorKind::NotFound, certctl_engine::publication::NOT_KEPT_HERE),
        503 => (ErrorKind::Unavailable, "not_published_yet"),
        status if status < 500 => (ErrorKind::Invalid, "bad_request"),
        _ => (ErrorKind::Internal, "internal"),
    };
    let mut problem = Problem::new(status, Error::new(kind, code, detail));
    for (name, value) in [("retry-after", found.header("retry-after")), ("allow", found.header("allow"))] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            problem = problem.header(HeaderName::from_static(name), value);
        }
    }
    problem
}

fn shown(list: List) -> CrlCacheRow {
    let edition = list.edition;
    let of = |number: fn(&certctl_store::crls::Edition) -> i64| edition.as_ref().map(number);
    CrlCacheRow {
        issuer_id: list.issuer_id,
        list: list.shard,
        authority_id: list.authority_id,
        distribution_point: list.url,
        opened_at: list.opened_at,
        crl_number: of(|edition| edition.number),
        this_update: edition.as_ref().map(|edition| edition.this_update),
        next_update: edition.as_ref().map(|edition| edition.next_update),
        generated_at: edition.as_ref().map(|edition| edition.generated_at),
        generation_duration_ms: of(|edition| edition.duration_ms),
        revoked_count: of(|edition| edition.revoked_count),
        size_bytes: of(|edition| edition.bytes),
        sha256: edition.map(|edition| edition.sha256),
    }
}

impl Whole {
    fn request(&self) -> revocation::Request<'_> {
        let header = |name| self.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        revocation::Request {
            method: &self.method,
            path: &self.path,
            content_type: header(header::CONTENT_TYPE),
            if_none_match: header(header::IF_NONE_MATCH),
            body: &self.body,
        }
    }
}

impl FromRequest<AppState> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &AppState) -> Answer<Self> {
        let (parts, body) = request.into_parts();
        let too_large = || Error::invalid("body_too_large", format!("an OCSP request has at most {MOST_BYTES} bytes"));
        let body = Limited::new(body, MOST_BYTES).collect().await.map_err(|_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, too_large()))?;
        Ok(Self {
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            headers: parts.headers,
            body: body.to_bytes().to_vec(),
        })
    }
}

impl FromRequest<AppState> for OcspBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Answer<Self> {
        Whole::from_request(request, state).await.map(Self)
    }
}

impl Part for Whole {
    fn describe(operation: &mut Operation) {
        for status in [404, 501, 503] {
            operation.problem(status);
        }
    }
}

impl Part for OcspBody {
    fn describe(operation: &mut Operation) {
        operation.takes(&["application/ocsp-request"], Required::Yes, &json!({"type": "string", "format": "binary"}));
    }
}

impl<M: MediaType> IntoResponse for Published<M> {
    fn into_response(self) -> Response {
        written(self.0)
    }
}

impl<M: MediaType> Reply for Published<M> {
    fn describe(operation: &mut Operation) {
        let content = json!({M::NAME: {"schema": {"type": "string", "format": "binary"}}});
        operation.gives(200, json!({"description": "DER", "content": content}));
        operation.gives(304, json!({"description": "The one that If-None-Match names is current"}));
    }
}

/// Some OCSP clients ask about many certificates at once; nobody needs more than this.
pub(crate) const MOST_BYTES: usize = 64 * 1024;
