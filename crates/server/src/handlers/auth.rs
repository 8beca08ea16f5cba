//! Who one is, how one gets in, and what there is to be allowed.

use certctl_api::auth::{
    AuthCheck, AuthInfo, BootstrapRequest, BootstrapResponse, BootstrapStatus, Me, PermissionCatalogue, PermissionInfo, RuntimeConfig,
};
use certctl_domain::auth::perm::{AuthRoleEdit, AuthRoleList};
use certctl_domain::auth::{Grant, Permission, Scope};
use certctl_domain::secret::Secret;
use certctl_engine::auth::{authenticate, bootstrap};

use crate::api::{Authenticated, Authorized, Body, Created, Json, Public};
use crate::problem::Answer;
use crate::state::AppState;

/// How to log in.
pub async fn info(_public: Public) -> Answer<Json<AuthInfo>> {
    Ok(Json(AuthInfo { auth_type: "api-key".to_owned(), required: true }))
}

/// Whether the credential is good.
pub async fn check(who: Authenticated) -> Answer<Json<AuthCheck>> {
    let me = describe(&who).await?;
    let admin = me.admin;
    Ok(Json(AuthCheck { status: "authenticated".to_owned(), user: me.actor_id.to_string(), admin_via_role: admin, me }))
}

/// Who one is.
pub async fn me(who: Authenticated) -> Answer<Json<Me>> {
    Ok(Json(describe(&who).await?))
}

/// Everything that somebody may be allowed to do.
pub async fn permissions(_ctx: Authorized<AuthRoleList>) -> Answer<Json<PermissionCatalogue>> {
    let info =
        |permission: &Permission| PermissionInfo { id: *permission, name: *permission, namespace: permission.namespace().to_owned() };
    Ok(Json(PermissionCatalogue { permissions: Permission::ALL.iter().map(info).collect() }))
}

/// The settings in force. They tell how the installation is built, so they are for who may change access.
pub async fn runtime_config(_ctx: Authorized<AuthRoleEdit>, state: AppState) -> Answer<Json<RuntimeConfig>> {
    Ok(Json(RuntimeConfig { runtime_config: state.settings.clone() }))
}

/// Whether the first administrator can be made with a token.
pub async fn bootstrap_status(public: Public) -> Answer<Json<BootstrapStatus>> {
    Ok(Json(BootstrapStatus { available: bootstrap::is_available(&public.engine).await? }))
}

/// Makes the first administrator.
pub async fn bootstrap(public: Public, Body(body): Body<BootstrapRequest>) -> Answer<Created<BootstrapResponse>> {
    let token = Secret::new(body.token);
    let minted = bootstrap::redeem(&public.engine, public.request_id, &token, &body.actor_name).await?;
    let location = format!("/api/v1/auth/actors/{}", minted.key.actor_id);
    let response = BootstrapResponse {
        actor_id: minted.key.actor_id,
        api_key_id: minted.key.id,
        key_value: minted.value.expose().clone(),
        created_at: minted.key.created_at,
        message: "keep the key: it is not shown again".to_owned(),
    };
    Ok(Created::at(response, location))
}

async fn describe(who: &Authenticated) -> Answer<Me> {
    let granted = who.caller.grants.iter().map(|(permission, scope)| {
        let (scope_type, scope_id) = scope.parts();
        Grant { permission: *permission, scope_type, scope_id: scope_id.map(str::to_owned) }
    });
    let admin = Permission::ALL.iter().all(|permission| who.caller.grants.covers(*permission, &Scope::Global));
    Ok(Me {
        actor_id: who.caller.actor.clone(),
        actor_type: who.caller.kind,
        tenant_id: TENANT.to_owned(),
        admin,
        roles: authenticate::roles_of(&who.engine, &who.caller).await?,
        effective_permissions: granted.collect(),
    })
}

/// There is one tenant.
pub(super) const TENANT: &str = "t-default";
