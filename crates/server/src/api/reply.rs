//! What comes back: each kind of answer knows its status, its headers and how the document describes it.

use std::marker::PhantomData;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use certctl_domain::list::Page;
use certctl_domain::noun::Noun;
use certctl_engine::Error;
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::operation::Operation;
use crate::problem::{Answer, Problem};

/// An answer that describes itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an answer that describes itself",
    note = "answers are Json, One, Listing, Created, Accepted, NoContent, Ndjson, File and Text"
)]
pub trait Reply: IntoResponse {
    /// Writes down what it is.
    fn describe(operation: &mut Operation);
}

/// 200 with a value.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// 200 with something that has revisions, and its `ETag`.
#[derive(Debug)]
pub struct One<T> {
    value: T,
    revision: i64,
}

/// 200 with one page of a list; the rows stand under `data`, and under a second name where existing scripts read one.
#[derive(Debug)]
pub struct Listing<T, A = ()> {
    page: Page<T>,
    fields: Option<Vec<String>>,
    also: PhantomData<A>,
}

/// The second name of a list's rows.
pub trait Also {
    /// The name, if there is one.
    const NAME: Option<&'static str>;
}

impl Also for () {
    const NAME: Option<&'static str> = None;
}

/// 201 with what was made and where it is.
#[derive(Debug)]
pub struct Created<T> {
    value: T,
    location: String,
    revision: Option<i64>,
}

/// 202 with what will be done and where to look.
#[derive(Debug)]
pub struct Accepted<T> {
    value: T,
    location: String,
}

/// 204.
#[derive(Debug, Clone, Copy)]
pub struct NoContent;

/// 200 with one JSON value a line, written while it is read.
pub struct Ndjson {
    name: String,
    body: Body,
}

/// 200 with a file of a media type.
#[derive(Debug)]
pub struct File<M> {
    name: String,
    bytes: Vec<u8>,
    media: PhantomData<M>,
}

/// 200 with text of a media type.
#[derive(Debug)]
pub struct Text<M> {
    text: String,
    media: PhantomData<M>,
}

/// A media type as a type.
pub trait MediaType {
    /// Its name.
    const NAME: &'static str;
}

/// `text/plain`
#[derive(Debug, Clone, Copy)]
pub struct Plain;

/// `application/x-pkcs12`
#[derive(Debug, Clone, Copy)]
pub struct Pkcs12;

/// OpenMetrics.
#[derive(Debug, Clone, Copy)]
pub struct OpenMetrics;

impl MediaType for Plain {
    const NAME: &'static str = "text/plain; charset=utf-8";
}

impl MediaType for Pkcs12 {
    const NAME: &'static str = "application/x-pkcs12";
}

impl MediaType for OpenMetrics {
    const NAME: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
}

impl<T> Listing<T> {
    /// A page, of whose rows only `fields` are given, if they are named.
    #[must_use]
    pub const fn new(page: Page<T>, fields: Option<Vec<String>>) -> Self {
        Self { page, fields, also: PhantomData }
    }

    /// Gives the rows under a second name too.
    #[must_use]
    pub fn also<A: Also>(self) -> Listing<T, A> {
        Listing { page: self.page, fields: self.fields, also: PhantomData }
    }
}

impl<N: Noun> One<N> {
    /// A noun.
    pub fn noun(noun: N) -> Self {
        let revision = noun.revision();
        Self { value: noun, revision }
    }
}

impl<T> One<T> {
    /// Something at this revision.
    pub const fn at(value: T, revision: i64) -> Self {
        Self { value, revision }
    }
}

impl<N: Noun> Created<N> {
    /// A noun, below the path of its kind.
    pub fn noun(noun: N, path: &str) -> Self {
        let location = format!("{path}/{}", noun.id());
        let revision = Some(noun.revision());
        Self { value: noun, location, revision }
    }
}

impl<T> Created<T> {
    /// Something at a place.
    pub fn at(value: T, location: impl Into<String>) -> Self {
        Self { value, location: location.into(), revision: None }
    }
}

impl<T> Accepted<T> {
    /// Work, and where to see how it goes.
    pub fn at(value: T, location: impl Into<String>) -> Self {
        Self { value, location: location.into() }
    }
}

impl Ndjson {
    /// A file of that name. An error in the middle breaks the connection off, so that nobody takes a part for the whole.
    pub fn new<T: Serialize>(name: impl Into<String>, rows: impl Stream<Item = certctl_engine::Result<T>> + Send + 'static) -> Self {
        let lines = rows.map(|row| {
            let mut line = row.and_then(|row| serde_json::to_vec(&row).map_err(|e| Error::internal(e.to_string())));
            match &mut line {
                Ok(line) => line.push(b'\n'),
                Err(error) => tracing::error!(cause = %error, "an export broke off"),
            }
            line.map(Bytes::from)
        });
        Self { name: name.into(), body: Body::from_stream(lines) }
    }
}

impl<M> File<M> {
    /// A file of that name.
    pub fn new(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { name: name.into(), bytes, media: PhantomData }
    }
}

impl<M> Text<M> {
    /// A text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), media: PhantomData }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        written(StatusCode::OK, &self.0)
    }
}

impl<T: Serialize> IntoResponse for One<T> {
    fn into_response(self) -> Response {
        tagged(written(StatusCode::OK, &self.value), self.revision)
    }
}

impl<T: Serialize, A: Also> IntoResponse for Listing<T, A> {
    fn into_response(self) -> Response {
        if self.fields.is_none() && A::NAME.is_none() {
            return written(StatusCode::OK, &self.page);
        }
        let Ok(mut page) = serde_json::to_value(&self.page) else {
            return broken("a page cannot be written");
        };
        if let (Some(fields), Some(rows)) = (&self.fields, page.get_mut("data").and_then(Value::as_array_mut)) {
            for row in rows.iter_mut().filter_map(Value::as_object_mut) {
                row.retain(|name, _| fields.contains(name));
            }
        }
        if let (Some(name), Some(rows), Some(page)) = (A::NAME, page.get("data").cloned(), page.as_object_mut()) {
            page.insert(name.to_owned(), rows);
        }
        written(StatusCode::OK, &page)
    }
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let response = located(written(StatusCode::CREATED, &self.value), &self.location);
        match self.revision {
            Some(revision) => tagged(response, revision),
            None => response,
        }
    }
}

impl<T: Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        located(written(StatusCode::ACCEPTED, &self.value), &self.location)
    }
}

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl IntoResponse for Ndjson {
    fn into_response(self) -> Response {
        let mut response = self.body.into_response();
        set(&mut response, header::CONTENT_TYPE, "application/x-ndjson");
        saved_as(response, &self.name)
    }
}

impl<M: MediaType> IntoResponse for File<M> {
    fn into_response(self) -> Response {
        let mut response = self.bytes.into_response();
        set(&mut response, header::CONTENT_TYPE, M::NAME);
        saved_as(response, &self.name)
    }
}

impl<M: MediaType> IntoResponse for Text<M> {
    fn into_response(self) -> Response {
        let mut response = self.text.into_response();
        set(&mut response, header::CONTENT_TYPE, M::NAME);
        response
    }
}

impl<T: Serialize + ToSchema> Reply for Json<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schema::<T>();
        operation.gives(200, json!({"description": "It", "content": {"application/json": {"schema": schema}}}));
    }
}

impl<T: Serialize + ToSchema> Reply for One<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schema::<T>();
        let headers = json!({"ETag": etag()});
        operation.gives(200, json!({"description": "It", "headers": headers, "content": {"application/json": {"schema": schema}}}));
    }
}

impl<T: Serialize + ToSchema, A: Also> Reply for Listing<T, A> {
    fn describe(operation: &mut Operation) {
        let row = operation.schema::<T>();
        let mut schema = page_of(&row);
        if let (Some(name), Some(properties)) = (A::NAME, schema.get_mut("properties").and_then(Value::as_object_mut)) {
            properties.insert(name.to_owned(), json!({"type": "array", "items": row, "description": "The same as data"}));
        }
        operation.gives(200, json!({"description": "One page", "content": {"application/json": {"schema": schema}}}));
    }
}

impl<T: Serialize + ToSchema> Reply for Created<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schema::<T>();
        let headers = json!({"Location": location(), "ETag": etag()});
        operation.gives(201, json!({"description": "Made", "headers": headers, "content": {"application/json": {"schema": schema}}}));
    }
}

impl<T: Serialize + ToSchema> Reply for Accepted<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schema::<T>();
        let headers = json!({"Location": location()});
        operation.gives(202, json!({"description": "Accepted", "headers": headers, "content": {"application/json": {"schema": schema}}}));
    }
}

impl Reply for NoContent {
    fn describe(operation: &mut Operation) {
        operation.gives(204, json!({"description": "Done"}));
    }
}

impl Reply for Ndjson {
    fn describe(operation: &mut Operation) {
        let content = json!({"application/x-ndjson": {"schema": {"type": "string"}}});
        operation.gives(200, json!({"description": "One JSON value a line", "content": content}));
    }
}

impl<M: MediaType> Reply for File<M> {
    fn describe(operation: &mut Operation) {
        let content = json!({M::NAME: {"schema": {"type": "string", "format": "binary"}}});
        operation.gives(200, json!({"description": "A file", "content": content}));
    }
}

impl<M: MediaType> Reply for Text<M> {
    fn describe(operation: &mut Operation) {
        let media = M::NAME.split(';').next().unwrap_or(M::NAME);
        operation.gives(200, json!({"description": "Text", "content": {media: {"schema": {"type": "string"}}}}));
    }
}

impl<T: Reply> Reply for Answer<T> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
    }
}

impl std::fmt::Debug for Ndjson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ndjson").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The envelope of every list.
fn page_of(row: &Value) -> Value {
    let integer = |description: &str| json!({"type": "integer", "format": "int64", "description": description});
    json!({
        "type": "object",
        "required": ["data", "total", "page", "per_page"],
        "properties": {
            "data": {"type": "array", "items": row},
            "total": integer("Rows over all pages"),
            "total_is_estimate": {"type": "boolean", "description": "Set when there are more than were counted"},
            "page": integer("Number of the page; 1 when a cursor is used"),
            "per_page": integer("Rows of a page"),
            "next_cursor": {"type": "string", "description": "Where the next page begins; absent on the last one"},
        },
    })
}

fn written(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], bytes).into_response(),
        Err(error) => broken(&format!("an answer cannot be written: {error}")),
    }
}

fn broken(why: &str) -> Response {
    Problem::from(Error::internal(why)).into_response()
}

fn tagged(mut response: Response, revision: i64) -> Response {
    set(&mut response, header::ETAG, &format!("\"{revision}\""));
    response
}

fn located(mut response: Response, location: &str) -> Response {
    set(&mut response, header::LOCATION, location);
    response
}

fn saved_as(mut response: Response, name: &str) -> Response {
    set(&mut response, header::CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""));
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn etag() -> Value {
    json!({"description": "The revision, for If-Match", "schema": {"type": "string"}})
}

fn location() -> Value {
    json!({"description": "Where it is", "schema": {"type": "string"}})
}
