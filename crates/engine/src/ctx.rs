//! The context: who acts, when, with what. Every engine function takes it first.

use std::sync::Arc;

use certctl_domain::auth::{ActorKind, Grants, Permission, Reach};
use certctl_domain::ids::{ActorId, AgentId, Id};
use certctl_domain::time::Timestamp;
use certctl_store::{Store, Who, WriteTx};

use crate::Engine;
use crate::error::{Error, Result};

/// Who acts, when, with what. Made from an authenticated [`Caller`] and a permission, or for a task of the product itself.
#[derive(Debug, Clone)]
pub struct Ctx {
    engine: Arc<Engine>,
    actor: ActorId,
    kind: ActorKind,
    grants: Arc<Grants>,
    reach: Reach,
    request_id: Option<String>,
    agent: Option<AgentId>,
}

/// Somebody whose credential was checked.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The actor.
    pub actor: ActorId,
    /// What kind.
    pub kind: ActorKind,
    /// All that it may do.
    pub grants: Arc<Grants>,
    /// The agent, if it is one.
    pub agent: Option<AgentId>,
}

impl Ctx {
    /// For a caller that holds `permission` somewhere; what it reaches is narrowed to where.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Forbidden`], naming the permission, when it is held nowhere, or in a scope only although it has none.
    pub fn authorize(engine: &Arc<Engine>, caller: &Caller, permission: Permission, request_id: Option<String>) -> Result<Self> {
        let reach = caller.grants.reach(permission);
        if reach.is_nowhere() {
            return Err(Error::forbidden(format!("{} lacks the permission {permission}", caller.actor))
                .hint(format!("ask an administrator for a role that has {permission}; `certctl roles list` shows them")));
        }
        let ctx = Self {
            engine: Arc::clone(engine),
            actor: caller.actor.clone(),
            kind: caller.kind,
            grants: Arc::clone(&caller.grants),
            reach,
            request_id,
            agent: caller.agent.clone(),
        };
        if !permission.has_scopes() {
            ctx.everywhere(permission)?;
        }
        Ok(ctx)
    }

    /// For a task of the product itself.
    #[must_use]
    pub fn system(engine: &Arc<Engine>, task: &'static str) -> Self {
        Self {
            engine: Arc::clone(engine),
            actor: ActorId::parse(task).unwrap_or_else(|_| ActorId::generate(Timestamp::UNIX_EPOCH, [0; 10])),
            kind: ActorKind::System,
            grants: Arc::new(Grants::all()),
            reach: Reach::everywhere(),
            request_id: None,
            agent: None,
        }
    }

    /// The engine.
    #[must_use]
    pub const fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.engine.store()
    }

    /// The instant now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.engine.now()
    }

    /// Who acts.
    #[must_use]
    pub const fn actor(&self) -> &ActorId {
        &self.actor
    }

    /// What kind of actor acts.
    #[must_use]
    pub const fn kind(&self) -> ActorKind {
        self.kind
    }

    /// Where the permission of this context holds.
    #[must_use]
    pub const fn reach(&self) -> &Reach {
        &self.reach
    }

    /// All that the actor may do.
    #[must_use]
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// The agent that acts, if one does.
    #[must_use]
    pub const fn agent(&self) -> Option<&AgentId> {
        self.agent.as_ref()
    }

    /// The request's id.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// A new identifier.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new_id<I: Id>(&self) -> Result<I> {
        Ok(self.store().new_id(self.now())?)
    }

    /// Begins a transaction in this actor's name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn write(&self) -> Result<WriteTx> {
        let who = Who { actor: self.actor.to_string(), kind: self.kind, request_id: self.request_id.clone(), at: self.now() };
        Ok(self.store().write(who).await?)
    }

    /// Refuses when the permission of this context does not hold everywhere.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Forbidden`].
    pub fn everywhere(&self, permission: Permission) -> Result<()> {
        if self.reach.everywhere {
            Ok(())
        } else {
            Err(Error::forbidden(format!(
                "{} holds {permission} for some profiles or issuers only, and this needs it everywhere",
                self.actor
            ))
            .hint("ask an administrator for the permission in the global scope"))
        }
    }
}
