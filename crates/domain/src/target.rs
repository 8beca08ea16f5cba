//! A target: a place on an agent's host where a certificate is put.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::ids::{AgentId, TargetId};
use crate::noun::{Check, Noun, Refusal};
use crate::time::Timestamp;

/// A place where a certificate is put.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Target {
    /// Identifier.
    pub id: TargetId,
    /// Unique name.
    pub name: String,
    /// The connector, such as `NGINX` or `Files`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The agent beside it.
    pub agent_id: AgentId,
    /// The connector's configuration; secrets are shown as `[redacted]`.
    pub config: Map<String, Value>,
    /// Whether certificates are put there.
    pub enabled: bool,
    /// Counts changes.
    pub revision: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a caller gives for a target.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetDraft {
    /// Identifier, if the caller chooses it.
    pub id: Option<TargetId>,
    /// Unique name.
    pub name: String,
    /// The connector.
    #[serde(rename = "type")]
    pub kind: String,
    /// The agent beside it.
    pub agent_id: AgentId,
    /// The connector's configuration.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// Default true.
    #[serde(default = "yes")]
    pub enabled: bool,
}

impl Noun for Target {
    type Id = TargetId;
    type Draft = TargetDraft;
    const KIND: &'static str = "target";
    const PLURAL: &'static str = "targets";

    fn id(&self) -> &TargetId {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn revision(&self) -> i64 {
        self.revision
    }
    fn chosen_id(draft: &TargetDraft) -> Option<&TargetId> {
        draft.id.as_ref()
    }
    fn create(id: TargetId, draft: TargetDraft, now: Timestamp) -> Result<Self, Refusal> {
        let mut check = Check::default();
        check.name("name", &draft.name).that(!draft.kind.is_empty(), "type", "must name a connector");
        check.finish(|| Self {
            id,
            name: draft.name,
            kind: draft.kind,
            agent_id: draft.agent_id,
            config: draft.config,
            enabled: draft.enabled,
            revision: 1,
            created_at: now,
            updated_at: now,
        })
    }
    fn replace(&self, draft: TargetDraft, now: Timestamp) -> Result<Self, Refusal> {
        let mut check = Check::default();
        check.that(draft.kind == self.kind, "type", "cannot be changed").that(
            draft.agent_id == self.agent_id,
            "agent_id",
            "cannot be changed: the key stays on the host where it was made",
        );
        check.finish(|| ()).map_err(|refusal| refusal.hint("make a new target and give it to the certificates"))?;
        let new = Self::create(self.id.clone(), draft, now)?;
        Ok(Self { revision: self.revision + 1, created_at: self.created_at, ..new })
    }
    fn draft(&self) -> TargetDraft {
        let this = self.clone();
        TargetDraft {
            id: Some(this.id),
            name: this.name,
            kind: this.kind,
            agent_id: this.agent_id,
            config: this.config,
            enabled: this.enabled,
        }
    }
}

const fn yes() -> bool {
    true
}
