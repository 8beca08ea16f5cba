//! Errors as the REST API answers them: one body for all (RFC 9457), made in one place.
//!
//! A [`Problem`] travels through the router as a response without a body; [`finish`] writes the body at the edge, where the request's
//! id and path are known, and logs there, once, what is not the caller's doing.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use certctl_api::problem::Problem as Wire;
use certctl_domain::noun::Refusal;
use certctl_engine::{Error, ErrorKind};

/// The result of a handler.
pub type Answer<R> = Result<R, Problem>;

/// An error on its way to the caller.
#[derive(Debug, Clone)]
pub struct Problem(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    error: Error,
    headers: HeaderMap,
}

impl Problem {
    /// A problem with a status that no kind of engine error has.
    #[must_use]
    pub fn new(status: StatusCode, error: Error) -> Self {
        Self(Arc::new(Inner { status, error, headers: HeaderMap::new() }))
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        let mut headers = self.0.headers.clone();
        headers.insert(name, value);
        match Arc::try_unwrap(self.0) {
            Ok(inner) => Self(Arc::new(Inner { headers, ..inner })),
            // Only a problem that was given away already is shared, and nobody adds headers to that.
            Err(shared) => Self(shared),
        }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.error.code
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::new(status_of(error.kind), error)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Error::from(refusal).into()
    }
}

impl From<certctl_store::StoreError> for Problem {
    fn from(error: certctl_store::StoreError) -> Self {
        Error::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of a problem, if the response is one.
pub fn finish(response: Response, request_id: &str, path: &str) -> Response {
    let Some(problem) = response.extensions().get::<Problem>().cloned() else {
        return response;
    };
    let Inner { status, error, headers } = &*problem.0;
    if status.is_server_error() {
        log(error, request_id);
    }
    let hidden = error.kind == ErrorKind::Internal;
    let detail =
        if hidden { format!("something went wrong here; the log has it under request {request_id}") } else { error.detail.clone() };
    let title = status.canonical_reason().unwrap_or("Error").to_owned();
    let wire = Wire {
        kind: format!("urn:certctl:problem:{}", error.code),
        error: title.clone(),
        title,
        status: status.as_u16(),
        message: detail.clone(),
        detail,
        instance: path.to_owned(),
        code: error.code.to_owned(),
        hint: error.hint.clone().or_else(|| usual_hint(error).map(str::to_owned)).filter(|_| !hidden),
        request_id: request_id.to_owned(),
        errors: error.fields.clone(),
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    parts.headers.remove(header::CONTENT_LENGTH);
    for (name, value) in kind_headers(error).into_iter().chain(headers.iter().map(|(name, value)| (name.clone(), value.clone()))) {
        parts.headers.insert(name, value);
    }
    Response::from_parts(parts, Body::from(serde_json::to_vec(&wire).unwrap_or_default()))
}

/// The status that a kind of error has everywhere.
#[must_use]
pub const fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Stale => StatusCode::PRECONDITION_FAILED,
        ErrorKind::Gone => StatusCode::GONE,
        ErrorKind::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What to do about an error whose place of origin knows nothing better.
fn usual_hint(error: &Error) -> Option<&'static str> {
    match (error.kind, error.code) {
        (_, "body_too_large") => Some("send less at once; the limit is the server's setting server.max_body"),
        (ErrorKind::Invalid, "invalid_query") => Some("GET /api/v1/openapi.json says what each list can be asked"),
        (ErrorKind::Invalid, _) => Some("GET /api/v1/openapi.json says what each field takes"),
        (ErrorKind::NotFound, _) => Some("list what there is; names and ids are written exactly as listed"),
        _ => None,
    }
}

fn kind_headers(error: &Error) -> Option<(HeaderName, HeaderValue)> {
    match error.kind {
        // RFC 6750 section 3: the reason is told only when a credential came.
        ErrorKind::Unauthenticated if error.code == "credential_missing" => {
            Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"certctl\"")))
        }
        ErrorKind::Unauthenticated => {
            let text = format!("Bearer realm=\"certctl\", error=\"invalid_token\", error_description=\"{}\"", error.code);
            Some((header::WWW_AUTHENTICATE, HeaderValue::from_str(&text).ok()?))
        }
        ErrorKind::Throttled(seconds) => Some((header::RETRY_AFTER, HeaderValue::from(seconds))),
        ErrorKind::Unavailable => Some((header::RETRY_AFTER, HeaderValue::from_static("1"))),
        _ => None,
    }
}

fn log(error: &Error, request_id: &str) {
    let mut causes = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if !causes.is_empty() {
            causes.push_str(": ");
        }
        causes.push_str(&error.to_string());
        cause = error.source();
    }
    tracing::error!(request.id = request_id, code = error.code, cause = causes, "{}", error.detail);
}
