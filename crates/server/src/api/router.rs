//! The list of operations, and the router made of it.

use std::borrow::Cow;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use certctl_engine::{Error, ErrorKind};
use tower_http::sensitive_headers::SetSensitiveHeadersLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use super::frame;
use super::idempotency;
use super::operation::{Described, Operation};
use crate::handlers::pki;
use crate::problem::Problem;
use crate::rate_limit;
use crate::state::AppState;

/// The list of operations.
#[derive(Debug, Default)]
pub struct Api {
    pub(super) routes: Vec<Route>,
}

/// An operation.
#[derive(Debug)]
pub struct Route {
    pub(super) method: Method,
    pub(super) path: Cow<'static, str>,
    pub(super) summary: Cow<'static, str>,
    pub(super) operation: Operation,
    router: MethodRouter<AppState>,
    time: Option<Duration>,
}

impl Api {
    /// No operation yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an operation that reads.
    pub fn get<H, T, D>(&mut self, path: impl Into<Cow<'static, str>>, summary: impl Into<Cow<'static, str>>, handler: H) -> &mut Route
    where
        H: Handler<T, AppState> + Described<D>,
        T: 'static,
    {
        self.add(MethodFilter::GET, path.into(), summary.into(), handler)
    }

    /// Adds an operation that makes or does something. `Idempotency-Key` is honored.
    pub fn post<H, T, D>(&mut self, path: impl Into<Cow<'static, str>>, summary: impl Into<Cow<'static, str>>, handler: H) -> &mut Route
    where
        H: Handler<T, AppState> + Described<D>,
        T: 'static,
    {
        self.add(MethodFilter::POST, path.into(), summary.into(), handler)
    }

    /// Adds an operation that replaces.
    pub fn put<H, T, D>(&mut self, path: impl Into<Cow<'static, str>>, summary: impl Into<Cow<'static, str>>, handler: H) -> &mut Route
    where
        H: Handler<T, AppState> + Described<D>,
        T: 'static,
    {
        self.add(MethodFilter::PUT, path.into(), summary.into(), handler)
    }

    /// Adds an operation that changes fields.
    pub fn patch<H, T, D>(&mut self, path: impl Into<Cow<'static, str>>, summary: impl Into<Cow<'static, str>>, handler: H) -> &mut Route
    where
        H: Handler<T, AppState> + Described<D>,
        T: 'static,
    {
        self.add(MethodFilter::PATCH, path.into(), summary.into(), handler)
    }

    /// Adds an operation that deletes.
    pub fn delete<H, T, D>(&mut self, path: impl Into<Cow<'static, str>>, summary: impl Into<Cow<'static, str>>, handler: H) -> &mut Route
    where
        H: Handler<T, AppState> + Described<D>,
        T: 'static,
    {
        self.add(MethodFilter::DELETE, path.into(), summary.into(), handler)
    }

    /// The router of all operations, with what stands around each request.
    pub fn into_router(self, state: AppState) -> Router {
        let mut router = Router::new();
        for route in self.routes {
            let time = route.time.unwrap_or(state.limits.time);
            let mut handler = route.router;
            if route.method == Method::POST && route.operation.credential {
                handler = handler.layer(from_fn_with_state(state.clone(), idempotency::honor));
            }
            let handler = handler.layer(from_fn_with_state(time, in_time));
            router = router.route(&route.path, handler);
        }
        router
            .fallback(pki::fallback)
            .method_not_allowed_fallback(frame::method_not_allowed)
            .layer(from_fn_with_state(state.clone(), rate_limit::limit))
            .layer(from_fn_with_state(state.clone(), frame::frame))
            .layer(SetSensitiveHeadersLayer::new([header::AUTHORIZATION, header::COOKIE, header::SET_COOKIE]))
            .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
            .layer(SetResponseHeaderLayer::if_not_present(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
            .with_state(state)
    }

    fn add<H, T, D>(&mut self, method: MethodFilter, path: Cow<'static, str>, summary: Cow<'static, str>, handler: H) -> &mut Route
    where
        H: Handler<T, AppState> + Described<D>,
        T: 'static,
    {
        let mut operation = Operation::default();
        H::describe(&mut operation);
        let router = on(method, handler);
        let route = Route { method: method_of(method), path, summary, operation, router, time: None };
        self.routes.push_mut(route)
    }
}

impl Route {
    /// Lets the answer begin later than the general limit, for operations that wait on purpose.
    pub const fn within(&mut self, time: Duration) -> &mut Self {
        self.time = Some(time);
        self
    }

    /// Names a problem that may come beside those that follow from its parts.
    pub fn problem(&mut self, status: StatusCode) -> &mut Self {
        self.operation.problem(status.as_u16());
        self
    }
}

async fn in_time(State(time): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let error = Error::new(ErrorKind::Unavailable, "timeout", format!("this took longer than {} s", time.as_secs()));
            Problem::from(error.hint("try again; if it stays so, look at the server's log and load")).into_response()
        }
    }
}

fn method_of(filter: MethodFilter) -> Method {
    match filter {
        MethodFilter::POST => Method::POST,
        MethodFilter::PUT => Method::PUT,
        MethodFilter::PATCH => Method::PATCH,
        MethodFilter::DELETE => Method::DELETE,
        _ => Method::GET,
    }
}
