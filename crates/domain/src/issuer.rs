//! An issuer: a CA that is asked for certificates.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::ids::IssuerId;
use crate::noun::{Check, Noun, Refusal};
use crate::time::Timestamp;

/// A CA that is asked for certificates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Issuer {
    /// Identifier.
    pub id: IssuerId,
    /// Unique name.
    pub name: String,
    /// The connector, such as `GenericCA` for the built-in CA.
    #[serde(rename = "type")]
    pub kind: String,
    /// The connector's configuration; secrets are shown as `[redacted]`.
    pub config: Map<String, Value>,
    /// Whether it may be asked.
    pub enabled: bool,
    /// When its connection was last tested.
    pub last_tested_at: Option<Timestamp>,
    /// `untested`, `ok` or `failed`.
    pub test_status: String,
    /// Counts changes.
    pub revision: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a caller gives for an issuer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerDraft {
    /// Identifier, if the caller chooses it.
    pub id: Option<IssuerId>,
    /// Unique name.
    pub name: String,
    /// The connector.
    #[serde(rename = "type")]
    pub kind: String,
    /// The connector's configuration.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// Default true.
    #[serde(default = "yes")]
    pub enabled: bool,
}

impl Noun for Issuer {
    type Id = IssuerId;
    type Draft = IssuerDraft;
    const KIND: &'static str = "issuer";
    const PLURAL: &'static str = "issuers";

    fn id(&self) -> &IssuerId {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn revision(&self) -> i64 {
        self.revision
    }
    fn chosen_id(draft: &IssuerDraft) -> Option<&IssuerId> {
        draft.id.as_ref()
    }
    fn create(id: IssuerId, draft: IssuerDraft, now: Timestamp) -> Result<Self, Refusal> {
        let mut check = Check::default();
        check.name("name", &draft.name).that(!draft.kind.is_empty(), "type", "must name a connector");
        check.finish(|| Self {
            id,
            name: draft.name,
            kind: draft.kind,
            config: draft.config,
            enabled: draft.enabled,
            last_tested_at: None,
            test_status: "untested".to_owned(),
            revision: 1,
            created_at: now,
            updated_at: now,
        })
    }
    fn replace(&self, draft: IssuerDraft, now: Timestamp) -> Result<Self, Refusal> {
        if draft.kind != self.kind {
            return Err(Refusal::field("type", "cannot be changed").hint("make a new issuer and give it to the certificates"));
        }
        let new = Self::create(self.id.clone(), draft, now)?;
        let tested = new.config == self.config;
        Ok(Self {
            revision: self.revision + 1,
            created_at: self.created_at,
            last_tested_at: self.last_tested_at.filter(|_| tested),
            test_status: if tested { self.test_status.clone() } else { new.test_status.clone() },
            ..new
        })
    }
    fn draft(&self) -> IssuerDraft {
        let this = self.clone();
        IssuerDraft { id: Some(this.id), name: this.name, kind: this.kind, config: this.config, enabled: this.enabled }
    }
}

const fn yes() -> bool {
    true
}
