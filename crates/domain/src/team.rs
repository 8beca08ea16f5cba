//! A team: a group of owners.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::TeamId;
use crate::noun::{Check, Noun, Refusal};
use crate::time::Timestamp;

/// A group of owners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Team {
    /// Identifier.
    pub id: TeamId,
    /// Unique name.
    pub name: String,
    /// For people.
    pub description: String,
    /// Counts changes.
    pub revision: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a caller gives for a team.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamDraft {
    /// Identifier, if the caller chooses it.
    pub id: Option<TeamId>,
    /// Unique name.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
}

impl Noun for Team {
    type Id = TeamId;
    type Draft = TeamDraft;
    const KIND: &'static str = "team";
    const PLURAL: &'static str = "teams";

    fn id(&self) -> &TeamId {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn revision(&self) -> i64 {
        self.revision
    }
    fn chosen_id(draft: &TeamDraft) -> Option<&TeamId> {
        draft.id.as_ref()
    }
    fn create(id: TeamId, draft: TeamDraft, now: Timestamp) -> Result<Self, Refusal> {
        let mut check = Check::default();
        check.name("name", &draft.name).text("description", &draft.description);
        check.finish(|| Self { id, name: draft.name, description: draft.description, revision: 1, created_at: now, updated_at: now })
    }
    fn replace(&self, draft: TeamDraft, now: Timestamp) -> Result<Self, Refusal> {
        let new = Self::create(self.id.clone(), draft, now)?;
        Ok(Self { revision: self.revision + 1, created_at: self.created_at, ..new })
    }
    fn draft(&self) -> TeamDraft {
        TeamDraft { id: Some(self.id.clone()), name: self.name.clone(), description: self.description.clone() }
    }
}
