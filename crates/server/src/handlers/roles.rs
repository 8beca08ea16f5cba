//! Roles: a noun whose old names are served too.

use certctl_api::auth::RoleDetail;
use certctl_domain::auth::perm::{AuthRoleCreate, AuthRoleEdit, AuthRoleList};
use certctl_domain::auth::{Grant, Permission, Role, Scope, ScopeType};
use certctl_domain::ids::RoleId;
use certctl_domain::noun::Refusal;
use certctl_engine::auth;
use certctl_engine::crud;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::{Also, Authorized, Body, Created, DraftAs, IfMatch, ListParams, Listing, Named, NoContent, One, Path, Query};
use crate::problem::Answer;

/// The rows stand under `roles` too.
#[derive(Debug)]
pub struct AsRoles;

impl Also for AsRoles {
    const NAME: Option<&'static str> = Some("roles");
}

/// In which scope a permission is taken away; without one, in all.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeQuery {
    /// `global`, `profile` or `issuer`
    pub scope_type: Option<ScopeType>,
    /// The profile or issuer.
    pub scope_id: Option<String>,
}

/// Lists roles.
pub async fn list(ctx: Authorized<AuthRoleList>, params: ListParams<Role>) -> Answer<Listing<Role, AsRoles>> {
    let page = crud::list::<Role>(&ctx, &params.query).await?;
    Ok(params.answer(page).also())
}

/// Makes a role with all its permissions, or none of it.
pub async fn create(ctx: Authorized<AuthRoleCreate>, DraftAs(draft, _): DraftAs<Role, RoleDetail>) -> Answer<Created<Role>> {
    Ok(Created::noun(crud::create::<Role>(&ctx, draft).await?, PATH))
}

/// Reads a role.
pub async fn get(ctx: Authorized<AuthRoleList>, Named(id): Named<Role>) -> Answer<One<RoleDetail>> {
    let role = crud::get::<Role>(&ctx, &id).await?;
    let revision = role.revision;
    Ok(One::at(role.into(), revision))
}

/// Replaces a role; without `permissions` they stay.
pub async fn replace(
    ctx: Authorized<AuthRoleEdit>,
    Named(id): Named<Role>,
    IfMatch(revision): IfMatch,
    DraftAs(draft, _): DraftAs<Role, RoleDetail>,
) -> Answer<One<Role>> {
    Ok(One::noun(crud::replace::<Role>(&ctx, &id, draft, revision).await?))
}

/// Adds a permission.
pub async fn allow(ctx: Authorized<AuthRoleEdit>, Named(id): Named<Role>, Body(grant): Body<Grant>) -> Answer<NoContent> {
    auth::allow(&ctx, &id, grant).await?;
    Ok(NoContent)
}

/// Takes a permission away.
pub async fn disallow(
    ctx: Authorized<AuthRoleEdit>,
    Path((id, permission)): Path<(RoleId, String)>,
    Query(scope): Query<ScopeQuery>,
) -> Answer<NoContent> {
    let permission = Permission::parse(&permission)
        .ok_or_else(|| Refusal::field("perm", "is not a permission").hint("see GET /api/v1/auth/permissions"))?;
    let scope = scope.scope_type.map(|kind| Scope::from_parts(kind, scope.scope_id.as_deref())).transpose()?;
    auth::disallow(&ctx, &id, permission, scope).await?;
    Ok(NoContent)
}

const PATH: &str = "/api/v1/auth/roles";
