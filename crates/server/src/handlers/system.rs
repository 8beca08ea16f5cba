//! Whether the process lives, whether it can work, and what it is.

use std::sync::LazyLock;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use certctl_api::system::{Health, Ready, ReadyCheck, VersionInfo};
use serde_json::{Value, json};

use crate::api::{Json, Operation, Part, Public, Reply};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// The process answers.
pub async fn health(_public: Public) -> Answer<Json<Health>> {
    Ok(Json(Health { status: "ok".to_owned() }))
}

/// The process can do its work.
pub async fn ready(_public: Public, state: AppState) -> Answer<Readiness> {
    let checks: Vec<ReadyCheck> = state.readiness.check().await.into_iter().map(shown).collect();
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { "ready" } else { "not_ready" }.to_owned();
    Ok(Readiness(Ready { status, checks }))
}

/// What the program is.
pub async fn version(_public: Public, state: AppState) -> Answer<Json<VersionInfo>> {
    let version = state.version.clone();
    Ok(Json(VersionInfo {
        version: version.version,
        commit: version.commit,
        modified: version.modified,
        build_time: version.build_time,
        go_version: version.toolchain,
    }))
}

/// This API as an OpenAPI document.
pub async fn openapi(_public: Public) -> Answer<Json<Value>> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(crate::routes::openapi);
    Ok(Json(DOCUMENT.clone()))
}

/// 200 when ready, else 503 with the same body.
#[derive(Debug)]
pub struct Readiness(Ready);

impl IntoResponse for Readiness {
    fn into_response(self) -> Response {
        let status = if self.0.checks.iter().all(|check| check.ok) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Json(self.0)).into_response()
    }
}

impl Reply for Readiness {
    fn describe(operation: &mut Operation) {
        let content = json!({"application/json": {"schema": operation.schema::<Ready>()}});
        operation.gives(200, json!({"description": "Ready", "content": content}));
        operation.gives(503, json!({"description": "Not ready", "content": content}));
    }
}

impl FromRequestParts<Self> for AppState {
    type Rejection = Problem;

    async fn from_request_parts(_parts: &mut Parts, state: &Self) -> Answer<Self> {
        Ok(state.clone())
    }
}

impl Part for AppState {
    fn describe(_operation: &mut Operation) {}
}

fn shown(check: crate::state::ReadinessCheck) -> ReadyCheck {
    ReadyCheck { name: check.name.to_owned(), ok: check.problem.is_none(), problem: check.problem }
}
