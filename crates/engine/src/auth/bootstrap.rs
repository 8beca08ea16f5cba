//! The beginning: the roles that come with the product, and the first administrator.

use std::sync::Arc;

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::auth::{
    Actor, ActorDraft, ActorKind, ActorKindDraft, Grant, Grants, Permission, Role, RoleHeld, RoleHeldDraft, system_roles,
};
use certctl_domain::ids::{ActorId, Id, RoleId};
use certctl_domain::noun::{Check, Noun as _};
use certctl_domain::secret::Secret;
use certctl_store::{Topic, WriteTx, actors, api_keys, bootstrap, roles, table};
use subtle::ConstantTimeEq as _;

use super::keys::{MintedKey, NewKey, mint_in};
use super::{ADMIN, ceiling, token};
use crate::Engine;
use crate::ctx::{Caller, Ctx};
use crate::error::{Error, ErrorKind, Result};

/// Writes the roles that come with the product as this release has them. Says how many were new or changed.
///
/// # Errors
/// When the store fails.
pub async fn seed_roles(engine: &Arc<Engine>) -> Result<usize> {
    let ctx = Ctx::system(engine, TASK);
    let mut tx = ctx.write().await?;
    api_keys::begin_change(&mut tx).await?;
    let wanted = system_roles();
    let ids = wanted.iter().map(|(id, ..)| parse::<RoleId>(id)).collect::<Result<Vec<_>>>()?;
    let known = roles::with_ids(&mut tx, &ids.iter().collect::<Vec<_>>()).await?;
    let mut changed = Vec::new();
    for (id, (_, name, description, permissions)) in ids.into_iter().zip(wanted) {
        let old = known.iter().find(|role| role.id == id);
        let role = Role {
            tenant_id: "t-default".to_owned(),
            name: name.to_owned(),
            description: description.to_owned(),
            system: true,
            permissions: permissions.into_iter().map(Grant::global).collect(),
            revision: old.map_or(1, |old| old.revision),
            created_at: old.map_or(ctx.now(), |old| old.created_at),
            updated_at: old.map_or(ctx.now(), |old| old.updated_at),
            id,
        };
        match old {
            None => table::insert(&mut tx, &role).await?,
            Some(old) if *old == role => continue,
            Some(old) => table::update(&mut tx, &Role { revision: old.revision + 1, updated_at: ctx.now(), ..role.clone() }).await?,
        }
        changed.push(role.id);
    }
    if changed.is_empty() {
        return Ok(0);
    }
    let last = changed.pop();
    let n = changed.len() + 1;
    for id in changed {
        tx.audit(Audit::new(AuditCategory::Auth, "role.seed", Role::KIND, id));
    }
    if let Some(id) = last {
        tx.wake(Topic::Authz);
        tx.commit(Audit::new(AuditCategory::Auth, "role.seed", Role::KIND, id)).await?;
    }
    Ok(n)
}

/// Makes `actor-admin` with the admin role and a key, when nobody has a key with which to administer. The key is not kept.
///
/// # Errors
/// When the store fails.
pub async fn first_admin(engine: &Arc<Engine>) -> Result<Option<Secret<String>>> {
    let ctx = Ctx::system(engine, TASK);
    let mut tx = ctx.write().await?;
    api_keys::begin_change(&mut tx).await?;
    if actors::has_credential_for(&mut tx, ADMIN, ctx.now()).await? {
        return Ok(None);
    }
    let minted = install(&ctx, &mut tx, parse("actor-admin")?, "admin").await?;
    commit(tx, "actor.first_admin", &minted).await?;
    Ok(Some(minted.value))
}

/// Offers a token with which the first administrator can be made over the API. One that was used stays used.
///
/// # Errors
/// When the store fails.
pub async fn offer(engine: &Arc<Engine>, token: &Secret<String>) -> Result<()> {
    let hash = token::hash(token.expose());
    let ctx = Ctx::system(engine, TASK);
    let mut tx = ctx.write().await?;
    api_keys::begin_change(&mut tx).await?;
    let now = bootstrap::offer_in(&mut tx).await?;
    if token.expose().is_empty() || now.consumed.as_ref() == Some(&hash) || now.offered.as_ref() == Some(&hash) {
        return Ok(());
    }
    bootstrap::set_offered(&mut tx, &hash).await?;
    Ok(tx.commit(Audit::new(AuditCategory::Auth, "bootstrap.offer", "bootstrap", "token")).await?)
}

/// Whether a token could be used now.
///
/// # Errors
/// When the store fails.
pub async fn is_available(engine: &Engine) -> Result<bool> {
    let db = engine.store().db();
    Ok(bootstrap::offer(db).await?.offered.is_some() && !actors::has_credential_for_now(db, ADMIN, engine.now()).await?)
}

/// Makes the first administrator for who has the token. A failure in between leaves the token as it was.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a name that cannot be, [`ErrorKind::Gone`] when nothing is offered any more,
/// [`ErrorKind::Unauthenticated`] for another token.
pub async fn redeem(engine: &Arc<Engine>, request_id: Option<String>, token: &Secret<String>, name: &str) -> Result<MintedKey> {
    let mut check = Check::default();
    check.that(is_actor_name(name), "actor_name", "must be 3 to 64 characters of a-z 0-9 _ -, beginning with a letter or digit");
    check.finish(|| ())?;
    let caller = Caller { actor: parse("bootstrap")?, kind: ActorKind::Anonymous, grants: Arc::new(Grants::all()), agent: None };
    let ctx = Ctx::authorize(engine, &caller, Permission::AuthKeyCreate, request_id)?;
    if !is_available(engine).await? {
        return Err(gone());
    }
    let mut tx = ctx.write().await?;
    api_keys::begin_change(&mut tx).await?;
    let offered = bootstrap::offer_in(&mut tx).await?.offered.ok_or_else(gone)?;
    if actors::has_credential_for(&mut tx, ADMIN, ctx.now()).await? {
        return Err(gone());
    }
    let hash = token::hash(token.expose());
    if !bool::from(hash.as_bytes().ct_eq(offered.as_bytes())) {
        tracing::warn!(request.id = ctx.request_id(), "a wrong bootstrap token was given");
        return Err(Error::new(ErrorKind::Unauthenticated, "bootstrap_refused", "the bootstrap token is not the one that was set")
            .hint("see the server's setting auth.bootstrap_token"));
    }
    let minted = install(&ctx, &mut tx, parse(&format!("actor-{name}"))?, name).await?;
    bootstrap::consume(&mut tx, &hash).await?;
    commit(tx, "bootstrap.consume", &minted).await?;
    Ok(minted)
}

/// Lets `id` administer, whether it was there or not, and gives it a key.
async fn install(ctx: &Ctx, tx: &mut WriteTx, id: ActorId, name: &str) -> Result<MintedKey> {
    let admin = RoleHeld::from(RoleHeldDraft::Id(parse(ADMIN)?));
    let actor = match table::get_for_update::<Actor>(tx, &id).await? {
        Some(actor) => {
            let mut roles = actor.roles.clone();
            roles.retain(|held| !held.is_same_grant(&admin));
            roles.push(admin);
            let actor = Actor { roles, disabled_at: None, revision: actor.revision + 1, updated_at: ctx.now(), ..actor };
            table::update(tx, &actor).await?;
            actor
        }
        None => {
            let draft =
                ActorDraft { id: None, name: name.to_owned(), kind: ActorKindDraft::APIKey, roles: vec![RoleHeldDraft::Held(admin)] };
            let actor = Actor::create(id, draft, ctx.now())?;
            table::insert(tx, &actor).await?;
            actor
        }
    };
    actors::write_roles(tx, &actor).await?;
    debug_assert!(ceiling::is_admin(&actor), "the first administrator administers");
    mint_in(ctx, tx, NewKey { actor: actor.id, name: "first administrator".to_owned(), expires_at: None }).await
}

async fn commit(mut tx: WriteTx, action: &'static str, minted: &MintedKey) -> Result<()> {
    tx.wake(Topic::Authz);
    let audit = Audit::new(AuditCategory::Auth, action, Actor::KIND, &minted.key.actor_id);
    Ok(tx.commit(audit.with("api_key_id", minted.key.id.to_string()).with("prefix", minted.key.prefix.as_str())).await?)
}

fn gone() -> Error {
    Error::new(ErrorKind::Gone, "bootstrap_unavailable", "there is no bootstrap token to use, or an administrator exists already")
        .hint("ask an administrator for an API key")
}

fn is_actor_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (3..=64).contains(&name.len()) && name.bytes().next().is_some_and(plain) && name.bytes().all(|b| plain(b) || b == b'_' || b == b'-')
}

fn parse<I: Id>(text: &str) -> Result<I> {
    I::parse(text).map_err(|e| Error::internal(e.to_string()))
}

const TASK: &str = "boot";
