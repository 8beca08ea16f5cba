//! Actors, and the roles that they hold.

use certctl_api::auth::KeyHolder;
use certctl_domain::auth::perm::{AuthKeyList, AuthRoleAssign, AuthRoleRevoke};
use certctl_domain::auth::{Actor, RoleHeld};
use certctl_domain::ids::{ActorId, RoleId};
use certctl_domain::list::Page;
use certctl_engine::{auth, crud};

use super::auth::TENANT;
use crate::api::{Also, Authorized, Body, ListParams, Listing, NoContent, One, Path, Unnamed};
use crate::problem::Answer;

/// The rows stand under `keys` too.
#[derive(Debug)]
pub struct AsKeys;

impl Also for AsKeys {
    const NAME: Option<&'static str> = Some("keys");
}

/// Keeps an actor from acting.
pub async fn disable(ctx: Authorized<AuthRoleRevoke>, Unnamed(id): Unnamed<Actor>) -> Answer<One<Actor>> {
    Ok(One::noun(auth::disable(&ctx, &id).await?))
}

/// Lets a disabled actor act again.
pub async fn enable(ctx: Authorized<AuthRoleAssign>, Unnamed(id): Unnamed<Actor>) -> Answer<One<Actor>> {
    Ok(One::noun(auth::enable(&ctx, &id).await?))
}

/// Lists actors with the ids of their roles, as existing scripts read them.
pub async fn holders(ctx: Authorized<AuthKeyList>, params: ListParams<Actor>) -> Answer<Listing<KeyHolder, AsKeys>> {
    let page = crud::list::<Actor>(&ctx, &params.query).await?;
    let Page { data, total, total_is_estimate, page, per_page, next_cursor } = page;
    let holder = |actor: Actor| KeyHolder {
        actor_id: actor.id,
        actor_type: actor.kind,
        tenant_id: TENANT.to_owned(),
        role_ids: actor.roles.into_iter().map(|held| held.role_id).collect(),
    };
    let data = data.into_iter().map(holder).collect();
    Ok(params.answer(Page { data, total, total_is_estimate, page, per_page, next_cursor }).also())
}

/// Gives an actor a role.
pub async fn assign(ctx: Authorized<AuthRoleAssign>, Unnamed(id): Unnamed<Actor>, Body(held): Body<RoleHeld>) -> Answer<NoContent> {
    auth::assign(&ctx, &id, held).await?;
    Ok(NoContent)
}

/// Takes a role from an actor.
pub async fn unassign(ctx: Authorized<AuthRoleRevoke>, Path((id, role)): Path<(ActorId, RoleId)>) -> Answer<NoContent> {
    auth::unassign(&ctx, &id, &role).await?;
    Ok(NoContent)
}
