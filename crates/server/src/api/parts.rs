//! Parts of a request beside its body: the path, the query, and the headers that guard a change.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams};
use axum::http::header;
use axum::http::request::Parts;
use certctl_domain::ids::Id as _;
use certctl_domain::noun::Refusal;
use certctl_engine::Error;
use certctl_store::table::{self, Stored};
use serde::de::DeserializeOwned;
use serde_json::json;
use utoipa::ToSchema;

use super::operation::{Operation, Part};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// The parameters of the path, in their order.
#[derive(Debug)]
pub struct Path<T>(pub T);

/// A noun by its id or its unique name in `{id}`.
#[derive(Debug)]
pub struct Named<N: Stored>(pub N::Id);

/// A noun by its id alone in `{id}`, where names are not unique.
#[derive(Debug)]
pub struct Unnamed<N: Stored>(pub N::Id);

/// The query. Its type refuses unknown parameters (`#[serde(deny_unknown_fields)]`).
#[derive(Debug)]
pub struct Query<T>(pub T);

/// The revision that a change is meant for, if the caller says so.
#[derive(Debug, Clone, Copy)]
pub struct IfMatch(pub Option<i64>);

/// The address that the request came from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub Option<SocketAddr>);

impl<T: DeserializeOwned + Send> FromRequestParts<AppState> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Answer<Self> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        match path {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Error::invalid("invalid_path", rejection.body_text()).into()),
        }
    }
}

impl<N: Stored> FromRequestParts<AppState> for Named<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Answer<Self> {
        let text = id_param(parts, state).await;
        if let Some(id) = generated::<N>(&text) {
            return Ok(Self(id));
        }
        let found = if text.len() <= LONGEST_NAME { table::resolve::<N>(state.engine.store().db(), &text).await? } else { None };
        found.map(Self).ok_or_else(|| Error::not_found(N::KIND, short(&text)).into())
    }
}

impl<N: Stored> FromRequestParts<AppState> for Unnamed<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Answer<Self> {
        let text = id_param(parts, state).await;
        N::Id::parse(&text).map(Self).map_err(|_| Error::not_found(N::KIND, short(&text)).into())
    }
}

impl<T: DeserializeOwned> FromRequestParts<AppState> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Answer<Self> {
        let rejected =
            |text: String| Problem::from(Error::invalid("invalid_query", text).hint("see the operation in /api/v1/openapi.json"));
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri).map_err(|rejection| rejected(rejection.body_text()))?;
        Ok(Self(query.0))
    }
}

impl FromRequestParts<AppState> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Answer<Self> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            return Ok(Self(None));
        };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let tag = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        match tag.map(str::parse::<i64>) {
            Some(Ok(revision)) => Ok(Self(Some(revision))),
            // Some tag, but none of ours, or a weak one, which never matches here (RFC 9110 section 13.1.1).
            Some(Err(_)) => Ok(Self(Some(-1))),
            None if text.starts_with("W/\"") => Ok(Self(Some(-1))),
            None => Err(Refusal::field("If-Match", "is not one entity tag in double quotes, or *")
                .hint("send the ETag that came with the object")
                .into()),
        }
    }
}

impl FromRequestParts<AppState> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Answer<Self> {
        Ok(Self(parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer)))
    }
}

impl<T> Part for Path<T> {
    fn describe(operation: &mut Operation) {
        operation.problem(400);
    }
}

impl<N: Stored> Part for Named<N> {
    fn describe(operation: &mut Operation) {
        operation.by_name = true;
    }
}

impl<N: Stored> Part for Unnamed<N> {
    fn describe(_operation: &mut Operation) {}
}

impl<T: ToSchema> Part for Query<T> {
    fn describe(operation: &mut Operation) {
        let (properties, required) = operation.schemas.properties::<T>();
        for (name, mut schema) in properties {
            let description = schema.as_object_mut().and_then(|schema| schema.remove("description")).unwrap_or_default();
            let required = required.contains(&name);
            operation.parameter(json!({"in": "query", "name": name, "required": required, "description": description, "schema": schema}));
        }
        operation.problem(400);
    }
}

impl Part for IfMatch {
    fn describe(operation: &mut Operation) {
        operation.header("If-Match", "The ETag of the object that the change is meant for", json!({"type": "string"}));
        operation.problem(412);
    }
}

impl Part for Peer {
    fn describe(_operation: &mut Operation) {}
}

async fn id_param(parts: &mut Parts, state: &AppState) -> String {
    let params = RawPathParams::from_request_parts(parts, state).await;
    params.ok().and_then(|params| params.iter().find(|(name, _)| *name == "id").map(|(_, id)| id.to_owned())).unwrap_or_default()
}

/// An id as certctl generates it cannot be a name that somebody chose: it needs no look-up.
fn generated<N: Stored>(text: &str) -> Option<N::Id> {
    let uuid = text.strip_prefix(N::Id::PREFIX)?;
    (uuid.len() == 36 && uuid::Uuid::try_parse(uuid).is_ok()).then(|| N::Id::parse(text).ok())?
}

fn short(text: &str) -> String {
    text.chars().take(64).filter(|c| !c.is_control()).collect()
}

const LONGEST_NAME: usize = 1_020;
