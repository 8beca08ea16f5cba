//! Roles: those of the product cannot be changed, and nobody puts into a role what they do not hold.

use certctl_domain::audit::AuditCategory;
use certctl_domain::auth::{Grant, GrantDraft, Permission, Role, Scope};
use certctl_domain::ids::RoleId;
use certctl_domain::noun::Noun as _;
use certctl_store::{Topic, WriteTx, api_keys};

use super::ceiling;
use crate::crud::{self, Actions, Hidden, Managed};
use crate::ctx::Ctx;
use crate::error::{Error, Result};

impl Managed for Role {
    const ACTIONS: Actions = crate::actions!("role");
    const TOPIC: Option<Topic> = Some(Topic::Authz);
    const CATEGORY: AuditCategory = AuditCategory::Auth;

    async fn begin(tx: &mut WriteTx) -> Result<()> {
        Ok(api_keys::begin_change(tx).await?)
    }

    async fn before_write(ctx: &Ctx, _tx: &mut WriteTx, old: Option<&Self>, new: &mut Self) -> Result<Hidden> {
        old.map_or(Ok(()), refuse_system)?;
        let had = |grant: &Grant| old.is_some_and(|old| old.permissions.contains(grant));
        for grant in new.permissions.iter().filter(|grant| !had(grant)) {
            ceiling::covers(ctx, [(grant.permission, &grant.scope()?)], "put that into a role")?;
        }
        Ok(Hidden::new())
    }

    async fn before_delete(_ctx: &Ctx, _tx: &mut WriteTx, old: &Self) -> Result<()> {
        refuse_system(old)
    }
}

/// Adds a permission to a role; one that it has already changes nothing.
///
/// # Errors
/// When there is no such role, it is one of the product's, or the caller does not hold the permission.
pub async fn allow(ctx: &Ctx, id: &RoleId, grant: Grant) -> Result<Role> {
    grant.scope()?;
    crud::change(ctx, id, None, |role: &Role| {
        let mut draft = role.draft();
        draft.permissions.get_or_insert_default().push(GrantDraft::Scoped(grant));
        Ok(draft)
    })
    .await
}

/// Takes a permission from a role, in one scope or, without one, in all.
///
/// # Errors
/// When there is no such role, it is one of the product's, or it has no such permission.
pub async fn disallow(ctx: &Ctx, id: &RoleId, permission: Permission, scope: Option<Scope>) -> Result<Role> {
    crud::change(ctx, id, None, |role: &Role| {
        let goes = |grant: &Grant| {
            grant.permission == permission && scope.as_ref().is_none_or(|scope| grant.scope().is_ok_and(|have| have == *scope))
        };
        if !role.permissions.iter().any(goes) {
            return Err(Error::not_found("permission", permission).hint("GET the role to see what it has"));
        }
        let mut draft = role.draft();
        draft.permissions = Some(role.permissions.iter().filter(|grant| !goes(grant)).cloned().map(GrantDraft::Scoped).collect());
        Ok(draft)
    })
    .await
}

fn refuse_system(role: &Role) -> Result<()> {
    if role.system {
        return Err(Error::conflict("system_role", format!("role `{}` came with the product and cannot be changed", role.id))
            .hint("make a role of your own with the permissions that you want"));
    }
    Ok(())
}
