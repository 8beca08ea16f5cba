//! The ceiling: nobody gives what they do not hold, and the last administrator stays.

use certctl_domain::auth::{Actor, Permission, Scope, ScopeType};
use certctl_domain::ids::Id as _;
use certctl_store::{WriteTx, actors};

use super::ADMIN;
use crate::ctx::Ctx;
use crate::error::{Error, Result};

/// Refuses when one of `grants` is not held by who acts.
pub(super) fn covers<'a>(ctx: &Ctx, grants: impl IntoIterator<Item = (Permission, &'a Scope)>, what: &str) -> Result<()> {
    for (permission, scope) in grants {
        if !ctx.grants().covers(permission, scope) {
            let place = match scope.parts() {
                (ScopeType::Global, _) | (_, None) => "everywhere".to_owned(),
                (ScopeType::Profile, Some(id)) => format!("for profile `{id}`"),
                (ScopeType::Issuer, Some(id)) => format!("for issuer `{id}`"),
            };
            return Err(Error::new(
                crate::ErrorKind::Forbidden,
                "beyond_own_permissions",
                format!("{} may not {what}: it does not hold {permission} {place} itself", ctx.actor()),
            )
            .hint("ask somebody who holds it; nobody can give more than they have"));
        }
    }
    Ok(())
}

/// Whether an actor administers: holds the admin role everywhere and without end, and is not disabled.
pub(super) fn is_admin(actor: &Actor) -> bool {
    actor.disabled_at.is_none()
        && actor
            .roles
            .iter()
            .any(|held| held.role_id.as_str() == ADMIN && held.scope_type == ScopeType::Global && held.expires_at.is_none())
}

/// Refuses when, after what this transaction has done, nobody could administer any more.
pub(super) async fn keep_an_admin(tx: &mut WriteTx) -> Result<()> {
    let now = tx.now();
    if actors::has_credential_for(tx, ADMIN, now).await? {
        return Ok(());
    }
    Err(Error::conflict("last_admin", "this would take away the last credential of an administrator")
        .hint("give another actor the role `r-admin` and an API key first"))
}
