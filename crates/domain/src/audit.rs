//! Who did what, when, to what: append-only, numbered and chained.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::auth::ActorKind;
use crate::ids::AuditId;
use crate::time::Timestamp;

/// One thing that somebody did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEvent {
    /// Identifier.
    pub id: AuditId,
    /// Who.
    pub actor: String,
    /// What kind of actor.
    pub actor_type: ActorKind,
    /// What: `certificate.create`, `api_key.delete`.
    pub action: String,
    /// Kind of the thing it was done to.
    pub resource_type: String,
    /// The thing.
    pub resource_id: String,
    /// More about it; never a secret.
    pub details: Map<String, Value>,
    /// When.
    pub timestamp: Timestamp,
    /// Group of actions.
    pub event_category: AuditCategory,
    /// The request in which it was done.
    pub request_id: Option<String>,
    /// Gapless number; `None` until sealed, which takes about a second.
    pub sequence: Option<i64>,
    /// Hash over the previous hash and this event, in lower hex.
    pub row_hash: Option<String>,
}

/// Group of actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditCategory {
    /// Certificates, jobs, deployments.
    CertLifecycle,
    /// Actors, roles, keys, sessions.
    Auth,
    /// Everything that is set up.
    Config,
}

impl AuditCategory {
    /// Every category.
    pub const ALL: [Self; 3] = [Self::CertLifecycle, Self::Auth, Self::Config];

    /// The word in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertLifecycle => "cert_lifecycle",
            Self::Auth => "auth",
            Self::Config => "config",
        }
    }
}

/// What to write into the audit log with a change. Time, actor and request come from the context.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {
    /// What was done.
    pub action: &'static str,
    /// Group of actions.
    pub category: AuditCategory,
    /// Kind of the thing.
    pub resource_type: &'static str,
    /// The thing.
    pub resource_id: String,
    /// More about it; never a secret.
    pub details: Map<String, Value>,
}

impl Audit {
    /// An entry about one thing.
    pub fn new(category: AuditCategory, action: &'static str, resource_type: &'static str, resource_id: impl ToString) -> Self {
        Self { action, category, resource_type, resource_id: resource_id.to_string(), details: Map::new() }
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }
}
