//! A certificate: the managed thing, of which there are issued versions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::ids::{
    ActorId, AgentId, CertificateId, IssuerId, JobId, OwnerId, ProfileId, RenewalPolicyId, RevocationId, TargetId, TeamId, VersionId,
};
use crate::noun::{Check, Noun, Refusal};
use crate::renewal::Window;
use crate::time::Timestamp;
use crate::x509::{Fingerprint, KeyAlgorithm, RevocationReason, San, SanSet, Serial, check_common_name};

/// The managed thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Certificate {
    /// Identifier.
    pub id: CertificateId,
    /// Unique name.
    pub name: String,
    /// Subject common name; also a SAN.
    pub common_name: String,
    /// Subject alternative names.
    pub sans: SanSet,
    /// Free text such as `production`.
    pub environment: String,
    /// Who answers for it.
    pub owner_id: Option<OwnerId>,
    /// The team that answers for it.
    pub team_id: Option<TeamId>,
    /// The CA that is asked.
    pub issuer_id: IssuerId,
    /// Where it is put.
    pub target_ids: Vec<TargetId>,
    /// When it is renewed.
    pub renewal_policy_id: RenewalPolicyId,
    /// What may be issued.
    pub certificate_profile_id: ProfileId,
    /// The key that agents make; `None` lets them choose ECDSA P-256.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// Where it stands.
    pub status: CertificateStatus,
    /// Why it stands there, in words.
    pub reason: String,
    /// What to do about it, where something can be done.
    pub hint: Option<String>,
    /// When something will be tried next by itself.
    pub next_try_at: Option<Timestamp>,
    /// End of validity of the version in use that ends first.
    pub expires_at: Option<Timestamp>,
    /// Free labels.
    pub tags: BTreeMap<String, String>,
    /// Failures in a row.
    pub failures: i64,
    /// When the last failure was.
    pub last_failure_at: Option<Timestamp>,
    /// When a version was last issued.
    pub last_renewal_at: Option<Timestamp>,
    /// When a version was last put on a target.
    pub last_deployment_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Why it was revoked.
    pub revocation_reason: Option<RevocationReason>,
    /// How it came to be: `API`, `ACME`, `EST`, `SCEP`, `Discovery`.
    pub source: String,
    /// Counts changes.
    pub revision: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Where a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum CertificateStatus {
    /// No version was issued yet.
    Pending,
    /// A version is in use and renewal is not due.
    Active,
    /// A version is in use and renewal is due.
    Expiring,
    /// The version in use has ended.
    Expired,
    /// A new version is being issued.
    RenewalInProgress,
    /// The last attempt failed; the next one is planned.
    Failed,
    /// Somebody revoked it.
    Revoked,
    /// Somebody archived it.
    Archived,
}

impl CertificateStatus {
    /// Every status.
    pub const ALL: [Self; 8] =
        [Self::Pending, Self::Active, Self::Expiring, Self::Expired, Self::RenewalInProgress, Self::Failed, Self::Revoked, Self::Archived];

    /// The word in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Active => "Active",
            Self::Expiring => "Expiring",
            Self::Expired => "Expired",
            Self::RenewalInProgress => "RenewalInProgress",
            Self::Failed => "Failed",
            Self::Revoked => "Revoked",
            Self::Archived => "Archived",
        }
    }

    /// Why nothing more is issued, if somebody ended it.
    #[must_use]
    pub const fn ended(self) -> Option<&'static str> {
        match self {
            Self::Revoked => Some("it was revoked"),
            Self::Archived => Some("it was archived"),
            Self::Pending | Self::Active | Self::Expiring | Self::Expired | Self::RenewalInProgress | Self::Failed => None,
        }
    }
}

/// What a caller gives for a certificate.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateDraft {
    /// Identifier, if the caller chooses it.
    pub id: Option<CertificateId>,
    /// Unique name.
    pub name: String,
    /// Subject common name; default a DNS name of the SANs, rather one without a wildcard.
    #[serde(default)]
    pub common_name: String,
    /// Subject alternative names.
    #[serde(default)]
    pub sans: SanSet,
    /// Free text such as `production`.
    #[serde(default)]
    pub environment: String,
    /// Who answers for it.
    pub owner_id: Option<OwnerId>,
    /// The team that answers for it.
    pub team_id: Option<TeamId>,
    /// The CA to ask; default the built-in CA.
    #[serde(default = "default_issuer")]
    pub issuer_id: IssuerId,
    /// Where to put it.
    #[serde(default)]
    pub target_ids: Vec<TargetId>,
    /// When to renew; default `rp-default`.
    #[serde(default = "default_policy")]
    pub renewal_policy_id: RenewalPolicyId,
    /// What may be issued; default `prof-default`.
    #[serde(default = "default_profile")]
    pub certificate_profile_id: ProfileId,
    /// The key that agents make.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// Free labels.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// One issued X.509 certificate of a managed certificate. It never changes, but for whether it is in use or revoked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// Identifier.
    pub id: VersionId,
    /// The certificate of which this is a version.
    pub certificate_id: CertificateId,
    /// The agent that holds its key; `None` when the requester does.
    pub agent_id: Option<AgentId>,
    /// The CA that issued it.
    pub issuer_id: IssuerId,
    /// Serial number.
    pub serial_number: Serial,
    /// SHA-256 of its DER.
    pub fingerprint_sha256: Fingerprint,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// The certificate and its chain, leaf first, without the root.
    pub pem_chain: String,
    /// The request it came from.
    pub csr_pem: String,
    /// `RSA`, `ECDSA` or `Ed25519`.
    pub key_algorithm: String,
    /// Size of the key in bits.
    pub key_size: i64,
    /// Whether it is the one to serve.
    pub state: VersionState,
    /// What the CA calls it: order, resource name, whatever revoking and renewing need.
    pub issuer_ref: Map<String, Value>,
    /// The CA's suggested renewal window (RFC 9773).
    pub ari: Option<Window>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Why it was revoked.
    pub revocation_reason: Option<RevocationReason>,
    /// When it was issued.
    pub created_at: Timestamp,
}

/// Whether a version is the one to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VersionState {
    /// The newest for its agent.
    Current,
    /// A newer one took its place.
    Superseded,
}

impl VersionState {
    /// Every state.
    pub const ALL: [Self; 2] = [Self::Current, Self::Superseded];

    /// The word in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Superseded => "superseded",
        }
    }
}

/// That a certificate of a CA is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Revocation {
    /// Identifier.
    pub id: RevocationId,
    /// The CA.
    pub issuer_id: IssuerId,
    /// Serial number at that CA.
    pub serial_number: Serial,
    /// The managed certificate.
    pub certificate_id: CertificateId,
    /// The version.
    pub version_id: VersionId,
    /// Why.
    pub reason: RevocationReason,
    /// Who.
    pub revoked_by: ActorId,
    /// When.
    pub revoked_at: Timestamp,
    /// When the CA was told; `None` while that is still to be done.
    pub issuer_notified_at: Option<Timestamp>,
}

/// Why something is as it is: for people, and for `certctl explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Where it stands, in a sentence.
    pub summary: String,
    /// What led to that, newest first.
    pub because: Vec<String>,
    /// What will happen next by itself, and when.
    pub next: Option<String>,
    /// When that will be.
    pub next_at: Option<Timestamp>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Jobs that have not ended.
    pub jobs: Vec<JobId>,
}

impl Noun for Certificate {
    type Id = CertificateId;
    type Draft = CertificateDraft;
    const KIND: &'static str = "certificate";
    const PLURAL: &'static str = "certificates";

    fn id(&self) -> &CertificateId {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn revision(&self) -> i64 {
        self.revision
    }
    fn chosen_id(draft: &CertificateDraft) -> Option<&CertificateId> {
        draft.id.as_ref()
    }
    fn create(id: CertificateId, draft: CertificateDraft, now: Timestamp) -> Result<Self, Refusal> {
        let mut check = Check::default();
        check.name("name", &draft.name).text("environment", &draft.environment).tags("tags", &draft.tags);
        let common_name = if draft.common_name.is_empty() { default_common_name(&draft.sans) } else { draft.common_name };
        check.that(!common_name.is_empty(), "common_name", "a certificate needs a common name or at least one SAN");
        // A first SAN longer than a common name may be is fine: the subject is then left empty (RFC 5280 section 4.1.2.6).
        if !common_name.is_empty() && !draft.sans.iter().any(|san| san.to_string() == common_name) {
            check.ok("common_name", check_common_name(&common_name));
            // CA/B BR 7.1.4.2.2: the common name is one of the SANs, so it must be able to be one.
            check.ok("common_name", San::parse(&common_name));
        }
        check.ok("sans", crate::profile::all_names(&common_name, &draft.sans));
        check.that(draft.target_ids.len() <= 100, "target_ids", "must have at most 100 entries");
        let mut target_ids = draft.target_ids;
        target_ids.sort();
        target_ids.dedup();
        check.finish(|| Self {
            id,
            name: draft.name,
            common_name,
            sans: draft.sans,
            environment: draft.environment,
            owner_id: draft.owner_id,
            team_id: draft.team_id,
            issuer_id: draft.issuer_id,
            target_ids,
            renewal_policy_id: draft.renewal_policy_id,
            certificate_profile_id: draft.certificate_profile_id,
            key_algorithm: draft.key_algorithm,
            status: CertificateStatus::Pending,
            reason: "no version was issued yet".to_owned(),
            hint: None,
            next_try_at: Some(now),
            expires_at: None,
            tags: draft.tags,
            failures: 0,
            last_failure_at: None,
            last_renewal_at: None,
            last_deployment_at: None,
            revoked_at: None,
            revocation_reason: None,
            source: "API".to_owned(),
            revision: 1,
            created_at: now,
            updated_at: now,
        })
    }
    fn replace(&self, draft: CertificateDraft, now: Timestamp) -> Result<Self, Refusal> {
        let new = Self::create(self.id.clone(), draft, now)?;
        Ok(Self {
            name: new.name,
            common_name: new.common_name,
            sans: new.sans,
            environment: new.environment,
            owner_id: new.owner_id,
            team_id: new.team_id,
            issuer_id: new.issuer_id,
            target_ids: new.target_ids,
            renewal_policy_id: new.renewal_policy_id,
            certificate_profile_id: new.certificate_profile_id,
            key_algorithm: new.key_algorithm,
            tags: new.tags,
            revision: self.revision + 1,
            updated_at: now,
            ..self.clone()
        })
    }
    fn draft(&self) -> CertificateDraft {
        let this = self.clone();
        CertificateDraft {
            id: Some(this.id),
            name: this.name,
            common_name: this.common_name,
            sans: this.sans,
            environment: this.environment,
            owner_id: this.owner_id,
            team_id: this.team_id,
            issuer_id: this.issuer_id,
            target_ids: this.target_ids,
            renewal_policy_id: this.renewal_policy_id,
            certificate_profile_id: this.certificate_profile_id,
            key_algorithm: this.key_algorithm,
            tags: this.tags,
        }
    }
}

/// What is shown as the subject where nobody asked for a common name: a host before a wildcard, and a URI only when there is nothing else.
fn default_common_name(sans: &SanSet) -> String {
    let name = sans.iter().min_by_key(|san| match san {
        San::Dns(name) => u8::from(name.is_wildcard()),
        San::Ip(_) => 2,
        San::Email(_) => 3,
        San::Uri(_) => 4,
    });
    name.map(ToString::to_string).unwrap_or_default()
}

/// The status that a certificate with a version in use has by the clock alone.
#[must_use]
pub fn status_by_clock(expires_at: Timestamp, renew_at: Timestamp, now: Timestamp) -> CertificateStatus {
    if expires_at <= now {
        CertificateStatus::Expired
    } else if renew_at <= now {
        CertificateStatus::Expiring
    } else {
        CertificateStatus::Active
    }
}

/// The issuer that a fresh installation has.
pub const DEFAULT_ISSUER: &str = "iss-local";
/// The profile that a fresh installation has.
pub const DEFAULT_PROFILE: &str = "prof-default";
/// The renewal policy that a fresh installation has.
pub const DEFAULT_POLICY: &str = "rp-default";

fn known<I: crate::ids::Id>(text: &str) -> I {
    I::parse(text).unwrap_or_else(|_| I::generate(Timestamp::UNIX_EPOCH, [0; 10]))
}
fn default_issuer() -> IssuerId {
    known(DEFAULT_ISSUER)
}
fn default_policy() -> RenewalPolicyId {
    known(DEFAULT_POLICY)
}
fn default_profile() -> ProfileId {
    known(DEFAULT_PROFILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id as _;

    #[test]
    fn a_name_is_enough_of_a_draft_when_there_is_a_san() {
        let draft = serde_json::from_str(r#"{"name":"web","sans":["web.example.test"]}"#).unwrap();
        let certificate = Certificate::create(CertificateId::parse("mc-1").unwrap(), draft, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((certificate.common_name.as_str(), certificate.issuer_id.as_str()), ("web.example.test", "iss-local"));
    }

    #[test]
    fn the_default_common_name_is_a_host_where_there_is_one() {
        for (sans, common_name) in [
            (&["*.a.test", "b.test"][..], "b.test"),
            (&["*.a.test", "192.0.2.1"], "*.a.test"),
            (&["spiffe://a.test/web", "192.0.2.1"], "192.0.2.1"),
            (&["spiffe://a.test/web", "a@b.test"], "a@b.test"),
            (&["spiffe://a.test/web"], "spiffe://a.test/web"),
        ] {
            let draft = serde_json::from_value(serde_json::json!({"name": "web", "sans": sans})).unwrap();
            let certificate = Certificate::create(CertificateId::parse("mc-1").unwrap(), draft, Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!(certificate.common_name, common_name);
        }
    }

    #[test]
    fn a_replacement_cannot_touch_state() {
        let draft: CertificateDraft = serde_json::from_str(r#"{"name":"web","sans":["web.example.test"]}"#).unwrap();
        let mut certificate = Certificate::create(CertificateId::parse("mc-1").unwrap(), draft.clone(), Timestamp::UNIX_EPOCH).unwrap();
        certificate.status = CertificateStatus::Revoked;
        assert_eq!(certificate.replace(draft, Timestamp::UNIX_EPOCH).unwrap().status, CertificateStatus::Revoked);
        assert!(serde_json::from_str::<CertificateDraft>(r#"{"name":"web","status":"Active"}"#).is_err());
    }

    #[test]
    fn no_name_and_long_names_are_refused() {
        let create = |json: serde_json::Value| {
            Certificate::create(CertificateId::parse("mc-1").unwrap(), serde_json::from_value(json).unwrap(), Timestamp::UNIX_EPOCH)
        };
        assert!(create(serde_json::json!({"name": "x"})).is_err());
        assert!(create(serde_json::json!({"name": "x", "common_name": "a".repeat(65)})).is_err());
        let long = format!("{}.{}.test", "a".repeat(50), "b".repeat(50));
        assert!(create(serde_json::json!({"name": "x", "sans": [long]})).is_ok());
    }
}
