//! What is asked about access beside the nouns: keys, roles held, the first administrator, and who one is.

use std::collections::BTreeMap;

use certctl_domain::auth::{ActorKind, ApiKey, Grant, Permission, Role, ScopeType};
use certctl_domain::ids::{ActorId, ApiKeyId, RoleId};
use certctl_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::duration::DurationText;

/// `POST /api/v1/auth/apikeys`
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyRequest {
    /// Whose key it is; absent means the caller's own.
    pub actor_id: Option<ActorId>,
    /// For people; absent takes the actor's name.
    pub name: Option<String>,
    /// When it ends; absent with `expires_in` means never.
    pub expires_at: Option<Timestamp>,
    /// After how long it ends, such as `90d`.
    pub expires_in: Option<DurationText>,
}

/// A new key, shown once.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct MintedApiKey {
    /// The key without its secret.
    #[serde(flatten)]
    pub key: ApiKey,
    /// The whole key; never shown again.
    pub key_value: String,
}

/// `POST /api/v1/auth/apikeys/{id}/rotate`
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateApiKeyRequest {
    /// How long the old key stays in force, `0s` to `30d`; default `24h`.
    pub overlap: Option<DurationText>,
    /// When the new key ends.
    pub expires_at: Option<Timestamp>,
    /// After how long the new key ends.
    pub expires_in: Option<DurationText>,
}

/// A key that replaces another one, shown once.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RotatedApiKey {
    /// The new key without its secret.
    #[serde(flatten)]
    pub key: ApiKey,
    /// The whole new key; never shown again.
    pub key_value: String,
    /// The key that it replaces.
    pub replaces: ApiKeyId,
    /// When that one ends.
    pub replaced_ends_at: Timestamp,
}

/// `GET /api/v1/auth/roles/{id}`: the role, and the parts under the names that existing scripts read.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RoleDetail {
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
    pub permissions: Vec<RolePermission>,
    /// Counts changes.
    pub revision: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The role again, for existing scripts.
    pub role: RoleSummary,
}

/// A permission of a role.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RolePermission {
    /// What is allowed.
    pub permission: Permission,
    /// The same, for existing scripts.
    pub permission_id: Permission,
    /// The role.
    pub role_id: RoleId,
    /// Where.
    pub scope_type: ScopeType,
    /// The profile or issuer of a narrow scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_id: Option<String>,
}

/// A role without what it allows.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RoleSummary {
    /// Identifier.
    pub id: RoleId,
    /// There is one tenant: `t-default`.
    pub tenant_id: String,
    /// Unique name.
    pub name: String,
    /// For people.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// `GET /api/v1/auth/permissions`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PermissionCatalogue {
    /// Every permission that there is.
    pub permissions: Vec<PermissionInfo>,
}

/// A permission of the catalogue.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PermissionInfo {
    /// Its name.
    pub id: Permission,
    /// Its name.
    pub name: Permission,
    /// The part before the last dot.
    pub namespace: String,
}

/// An actor as `GET /api/v1/auth/keys` lists it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeyHolder {
    /// The actor.
    pub actor_id: ActorId,
    /// What kind of actor.
    pub actor_type: ActorKind,
    /// There is one tenant: `t-default`.
    pub tenant_id: String,
    /// The roles that it holds.
    pub role_ids: Vec<RoleId>,
}

/// `GET /api/v1/auth/me`: who one is and what one may do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// The actor.
    pub actor_id: ActorId,
    /// What kind of actor.
    pub actor_type: ActorKind,
    /// There is one tenant: `t-default`.
    pub tenant_id: String,
    /// Whether it may do everything everywhere.
    pub admin: bool,
    /// The roles that it holds.
    pub roles: Vec<RoleId>,
    /// What it may do at this moment.
    pub effective_permissions: Vec<Grant>,
}

/// `GET /api/v1/auth/check`: whether the credential is good.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuthCheck {
    /// `authenticated`
    pub status: String,
    /// The actor's id, for existing scripts.
    pub user: String,
    /// Whether it is an administrator because of a role.
    pub admin_via_role: bool,
    /// Who.
    #[serde(flatten)]
    pub me: Me,
}

/// `GET /api/v1/auth/info`: how to log in.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuthInfo {
    /// `api-key`
    pub auth_type: String,
    /// Whether a credential is needed.
    pub required: bool,
}

/// `GET /api/v1/auth/bootstrap`
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct BootstrapStatus {
    /// Whether the first administrator can be made with a bootstrap token now.
    pub available: bool,
}

/// `POST /api/v1/auth/bootstrap`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BootstrapRequest {
    /// The token that was set for the server.
    pub token: String,
    /// Name of the administrator: 3 to 64 characters of `a-z 0-9 _ -`.
    pub actor_name: String,
}

/// The first administrator's key, shown once.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BootstrapResponse {
    /// The administrator.
    pub actor_id: ActorId,
    /// The key's id.
    pub api_key_id: ApiKeyId,
    /// The whole key; never shown again.
    pub key_value: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// What to do with it.
    pub message: String,
}

/// `GET /api/v1/auth/runtime-config`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RuntimeConfig {
    /// Settings in force by their names, secrets redacted.
    pub runtime_config: BTreeMap<String, String>,
}

impl From<Role> for RoleDetail {
    fn from(role: Role) -> Self {
        let summary = RoleSummary {
            id: role.id.clone(),
            tenant_id: role.tenant_id.clone(),
            name: role.name.clone(),
            description: role.description.clone(),
            created_at: role.created_at,
            updated_at: role.updated_at,
        };
        let of_role = |grant: Grant| RolePermission {
            permission: grant.permission,
            permission_id: grant.permission,
            role_id: role.id.clone(),
            scope_type: grant.scope_type,
            scope_id: grant.scope_id,
        };
        Self {
            permissions: role.permissions.into_iter().map(of_role).collect(),
            id: role.id,
            tenant_id: role.tenant_id,
            name: role.name,
            description: role.description,
            system: role.system,
            revision: role.revision,
            created_at: role.created_at,
            updated_at: role.updated_at,
            role: summary,
        }
    }
}
