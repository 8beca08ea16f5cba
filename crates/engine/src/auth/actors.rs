//! Actors: which roles they hold, and whether they may act at all.

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::auth::{Actor, Permission, Role, RoleHeld, RoleHeldDraft};
use certctl_domain::ids::{ActorId, AgentId, Id as _, RoleId};
use certctl_domain::noun::{Check, Noun as _};
use certctl_domain::time::Timestamp;
use certctl_store::{Topic, WriteTx, actors, api_keys, roles, table};

use super::ceiling;
use crate::crud::{self, Actions, Hidden, Managed};
use crate::ctx::Ctx;
use crate::error::{Error, Result};

impl Managed for Actor {
    const ACTIONS: Actions = crate::actions!("actor");
    const TOPIC: Option<Topic> = Some(Topic::Authz);
    const CATEGORY: AuditCategory = AuditCategory::Auth;

    async fn begin(tx: &mut WriteTx) -> Result<()> {
        Ok(api_keys::begin_change(tx).await?)
    }

    async fn before_write(ctx: &Ctx, tx: &mut WriteTx, old: Option<&Self>, new: &mut Self) -> Result<Hidden> {
        let held_before = |held: &RoleHeld| old.is_some_and(|old| old.roles.iter().any(|other| gives_as_much(other, held)));
        let given: Vec<RoleHeld> = new.roles.iter().filter(|held| !held_before(held)).cloned().collect();
        let taken = old.is_some_and(|old| old.roles.iter().any(|held| !new.roles.iter().any(|other| other.is_same_grant(held))));
        if old.is_none() && new.id.as_str().starts_with(AgentId::PREFIX) {
            return Err(
                Error::conflict("reserved", format!("`{}` is the id of an agent", new.id)).hint("choose one that begins with `actor-`")
            );
        }
        ends_later(ctx, old, new)?;
        if taken {
            needs(ctx, Permission::AuthRoleRevoke)?;
        }
        if !given.is_empty() {
            needs(ctx, Permission::AuthRoleAssign)?;
            may_give(ctx, tx, new, &given).await?;
        }
        Ok(Hidden::new())
    }

    async fn after_write(_ctx: &Ctx, tx: &mut WriteTx, old: Option<&Self>, new: &Self) -> Result<()> {
        actors::write_roles(tx, new).await?;
        if old.is_some_and(ceiling::is_admin) && !ceiling::is_admin(new) {
            ceiling::keep_an_admin(tx).await?;
        }
        Ok(())
    }

    async fn before_delete(_ctx: &Ctx, tx: &mut WriteTx, old: &Self) -> Result<()> {
        let keys = api_keys::delete_of(tx, &old.id).await?;
        if ceiling::is_admin(old) {
            ceiling::keep_an_admin(tx).await?;
        }
        if keys > 0 {
            tx.audit(Audit::new(AuditCategory::Auth, "api_key.delete_all", Self::KIND, &old.id).with("keys", keys));
        }
        Ok(())
    }
}

/// Gives an actor a role; one that it holds already in that scope takes the new end.
///
/// # Errors
/// When there is no such actor or role, or the role holds what the caller does not.
pub async fn assign(ctx: &Ctx, id: &ActorId, held: RoleHeld) -> Result<Actor> {
    held.scope()?;
    crud::load::<Role>(ctx, &held.role_id).await?;
    crud::change(ctx, id, None, |actor: &Actor| {
        let mut draft = actor.draft();
        let others = actor.roles.iter().filter(|other| !other.is_same_grant(&held)).cloned();
        draft.roles = others.chain([held.clone()]).map(RoleHeldDraft::Held).collect();
        Ok(draft)
    })
    .await
}

/// Takes a role from an actor, in every scope in which it holds it.
///
/// # Errors
/// When there is no such actor, it does not hold the role, or it is the last administrator.
pub async fn unassign(ctx: &Ctx, id: &ActorId, role: &RoleId) -> Result<Actor> {
    crud::change(ctx, id, None, |actor: &Actor| {
        if !actor.roles.iter().any(|held| held.role_id == *role) {
            return Err(Error::not_found("role", role).hint(format!("`{id}` does not hold it; GET the actor to see what it holds")));
        }
        let mut draft = actor.draft();
        draft.roles = actor.roles.iter().filter(|held| held.role_id != *role).cloned().map(RoleHeldDraft::Held).collect();
        Ok(draft)
    })
    .await
}

/// Keeps an actor from acting: its keys are refused from the next request on.
///
/// # Errors
/// When there is no such actor, or it is the last administrator.
pub async fn disable(ctx: &Ctx, id: &ActorId) -> Result<Actor> {
    let (mut tx, actor) = locked(ctx, id).await?;
    if actor.disabled_at.is_some() {
        return Ok(actor);
    }
    let new = set_disabled(&mut tx, &actor, Some(ctx.now())).await?;
    if ceiling::is_admin(&actor) {
        ceiling::keep_an_admin(&mut tx).await?;
    }
    commit(tx, "actor.disable", &new).await?;
    Ok(new)
}

/// Lets a disabled actor act again.
///
/// # Errors
/// When there is no such actor, or it may do what the caller may not.
pub async fn enable(ctx: &Ctx, id: &ActorId) -> Result<Actor> {
    let (mut tx, actor) = locked(ctx, id).await?;
    if actor.disabled_at.is_none() {
        return Ok(actor);
    }
    let holding = actors::holding_in(&mut tx, id, ctx.now()).await?;
    ceiling::covers(ctx, holding.grants.iter().map(|(permission, scope)| (*permission, scope)), "enable that actor")?;
    let new = set_disabled(&mut tx, &actor, None).await?;
    commit(tx, "actor.enable", &new).await?;
    Ok(new)
}

async fn locked(ctx: &Ctx, id: &ActorId) -> Result<(WriteTx, Actor)> {
    let mut tx = ctx.write().await?;
    api_keys::begin_change(&mut tx).await?;
    let actor = table::get_for_update::<Actor>(&mut tx, id).await?;
    let actor = actor.filter(|_| ctx.reach().everywhere).ok_or_else(|| Error::not_found(Actor::KIND, id))?;
    Ok((tx, actor))
}

async fn set_disabled(tx: &mut WriteTx, actor: &Actor, at: Option<Timestamp>) -> Result<Actor> {
    let new = Actor { disabled_at: at, revision: actor.revision + 1, updated_at: tx.now(), ..actor.clone() };
    table::update(tx, &new).await?;
    Ok(new)
}

async fn commit(mut tx: WriteTx, action: &'static str, actor: &Actor) -> Result<()> {
    tx.wake(Topic::Authz);
    let audit = Audit::new(AuditCategory::Auth, action, Actor::KIND, &actor.id).with("name", actor.name.as_str());
    Ok(tx.commit(audit).await?)
}

fn needs(ctx: &Ctx, permission: Permission) -> Result<()> {
    if ctx.grants().reach(permission).everywhere {
        return Ok(());
    }
    Err(Error::forbidden(format!("{} lacks the permission {permission}, which this change of roles needs", ctx.actor()))
        .hint(format!("ask an administrator for a role that has {permission}")))
}

/// Whether holding `old` already gives all that `new` would.
fn gives_as_much(old: &RoleHeld, new: &RoleHeld) -> bool {
    old.is_same_grant(new)
        && match (old.expires_at, new.expires_at) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(old), Some(new)) => new <= old,
        }
}

/// Refuses a role that is to end before it begins. What was held before and has ended meanwhile may stay.
fn ends_later(ctx: &Ctx, old: Option<&Actor>, new: &Actor) -> Result<()> {
    let mut check = Check::default();
    for (i, held) in new.roles.iter().enumerate() {
        let known = old.is_some_and(|old| old.roles.contains(held));
        check.that(known || held.expires_at.is_none_or(|end| end > ctx.now()), &format!("roles.{i}"), "ends in the past");
    }
    Ok(check.finish(|| ())?)
}

async fn may_give(ctx: &Ctx, tx: &mut WriteTx, new: &Actor, given: &[RoleHeld]) -> Result<()> {
    let ids: Vec<&RoleId> = given.iter().map(|held| &held.role_id).collect();
    let known = roles::with_ids(tx, &ids).await?;
    let mut check = Check::default();
    for held in given {
        let at = new.roles.iter().position(|other| other == held).unwrap_or(0);
        let field = format!("roles.{at}");
        let Some(role) = known.iter().find(|role| role.id == held.role_id) else {
            check.that(false, &field, format_args!("there is no role `{}`", held.role_id));
            continue;
        };
        let outer = held.scope()?;
        for grant in &role.permissions {
            if let Some(scope) = outer.intersect(&grant.scope()?) {
                ceiling::covers(ctx, [(grant.permission, &scope)], &format!("give the role `{}`", role.id))?;
            }
        }
    }
    Ok(check.finish(|| ())?)
}
