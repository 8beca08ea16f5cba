//! The OpenAPI document, made of the same list as the router.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{Method, StatusCode};
use certctl_api::problem::Problem;
use serde_json::{Map, Value, json};

use super::router::{Api, Route};
use super::schema::Schemas;

impl Api {
    /// The document (OpenAPI 3.1). The same list gives the same bytes.
    #[must_use]
    pub fn openapi(self) -> Value {
        let mut schemas = Schemas::default();
        let problem = schemas.reference::<Problem>();
        let mut tags = BTreeSet::new();
        let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        for mut route in self.routes {
            let (tag, operation) = (tag_of(&route.path).to_owned(), document(&mut route));
            schemas.merge(std::mem::take(&mut route.operation.schemas));
            tags.insert(tag);
            paths.entry(route.path.to_string()).or_default().insert(route.method.as_str().to_ascii_lowercase(), operation);
        }
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "certctl",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "Owns a certificate's whole life: request, issue, deploy, prove, renew, revoke.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "tags": tags.iter().map(|tag| json!({"name": tag})).collect::<Vec<_>>(),
            "paths": paths,
            "components": {
                "schemas": schemas.into_value(),
                "responses": {
                    "Problem": {"description": "A problem (RFC 9457)", "content": {"application/problem+json": {"schema": problem}}},
                },
                "securitySchemes": {
                    "bearerAuth": {"type": "http", "scheme": "bearer", "description": "An API key, or an agent's credential"},
                },
            },
        })
    }

    /// What is wrong with the list itself: two operations at one place, or two schemas under one name. Empty when all is well.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let (mut places, mut ids) = (BTreeSet::new(), BTreeSet::new());
        let mut schemas = Schemas::default();
        for route in &self.routes {
            if !places.insert((route.method.as_str(), &route.path)) {
                mistakes.push(format!("{} {} is there twice", route.method, route.path));
            }
            if !ids.insert(operation_id(route)) {
                mistakes.push(format!("{} is the id of two operations", operation_id(route)));
            }
            if route.summary.trim().is_empty() {
                mistakes.push(format!("{} {} is not described", route.method, route.path));
            }
            schemas.merge(route.operation.schemas.clone());
        }
        mistakes.extend(schemas.clashes().iter().map(|name| format!("two types have the schema name {name}")));
        mistakes
    }
}

fn document(route: &mut Route) -> Value {
    let operation = &route.operation;
    let mut problems = operation.problems.clone();
    problems.extend([500, 503]);
    let mut parameters = path_parameters(route);
    parameters.extend(operation.parameters.iter().cloned());
    if operation.credential {
        problems.insert(401);
    }
    if operation.permission.is_some() {
        problems.insert(403);
    }
    if route.path.contains('{') {
        problems.insert(404);
    }
    if route.method != Method::GET && operation.credential {
        problems.insert(409);
    }
    if route.method == Method::POST && operation.credential {
        problems.insert(422);
        parameters.push(json!({
            "in": "header", "name": "Idempotency-Key", "required": false, "schema": {"type": "string", "maxLength": 255},
            "description": "Makes it safe to send the request again: it is done once",
        }));
    }
    let mut responses: BTreeMap<String, Value> = operation.answers.iter().map(|(status, it)| (status.to_string(), it.clone())).collect();
    for status in problems {
        let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        responses
            .entry(status.to_string())
            .or_insert_with(|| json!({"$ref": "#/components/responses/Problem", "description": reason.unwrap_or("Problem")}));
    }
    let mut document = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "tags": [tag_of(&route.path)],
        "parameters": parameters,
        "responses": responses,
        "security": if operation.credential { json!([{"bearerAuth": []}]) } else { json!([]) },
    });
    if let Some(document) = document.as_object_mut() {
        if let Some(body) = &operation.body {
            document.insert("requestBody".to_owned(), body.clone());
        }
        if let Some(permission) = operation.permission {
            document.insert("x-permission".to_owned(), permission.as_str().into());
        }
        if operation.own_agent {
            document.insert("x-own-agent".to_owned(), true.into());
        }
    }
    document
}

fn path_parameters(route: &Route) -> Vec<Value> {
    let names = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| {
            let description = match name {
                "id" if route.operation.by_name => "Identifier or unique name",
                "id" => "Identifier",
                _ => "Which one",
            };
            json!({"in": "path", "name": name, "required": true, "description": description, "schema": {"type": "string"}})
        })
        .collect()
}

/// `GET /api/v1/owners/{id}` is `get_owners_id`: stable as long as the path is.
fn operation_id(route: &Route) -> String {
    let path = route.path.trim_start_matches("/api/v1");
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(route.method.as_str().to_ascii_lowercase(), |id, word| id + "_" + word)
}

fn tag_of(path: &str) -> &str {
    let mut parts = path.trim_start_matches("/api/v1").split('/').filter(|part| !part.is_empty() && !part.starts_with('{'));
    match parts.next() {
        Some("auth") => "auth",
        Some("health" | "ready" | "version" | "openapi.json") | None => "system",
        Some(noun) => noun,
    }
}
