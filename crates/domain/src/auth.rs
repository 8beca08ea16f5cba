//! Who may do what: permissions, scopes, roles, actors, API keys.

mod nouns;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{ActorId, ApiKeyId, RoleId};
use crate::noun::{Check, Refusal};
use crate::time::Timestamp;

macro_rules! permissions {
    ($($name:ident = $text:literal;)*) => {
        /// Something that an actor may be allowed to do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Permission { $(#[doc = concat!("`", $text, "`")] $name,)* }

        impl Permission {
            /// The whole catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word in the API.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        /// The permissions as types, for handlers that ask for one in their signature.
        pub mod perm {
            /// A permission as a type.
            pub trait Asked: Send + Sync + 'static {
                /// The permission.
                const PERMISSION: super::Permission;
            }
            $(
                #[doc = concat!("`", $text, "`")]
                #[derive(Debug, Clone, Copy)]
                pub struct $name;
                impl Asked for $name {
                    const PERMISSION: super::Permission = super::Permission::$name;
                }
            )*
        }
    };
}

permissions! {
    CertRead = "cert.read";
    CertIssue = "cert.issue";
    CertEdit = "cert.edit";
    CertRevoke = "cert.revoke";
    CertDelete = "cert.delete";
    CertBulkRevoke = "cert.bulk_revoke";
    ProfileRead = "profile.read";
    ProfileEdit = "profile.edit";
    ProfileDelete = "profile.delete";
    IssuerRead = "issuer.read";
    IssuerEdit = "issuer.edit";
    IssuerDelete = "issuer.delete";
    TargetRead = "target.read";
    TargetEdit = "target.edit";
    TargetDelete = "target.delete";
    AgentRead = "agent.read";
    AgentEdit = "agent.edit";
    AgentRetire = "agent.retire";
    AgentHeartbeat = "agent.heartbeat";
    AgentJobPoll = "agent.job.poll";
    AgentJobComplete = "agent.job.complete";
    AgentJobReport = "agent.job.report";
    AuditRead = "audit.read";
    AuditExport = "audit.export";
    AuthRoleList = "auth.role.list";
    AuthRoleCreate = "auth.role.create";
    AuthRoleEdit = "auth.role.edit";
    AuthRoleDelete = "auth.role.delete";
    AuthRoleAssign = "auth.role.assign";
    AuthRoleRevoke = "auth.role.revoke";
    AuthKeyList = "auth.key.list";
    AuthKeyCreate = "auth.key.create";
    AuthKeyRotate = "auth.key.rotate";
    AuthKeyDelete = "auth.key.delete";
    JobRead = "job.read";
    JobCancel = "job.cancel";
    ApprovalRead = "approval.read";
    ApprovalApprove = "approval.approve";
    ApprovalReject = "approval.reject";
    PolicyRead = "policy.read";
    PolicyEdit = "policy.edit";
    PolicyDelete = "policy.delete";
    TeamRead = "team.read";
    TeamEdit = "team.edit";
    TeamDelete = "team.delete";
    OwnerRead = "owner.read";
    OwnerEdit = "owner.edit";
    OwnerDelete = "owner.delete";
    NotificationRead = "notification.read";
    NotificationEdit = "notification.edit";
    DiscoveryRead = "discovery.read";
    DiscoveryRun = "discovery.run";
    DiscoveryClaim = "discovery.claim";
    VerificationRead = "verification.read";
    VerificationRun = "verification.run";
    StatsRead = "stats.read";
    MetricsRead = "metrics.read";
    CrlAdmin = "crl.admin";
    CaHierarchyManage = "ca.hierarchy.manage";
}

impl Permission {
    /// The permission of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|permission| permission.as_str() == text)
    }

    /// Whether it can hold for one profile or issuer alone. What the others allow lies in no profile and belongs to no issuer, so a
    /// grant of them in a scope reaches nothing.
    #[must_use]
    pub fn has_scopes(self) -> bool {
        let name = self.as_str();
        SCOPED.iter().any(|namespace| name.strip_prefix(namespace).is_some_and(|rest| rest.starts_with('.')))
    }

    /// The part before the last dot: `auth.key`.
    #[must_use]
    pub fn namespace(self) -> &'static str {
        self.as_str().rsplit_once('.').map_or(self.as_str(), |(namespace, _)| namespace)
    }
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Permission {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format_args!(
                "`{}` is not a permission; see GET /api/v1/auth/permissions",
                text.chars().take(64).collect::<String>()
            ))
        })
    }
}

crate::schema::string_schema!(Permission, "Permission", "permission", "a permission of the catalogue, such as `cert.read`");

/// Where a grant holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everywhere.
    Global,
    /// Certificates of this profile, and the profile itself.
    Profile(String),
    /// Certificates of this issuer, and the issuer itself.
    Issuer(String),
}

/// The kind of a [`Scope`] as the API writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScopeType {
    /// Everywhere.
    #[default]
    Global,
    /// One profile.
    Profile,
    /// One issuer.
    Issuer,
}

impl Scope {
    /// From the two fields of the API.
    ///
    /// # Errors
    /// When the id is missing for a narrow scope, or given for the global one.
    pub fn from_parts(kind: ScopeType, id: Option<&str>) -> Result<Self, Refusal> {
        match (kind, id.filter(|id| !id.is_empty())) {
            (ScopeType::Global, None) => Ok(Self::Global),
            (ScopeType::Global, Some(_)) => Err(Refusal::field("scope_id", "must be absent when scope_type is global")),
            (ScopeType::Profile, Some(id)) => Ok(Self::Profile(id.to_owned())),
            (ScopeType::Issuer, Some(id)) => Ok(Self::Issuer(id.to_owned())),
            (ScopeType::Profile | ScopeType::Issuer, None) => Err(Refusal::field("scope_id", "must name the profile or issuer")),
        }
    }

    /// The two fields of the API.
    #[must_use]
    pub fn parts(&self) -> (ScopeType, Option<&str>) {
        match self {
            Self::Global => (ScopeType::Global, None),
            Self::Profile(id) => (ScopeType::Profile, Some(id)),
            Self::Issuer(id) => (ScopeType::Issuer, Some(id)),
        }
    }

    /// What both allow: the narrower one, or nothing when they differ.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Global, narrow) | (narrow, Self::Global) => Some(narrow.clone()),
            (a, b) if a == b => Some(a.clone()),
            _ => None,
        }
    }
}

/// One permission in one scope, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What is allowed.
    pub permission: Permission,
    /// Where.
    #[serde(default)]
    pub scope_type: ScopeType,
    /// The profile or issuer of a narrow scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_id: Option<String>,
}

impl Grant {
    /// A grant everywhere.
    #[must_use]
    pub const fn global(permission: Permission) -> Self {
        Self { permission, scope_type: ScopeType::Global, scope_id: None }
    }

    /// Its scope.
    ///
    /// # Errors
    /// When the two fields do not fit.
    pub fn scope(&self) -> Result<Scope, Refusal> {
        Scope::from_parts(self.scope_type, self.scope_id.as_deref())
    }
}

/// All that an actor may do at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants(Vec<(Permission, Scope)>);

impl Grants {
    /// From roles held: each role's permissions, narrowed by the scope in which the role is held.
    pub fn from_roles<'a>(held: impl IntoIterator<Item = (&'a Scope, &'a [(Permission, Scope)])>) -> Self {
        let mut grants: Vec<_> = held
            .into_iter()
            .flat_map(|(outer, permissions)| {
                permissions.iter().filter_map(|(permission, inner)| outer.intersect(inner).map(|scope| (*permission, scope)))
            })
            .collect();
        grants.sort();
        grants.dedup();
        Self(grants)
    }

    /// Everything, everywhere.
    #[must_use]
    pub fn all() -> Self {
        Self(Permission::ALL.iter().map(|permission| (*permission, Scope::Global)).collect())
    }

    /// Where the permission holds.
    #[must_use]
    pub fn reach(&self, permission: Permission) -> Reach {
        let mut reach = Reach::default();
        for (_, scope) in self.0.iter().filter(|(held, _)| *held == permission) {
            match scope {
                Scope::Global => reach.everywhere = true,
                Scope::Profile(id) => reach.profiles.push(id.clone()),
                Scope::Issuer(id) => reach.issuers.push(id.clone()),
            }
        }
        reach
    }

    /// Whether a grant of `permission` in `scope` gives nothing that is not held already.
    #[must_use]
    pub fn covers(&self, permission: Permission, scope: &Scope) -> bool {
        self.0.iter().any(|(held, held_scope)| *held == permission && (*held_scope == Scope::Global || held_scope == scope))
    }

    /// Each grant.
    pub fn iter(&self) -> impl Iterator<Item = &(Permission, Scope)> {
        self.0.iter()
    }
}

/// Where a permission holds for an actor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reach {
    /// No limit.
    pub everywhere: bool,
    /// Certificates of these profiles.
    pub profiles: Vec<String>,
    /// Certificates of these issuers.
    pub issuers: Vec<String>,
}

impl Reach {
    /// No limit.
    #[must_use]
    pub const fn everywhere() -> Self {
        Self { everywhere: true, profiles: Vec::new(), issuers: Vec::new() }
    }

    /// Whether it holds nowhere.
    #[must_use]
    pub const fn is_nowhere(&self) -> bool {
        !self.everywhere && self.profiles.is_empty() && self.issuers.is_empty()
    }

    /// Whether it holds for something of this profile and issuer.
    #[must_use]
    pub fn includes(&self, profile: Option<&str>, issuer: Option<&str>) -> bool {
        self.everywhere
            || profile.is_some_and(|id| self.profiles.iter().any(|held| held == id))
            || issuer.is_some_and(|id| self.issuers.iter().any(|held| held == id))
    }
}

/// A named set of permissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Role {
    /// Identifier.
    pub id: RoleId,
    /// There is one tenant: `t-default`.
    pub tenant_id: String,
    /// Unique name.
    pub name: String,
    /// For people.
    pub description: String,
    /// Whether it came with the product; then it cannot be changed.
    pub system: bool,
    /// What it allows.
    pub permissions: Vec<Grant>,
    /// Counts changes.
    pub revision: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A permission of a role in a request: the name alone, or with a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum GrantDraft {
    /// Everywhere.
    Name(Permission),
    /// In a scope.
    Scoped(Grant),
}

impl From<GrantDraft> for Grant {
    fn from(draft: GrantDraft) -> Self {
        match draft {
            GrantDraft::Name(permission) => Self::global(permission),
            GrantDraft::Scoped(grant) => grant,
        }
    }
}

/// What a caller gives for a role.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleDraft {
    /// Identifier, if the caller chooses it.
    pub id: Option<RoleId>,
    /// Unique name.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// What it allows; absent in a replacement leaves the permissions as they are.
    pub permissions: Option<Vec<GrantDraft>>,
}

/// What kind of actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum ActorKind {
    /// A person.
    User,
    /// The product itself.
    System,
    /// An agent.
    Agent,
    /// A program with an API key.
    APIKey,
    /// Nobody known.
    Anonymous,
}

impl ActorKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::User, Self::System, Self::Agent, Self::APIKey, Self::Anonymous];

    /// The word in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::System => "System",
            Self::Agent => "Agent",
            Self::APIKey => "APIKey",
            Self::Anonymous => "Anonymous",
        }
    }
}

/// Somebody or something that acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    /// Identifier.
    pub id: ActorId,
    /// What kind.
    #[serde(rename = "type")]
    pub kind: ActorKind,
    /// For people.
    pub name: String,
    /// Roles held.
    pub roles: Vec<RoleHeld>,
    /// When it was disabled.
    pub disabled_at: Option<Timestamp>,
    /// Counts changes.
    pub revision: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A role as somebody holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleHeld {
    /// The role.
    pub role_id: RoleId,
    /// Narrows every permission of the role.
    #[serde(default)]
    pub scope_type: ScopeType,
    /// The profile or issuer of a narrow scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_id: Option<String>,
    /// When it ends.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// A role in a request: its id alone, or with scope and end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum RoleHeldDraft {
    /// Everywhere and without end.
    Id(RoleId),
    /// In a scope or until a time.
    Held(RoleHeld),
}

impl From<RoleHeldDraft> for RoleHeld {
    fn from(draft: RoleHeldDraft) -> Self {
        match draft {
            RoleHeldDraft::Id(role_id) => Self { role_id, scope_type: ScopeType::Global, scope_id: None, expires_at: None },
            RoleHeldDraft::Held(held) => held,
        }
    }
}

/// What a caller gives for an actor.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActorDraft {
    /// Identifier, if the caller chooses it.
    pub id: Option<ActorId>,
    /// For people.
    pub name: String,
    /// `APIKey` by default; `User` is for people. `Service` is read as `APIKey`.
    #[serde(default, rename = "type")]
    pub kind: ActorKindDraft,
    /// Roles to hold.
    #[serde(default)]
    pub roles: Vec<RoleHeldDraft>,
}

/// The kinds of actors that can be made by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub enum ActorKindDraft {
    /// A program with an API key.
    #[default]
    APIKey,
    /// The same, as other products call it.
    Service,
    /// A person.
    User,
}

/// An API key without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiKey {
    /// Identifier.
    pub id: ApiKeyId,
    /// Whose key it is.
    pub actor_id: ActorId,
    /// For people.
    pub name: String,
    /// What the key begins with, to find it again.
    pub prefix: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: ActorId,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used; kept to about a minute.
    pub last_used_at: Option<Timestamp>,
    /// The key that replaces it.
    pub rotated_to: Option<ApiKeyId>,
}

/// Checks the parts of a role that a caller gives.
///
/// # Errors
/// Every field that is not as it should be.
pub fn check_role(draft: &RoleDraft) -> Result<Vec<Grant>, Refusal> {
    let mut check = Check::default();
    check.name("name", &draft.name).text("description", &draft.description);
    let grants: Vec<Grant> = draft.permissions.clone().unwrap_or_default().into_iter().map(Grant::from).collect();
    check.that(grants.len() <= 1_000, "permissions", "must have at most 1000 entries");
    for grant in &grants {
        check.ok("permissions", grant.scope());
    }
    check.finish(|| grants)
}

/// The roles that come with the product: id, name, description, permissions.
#[must_use]
pub fn system_roles() -> Vec<(&'static str, &'static str, &'static str, Vec<Permission>)> {
    use Permission as P;
    let all = || P::ALL.to_vec();
    let agent_only = [P::AgentHeartbeat, P::AgentJobPoll, P::AgentJobComplete, P::AgentJobReport];
    let read: Vec<P> = P::ALL.iter().copied().filter(|p| p.as_str().ends_with(".read") && !p.as_str().starts_with("auth.")).collect();
    let operator: Vec<P> = P::ALL
        .iter()
        .copied()
        .filter(|p| {
            let name = p.as_str();
            let kept_back = [P::CertBulkRevoke, P::ProfileDelete, P::IssuerDelete, P::AuditExport, P::CaHierarchyManage, P::AgentRetire];
            let of_others = name.starts_with("auth.") || name.ends_with(".admin") || agent_only.contains(p);
            !of_others && !kept_back.contains(p)
        })
        .collect();
    let mcp = operator
        .iter()
        .copied()
        .filter(|p| !p.as_str().ends_with(".delete") && !matches!(p, P::TeamEdit | P::OwnerEdit | P::PolicyEdit))
        .collect();
    let cli = operator.iter().copied().chain([P::AuthKeyList, P::AuthKeyCreate, P::AuthKeyRotate]).collect();
    vec![
        ("r-admin", "admin", "Everything", all()),
        ("r-operator", "operator", "Runs certificates, targets and agents", operator),
        ("r-viewer", "viewer", "Sees everything but access control", read),
        ("r-agent", "agent", "What an agent may do as itself", {
            let mut held = agent_only.to_vec();
            held.extend([P::CertRead, P::DiscoveryRun, P::VerificationRun]);
            held
        }),
        ("r-mcp", "mcp", "An operator without deletions, for assistants", mcp),
        ("r-cli", "cli", "An operator who may also make keys", cli),
        ("r-auditor", "auditor", "Reads and exports the audit log", vec![P::AuditRead, P::AuditExport]),
        ("r-metrics-read", "metrics-read", "Scrapes metrics", vec![P::MetricsRead, P::StatsRead]),
    ]
}

/// What belongs to certificates, which have a profile and an issuer, and these two themselves.
const SCOPED: [&str; 6] = ["cert", "profile", "issuer", "job", "approval", "verification"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_certificates_has_scopes() {
        for permission in [Permission::CertRead, Permission::JobCancel, Permission::IssuerEdit, Permission::ProfileDelete] {
            assert!(permission.has_scopes(), "{permission}");
        }
        for permission in [Permission::AgentJobPoll, Permission::AuthKeyCreate, Permission::AuditRead, Permission::TargetEdit] {
            assert!(!permission.has_scopes(), "{permission}");
        }
    }

    #[test]
    fn scopes_narrow_and_never_widen() {
        let p1 = Scope::Profile("prof-1".into());
        let p2 = Scope::Profile("prof-2".into());
        let role = [(Permission::CertRead, Scope::Global), (Permission::CertIssue, p1.clone())];
        let grants = Grants::from_roles([(&p2, role.as_slice())]);
        assert_eq!(grants.reach(Permission::CertRead).profiles, ["prof-2"]);
        assert!(grants.reach(Permission::CertIssue).is_nowhere());
        assert!(!grants.reach(Permission::CertRead).includes(Some("prof-1"), Some("iss-1")));
    }

    #[test]
    fn nobody_covers_more_than_they_hold() {
        let narrow = Scope::Issuer("iss-1".into());
        let grants = Grants::from_roles([(&Scope::Global, [(Permission::CertRead, narrow.clone())].as_slice())]);
        assert!(grants.covers(Permission::CertRead, &narrow));
        assert!(!grants.covers(Permission::CertRead, &Scope::Global));
        assert!(!grants.covers(Permission::CertIssue, &narrow));
    }

    #[test]
    fn the_seeds_request_bodies_parse() {
        let role: RoleDraft =
            serde_json::from_str(r#"{"id":"r-prometheus-scrape","name":"Prometheus scrape","permissions":["metrics.read"]}"#).unwrap();
        assert_eq!(check_role(&role).unwrap(), [Grant::global(Permission::MetricsRead)]);
        let actor: ActorDraft =
            serde_json::from_str(r#"{"id":"actor-prometheus","name":"Prometheus scrape","roles":["r-prometheus-scrape"]}"#).unwrap();
        assert_eq!(actor.roles.len(), 1);
        assert!(serde_json::from_str::<RoleDraft>(r#"{"name":"x","permissions":["metrics.write"]}"#).is_err());
    }

    #[test]
    fn system_roles_are_least() {
        for (id, _, _, permissions) in system_roles() {
            let auth = permissions.iter().any(|p| p.as_str().starts_with("auth.role"));
            assert_eq!(auth, id == "r-admin", "{id}");
            assert!(!permissions.is_empty());
        }
    }
}
