//! Who may call: the first argument of every handler. Without one of these there is no context, and without a context no verb.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::extract::RawPathParams;
use axum::http::header;
use axum::http::request::Parts;
use certctl_domain::auth::perm::{self, Asked};
use certctl_domain::ids::{AgentId, Id as _};
use certctl_engine::auth::authenticate;
use certctl_engine::{Caller, Ctx, Engine, Error};

use super::frame::RequestInfo;
use super::operation::Operation;
use crate::problem::Problem;
use crate::state::AppState;

/// Says who may call an operation.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say who may call this operation",
    note = "the first argument of a handler is Authorized<perm::X>, AuthorizedAgent<perm::X>, Authenticated or Public"
)]
pub trait Access: FromRequestParts<AppState, Rejection = Problem> {
    /// Writes down who may call.
    fn describe(operation: &mut Operation);
}

/// Somebody who holds the permission `P` somewhere; the context reaches no further than where. Agents are not among them.
#[derive(Debug)]
pub struct Authorized<P> {
    ctx: Ctx,
    permission: PhantomData<P>,
}

/// The agent whose id is in the path, acting as itself.
#[derive(Debug)]
pub struct AuthorizedAgent<P = perm::AgentJobPoll> {
    ctx: Ctx,
    id: AgentId,
    permission: PhantomData<P>,
}

/// Anybody with a credential.
#[derive(Debug)]
pub struct Authenticated {
    /// Who.
    pub caller: Caller,
    /// The verbs.
    pub engine: Arc<Engine>,
    /// The request's id.
    pub request_id: Option<String>,
}

/// Everybody, with or without a credential, which is not looked at.
#[derive(Debug)]
pub struct Public {
    /// The verbs.
    pub engine: Arc<Engine>,
    /// The request's id.
    pub request_id: Option<String>,
}

impl<P: Asked> Access for Authorized<P> {
    fn describe(operation: &mut Operation) {
        operation.credential = true;
        operation.permission = Some(P::PERMISSION);
    }
}

impl<P: Asked> Access for AuthorizedAgent<P> {
    fn describe(operation: &mut Operation) {
        operation.credential = true;
        operation.own_agent = true;
        operation.permission = Some(P::PERMISSION);
    }
}

impl Access for Authenticated {
    fn describe(operation: &mut Operation) {
        operation.credential = true;
    }
}

impl Access for Public {
    fn describe(_operation: &mut Operation) {}
}

impl<P> Deref for Authorized<P> {
    type Target = Ctx;

    fn deref(&self) -> &Ctx {
        &self.ctx
    }
}

impl<P> Deref for AuthorizedAgent<P> {
    type Target = Ctx;

    fn deref(&self) -> &Ctx {
        &self.ctx
    }
}

impl<P> AuthorizedAgent<P> {
    /// The agent.
    #[must_use]
    pub const fn id(&self) -> &AgentId {
        &self.id
    }
}

impl<P: Asked> FromRequestParts<AppState> for Authorized<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let caller = caller(parts, state).await?;
        if let Some(agent) = &caller.agent {
            return Err(Error::forbidden(format!("agent `{agent}` may only call operations of its own, below /api/v1/agents/{agent}/"))
                .hint("use an API key")
                .into());
        }
        let ctx = Ctx::authorize(&state.engine, &caller, P::PERMISSION, request_id(parts))?;
        Ok(Self { ctx, permission: PhantomData })
    }
}

impl<P: Asked> FromRequestParts<AppState> for AuthorizedAgent<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let caller = caller(parts, state).await?;
        let params = RawPathParams::from_request_parts(parts, state).await;
        let asked = params.ok().and_then(|params| params.iter().find(|(name, _)| *name == "id").map(|(_, id)| id.to_owned()));
        let Some(id) = caller.agent.clone().filter(|agent| Some(agent.as_str()) == asked.as_deref()) else {
            return Err(Error::forbidden(format!(
                "{} is not the agent `{}`; an agent speaks for itself alone",
                caller.actor,
                asked.unwrap_or_default()
            ))
            .hint("call with the credential of that agent")
            .into());
        };
        let ctx = Ctx::authorize(&state.engine, &caller, P::PERMISSION, request_id(parts))?;
        Ok(Self { ctx, id, permission: PhantomData })
    }
}

impl FromRequestParts<AppState> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let caller = caller(parts, state).await?;
        Ok(Self { caller, engine: Arc::clone(&state.engine), request_id: request_id(parts) })
    }
}

impl FromRequestParts<AppState> for Public {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        Ok(Self { engine: Arc::clone(&state.engine), request_id: request_id(parts) })
    }
}

/// Who calls. Asked once for a request, however many look.
pub(super) async fn caller(parts: &mut Parts, state: &AppState) -> Result<Caller, Problem> {
    if let Some(caller) = parts.extensions.get::<Caller>() {
        return Ok(caller.clone());
    }
    let bearer = bearer(parts)?;
    let caller = state.engine.authenticator().authenticate(&state.engine, bearer).await?;
    if let Some(info) = parts.extensions.get::<Arc<RequestInfo>>() {
        info.acts(&caller.actor);
    }
    parts.extensions.insert(caller.clone());
    Ok(caller)
}

/// RFC 6750 section 2.1.
fn bearer(parts: &Parts) -> Result<&str, Problem> {
    let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = headers.next() else {
        return Err(authenticate::missing().into());
    };
    let token = value.to_str().ok().and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match (token, headers.next()) {
        (Some((_, token)), None) if !token.trim().is_empty() => Ok(token.trim()),
        _ => Err(Error::new(
            certctl_engine::ErrorKind::Unauthenticated,
            "credential_malformed",
            "the Authorization header is not `Bearer` and one token",
        )
        .hint("send `Authorization: Bearer ck_...`")
        .into()),
    }
}

fn request_id(parts: &Parts) -> Option<String> {
    parts.extensions.get::<Arc<RequestInfo>>().map(|info| info.id().to_owned())
}
