//! Bodies of requests: JSON alone, of a bounded size, and what is wrong is told by line and column or by the field's name.

use std::marker::PhantomData;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use certctl_domain::noun::{FieldError, Noun, Refusal};
use certctl_engine::{Error, json};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::operation::{Operation, Part, Required};
use super::schema::property_names;
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// A JSON object. Its type refuses unknown fields (`#[serde(deny_unknown_fields)]`).
#[derive(Debug)]
pub struct Body<T>(pub T);

/// A JSON object, or nothing, which is the default.
#[derive(Debug)]
pub struct OptionalBody<T>(pub T);

/// The draft of a noun. What it shows but a caller cannot set is ignored, so that clients can send back what they got.
#[derive(Debug)]
pub struct Draft<N: Noun>(pub N::Draft);

/// As [`Draft`], for a noun that is shown as something else.
#[derive(Debug)]
pub struct DraftAs<N: Noun, Shown>(pub N::Draft, pub PhantomData<Shown>);

/// A merge patch for a noun (RFC 7396).
#[derive(Debug)]
pub struct MergePatch<N> {
    /// The patch: an object.
    pub patch: Value,
    noun: PhantomData<N>,
}

impl<T: DeserializeOwned> FromRequest<AppState> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Answer<Self> {
        let bytes = read(request, state, &[JSON]).await?;
        Ok(Self(parse(&bytes)?))
    }
}

impl<T: DeserializeOwned + Default> FromRequest<AppState> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Answer<Self> {
        let typed = request.headers().contains_key(header::CONTENT_TYPE);
        let accepts: &[&str] = if typed { &[JSON] } else { &[] };
        let bytes = read(request, state, accepts).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(T::default()));
        }
        Ok(Self(parse(&bytes)?))
    }
}

impl<N: Noun> FromRequest<AppState> for Draft<N> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Answer<Self> {
        DraftAs::<N, N>::from_request(request, state).await.map(|DraftAs(draft, _)| Self(draft))
    }
}

impl<N: Noun, Shown: ToSchema> FromRequest<AppState> for DraftAs<N, Shown> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Answer<Self> {
        let bytes = read(request, state, &[JSON]).await?;
        let mut fields = parse::<Map<String, Value>>(&bytes)?;
        drop_read_only::<N, Shown>(&mut fields);
        Ok(Self(json::read(Value::Object(fields))?, PhantomData))
    }
}

impl<N: Noun> FromRequest<AppState> for MergePatch<N> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Answer<Self> {
        let bytes = read(request, state, &[MERGE_PATCH, JSON]).await?;
        let mut fields = parse::<Map<String, Value>>(&bytes)?;
        drop_read_only::<N, N>(&mut fields);
        let known = property_names::<N::Draft>();
        let unknown = fields.keys().filter(|name| !known.contains(*name));
        let message = || format!("is not a field here; there is {}", known.iter().cloned().collect::<Vec<_>>().join(", "));
        let errors: Vec<FieldError> = unknown.map(|name| FieldError { field: name.clone(), message: message() }).collect();
        if !errors.is_empty() {
            return Err(Refusal { fields: errors, hint: None }.into());
        }
        Ok(Self { patch: Value::Object(fields), noun: PhantomData })
    }
}

impl<T: ToSchema> Part for Body<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schema::<T>();
        operation.takes(&[JSON], Required::Yes, &schema);
    }
}

impl<T: ToSchema> Part for OptionalBody<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schema::<T>();
        operation.takes(&[JSON], Required::No, &schema);
    }
}

impl<N: Noun> Part for Draft<N> {
    fn describe(operation: &mut Operation) {
        DraftAs::<N, N>::describe(operation);
    }
}

impl<N: Noun, Shown: ToSchema> Part for DraftAs<N, Shown> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schemas.request::<N::Draft, Shown>();
        operation.takes(&[JSON], Required::Yes, &schema);
    }
}

impl<N: Noun> Part for MergePatch<N> {
    fn describe(operation: &mut Operation) {
        // Every field may be left out, so the draft's schema with its required fields would be wrong here.
        let (properties, _) = operation.schemas.properties::<N::Draft>();
        let schema = serde_json::json!({"type": "object", "properties": properties});
        operation.takes(&[MERGE_PATCH, JSON], Required::Yes, &schema);
    }
}

async fn read(request: Request, state: &AppState, accepts: &[&str]) -> Answer<axum::body::Bytes> {
    if !accepts.is_empty() && !is_one_of(request.headers(), accepts) {
        let error = Error::invalid("unsupported_media_type", format!("the body must be {}", accepts.join(" or ")));
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.hint(format!("send `Content-Type: {JSON}`"))));
    }
    bounded(request.into_body(), state.limits.body).await
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn bounded(body: axum::body::Body, limit: usize) -> Answer<axum::body::Bytes> {
    axum::body::to_bytes(body, limit).await.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
            let error = Error::invalid("body_too_large", format!("the body is larger than {limit} bytes"));
            return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error);
        }
        Error::invalid("body_incomplete", "the body ended early").because(error).into()
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    let malformed = |error: &serde_json::Error| {
        let error = Error::invalid("malformed_json", format!("the body is not JSON: {error}"));
        Problem::from(error.hint("strings and names need double quotes; the last entry has no comma after it"))
    };
    // A struct could be read from an array too, which nobody means.
    if bytes.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| *b == b'[') {
        return Err(Refusal::field("body", "must be an object").into());
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| if error.inner().is_data() { json::explain(&error).into() } else { malformed(error.inner()) })?;
    reader.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn drop_read_only<N: Noun, Shown: ToSchema>(fields: &mut Map<String, Value>) {
    let draft = property_names::<N::Draft>();
    let shown = property_names::<Shown>();
    fields.retain(|name, _| draft.contains(name) || !shown.contains(name));
}

fn is_one_of(headers: &HeaderMap, accepts: &[&str]) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let kind = kind.split(';').next().unwrap_or_default().trim();
    accepts.iter().any(|accepted| kind.eq_ignore_ascii_case(accepted))
}

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
