//! Who answers for a certificate: an owner, and the team it belongs to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{OwnerId, TeamId};
use crate::noun::{Check, Noun, Refusal};
use crate::time::Timestamp;
use crate::x509::EmailAddress;

/// A person or a mailbox that answers for certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Owner {
    /// Identifier.
    pub id: OwnerId,
    /// Unique name.
    pub name: String,
    /// Where alerts go.
    pub email: Option<String>,
    /// The team it belongs to.
    pub team_id: Option<TeamId>,
    /// Counts changes.
    pub revision: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a caller gives for an owner.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnerDraft {
    /// Identifier, if the caller chooses it.
    pub id: Option<OwnerId>,
    /// Unique name.
    pub name: String,
    /// Where alerts go.
    pub email: Option<String>,
    /// The team it belongs to.
    pub team_id: Option<TeamId>,
}

impl Noun for Owner {
    type Id = OwnerId;
    type Draft = OwnerDraft;
    const KIND: &'static str = "owner";
    const PLURAL: &'static str = "owners";

    fn id(&self) -> &OwnerId {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn revision(&self) -> i64 {
        self.revision
    }
    fn chosen_id(draft: &OwnerDraft) -> Option<&OwnerId> {
        draft.id.as_ref()
    }
    fn create(id: OwnerId, draft: OwnerDraft, now: Timestamp) -> Result<Self, Refusal> {
        let mut check = Check::default();
        check.name("name", &draft.name);
        let email = draft.email.filter(|email| !email.is_empty());
        if let Some(email) = &email {
            check.ok("email", EmailAddress::parse(email));
        }
        check.finish(|| Self { id, name: draft.name, email, team_id: draft.team_id, revision: 1, created_at: now, updated_at: now })
    }
    fn replace(&self, draft: OwnerDraft, now: Timestamp) -> Result<Self, Refusal> {
        let new = Self::create(self.id.clone(), draft, now)?;
        Ok(Self { revision: self.revision + 1, created_at: self.created_at, ..new })
    }
    fn draft(&self) -> OwnerDraft {
        OwnerDraft { id: Some(self.id.clone()), name: self.name.clone(), email: self.email.clone(), team_id: self.team_id.clone() }
    }
}
