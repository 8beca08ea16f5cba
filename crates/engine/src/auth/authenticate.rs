//! From a bearer token to a [`Caller`]: one indexed read for each request, grants from memory while nothing changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use certctl_domain::auth::{Actor, ActorKind, Grants, Scope, system_roles};
use certctl_domain::ids::{ActorId, AgentId, Id as _, RoleId};
use certctl_domain::time::Timestamp;
use certctl_store::heartbeats::Heartbeats;
use certctl_store::{actors, api_keys, table};

use super::token::{Token, TokenKind};
use crate::Engine;
use crate::ctx::Caller;
use crate::error::{Error, ErrorKind, Result};

/// Knows callers by their tokens. One per process.
#[derive(Debug)]
pub struct Authenticator {
    /// What actors may do, as of an epoch that every change of roles, actors and keys moves on: a replica that reads another epoch
    /// with the key drops what it remembers, so a change holds everywhere with the next request.
    remembered: Mutex<HashMap<ActorId, Remembered>>,
    agents: Arc<Grants>,
    heartbeats: Arc<Heartbeats>,
}

#[derive(Debug, Clone)]
struct Remembered {
    epoch: i64,
    until: Option<Timestamp>,
    grants: Arc<Grants>,
}

impl Authenticator {
    /// Remembers nothing yet. Uses of keys are told to `heartbeats`: a write for each request would make a hot row of every busy key.
    #[must_use]
    pub fn new(heartbeats: Arc<Heartbeats>) -> Self {
        let agent = system_roles().into_iter().filter(|(id, ..)| *id == AGENT_ROLE).flat_map(|(.., permissions)| permissions);
        let permissions: Vec<_> = agent.map(|permission| (permission, Scope::Global)).collect();
        let agents = Grants::from_roles([(&Scope::Global, permissions.as_slice())]);
        Self { remembered: Mutex::default(), agents: Arc::new(agents), heartbeats }
    }

    /// Who calls with this bearer token.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] when the token is not known or no longer in force; other kinds when the store does not answer.
    pub async fn authenticate(&self, engine: &Engine, bearer: &str) -> Result<Caller> {
        let Some(token) = Token::parse(bearer) else {
            return Err(unknown());
        };
        match token.kind() {
            TokenKind::ApiKey => self.key(engine, &token).await,
            TokenKind::Agent => self.agent(engine, &token).await,
            TokenKind::Enrollment => Err(refused(
                "credential_unknown",
                "an enrollment token is not a credential",
                "use it once with `certctl-agent enroll`; the agent then has a credential of its own",
            )),
        }
    }

    async fn key(&self, engine: &Engine, token: &Token) -> Result<Caller> {
        let found = api_keys::credential(engine.store().db(), &token.public_part()).await?;
        // An unknown id costs a hash and a comparison too, so that the answer's time tells nothing about which ids exist.
        if !token.matches(found.as_ref().map_or(NOBODY, |found| &found.secret_hash)) {
            return Err(unknown());
        }
        let Some(found) = found else {
            return Err(unknown());
        };
        let now = engine.now();
        if found.revoked_at.is_some() {
            return Err(refused("credential_revoked", "the API key was revoked", "use another key, or ask an administrator for one"));
        }
        if found.expires_at.is_some_and(|at| at <= now) {
            return Err(refused("credential_expired", "the API key has expired", "ask an administrator for a new key"));
        }
        if found.disabled_at.is_some() {
            return Err(refused("actor_disabled", "the actor of this API key is disabled", "ask an administrator to enable it"));
        }
        let grants = match self.remembered(&found.actor, found.epoch, now) {
            Some(grants) => grants,
            None => self.look_up(engine, &found, now).await?,
        };
        self.heartbeats.used(found.key, now);
        Ok(Caller { actor: found.actor, kind: found.kind, grants, agent: None })
    }

    async fn agent(&self, engine: &Engine, token: &Token) -> Result<Caller> {
        let Ok(agent) = AgentId::parse(&format!("{}{}", AgentId::PREFIX, token.id())) else {
            return Err(unknown());
        };
        let found = api_keys::agent_credential(engine.store().db(), &agent).await?;
        if !token.matches(found.as_ref().map_or(NOBODY, |found| &found.secret_hash)) {
            return Err(unknown());
        }
        if found.is_none_or(|found| found.retired_at.is_some()) {
            let gone = Error::new(ErrorKind::Gone, "agent_retired", "this agent was retired");
            return Err(gone.hint("stop it; to use the host again, enroll a new agent with a new enrollment token"));
        }
        let actor = ActorId::parse(agent.as_str()).map_err(|e| Error::internal(e.to_string()))?;
        Ok(Caller { actor, kind: ActorKind::Agent, grants: Arc::clone(&self.agents), agent: Some(agent) })
    }

    fn remembered(&self, actor: &ActorId, epoch: i64, now: Timestamp) -> Option<Arc<Grants>> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let known = remembered.get(actor)?;
        (known.epoch == epoch && known.until.is_none_or(|until| now < until)).then(|| Arc::clone(&known.grants))
    }

    async fn look_up(&self, engine: &Engine, found: &api_keys::Credential, now: Timestamp) -> Result<Arc<Grants>> {
        let holding = actors::holding(engine.store().db(), &found.actor, now).await?;
        let grants = Arc::new(holding.grants);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MOST_REMEMBERED {
            remembered.clear();
        }
        // The epoch was read before the roles: a change in between has a later one and is looked up again.
        let entry = Remembered { epoch: found.epoch, until: holding.until, grants: Arc::clone(&grants) };
        remembered.insert(found.actor.clone(), entry);
        Ok(grants)
    }
}

/// The roles that a caller holds now.
///
/// # Errors
/// When the store does not answer.
pub async fn roles_of(engine: &Engine, caller: &Caller) -> Result<Vec<RoleId>> {
    if caller.agent.is_some() {
        return Ok(RoleId::parse(AGENT_ROLE).into_iter().collect());
    }
    let actor = table::get::<Actor>(engine.store().db(), &caller.actor).await?;
    let now = engine.now();
    let held = actor.into_iter().flat_map(|actor| actor.roles).filter(|held| held.expires_at.is_none_or(|end| end > now));
    let roles: BTreeSet<RoleId> = held.map(|held| held.role_id).collect();
    Ok(roles.into_iter().collect())
}

/// No credential came with a request that needs one.
#[must_use]
pub fn missing() -> Error {
    refused(
        "credential_missing",
        "this needs a credential",
        "send an API key as `Authorization: Bearer ck_...`; `certctl login` keeps one for the command line",
    )
}

fn unknown() -> Error {
    refused(
        "credential_unknown",
        "the credential is not known",
        "check that the whole token was copied, or ask an administrator for a new one",
    )
}

fn refused(code: &'static str, detail: &str, hint: &str) -> Error {
    Error::new(ErrorKind::Unauthenticated, code, detail).hint(hint)
}

const AGENT_ROLE: &str = "r-agent";
const MOST_REMEMBERED: usize = 10_000;
/// The hash of nothing that can be a secret.
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";
