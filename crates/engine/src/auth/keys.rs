//! API keys: made once and shown once, rotated with an overlap, and dead with the next request after they are taken back.

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::auth::{Actor, ApiKey};
use certctl_domain::ids::{ActorId, ApiKeyId};
use certctl_domain::list::{ListQuery, Page};
use certctl_domain::noun::{Check, Refusal};
use certctl_domain::secret::Secret;
use certctl_domain::time::Timestamp;
use certctl_store::{Topic, WriteTx, actors, api_keys, table};

use super::ceiling;
use super::token::{Token, TokenKind};
use crate::ctx::Ctx;
use crate::error::{Error, Result};

/// What a new key is to be.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Whose it is.
    pub actor: ActorId,
    /// For people.
    pub name: String,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A new key with its value, which is not kept.
#[derive(Debug, Clone)]
pub struct MintedKey {
    /// The key without its secret.
    pub key: ApiKey,
    /// The whole token; never to be had again.
    pub value: Secret<String>,
}

/// A key that replaces another one.
#[derive(Debug, Clone)]
pub struct RotatedKey {
    /// The new one.
    pub minted: MintedKey,
    /// When the old one ends.
    pub old_ends_at: Timestamp,
}

/// How a key is replaced.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// How long the old one stays in force.
    pub overlap: time::Duration,
    /// When the new one ends.
    pub expires_at: Option<Timestamp>,
}

/// Makes a key for an actor.
///
/// # Errors
/// When there is no such actor, it is disabled, or it may do what the caller may not.
pub async fn mint(ctx: &Ctx, new: NewKey) -> Result<MintedKey> {
    let mut check = Check::default();
    check.name("name", &new.name);
    check_end(&mut check, new.expires_at, ctx.now());
    check.finish(|| ())?;
    let mut tx = begin(ctx).await?;
    let minted = mint_in(ctx, &mut tx, new).await?;
    commit(tx, "api_key.create", &minted.key).await?;
    Ok(minted)
}

/// Makes a key inside a transaction that has begun a change of access.
pub(super) async fn mint_in(ctx: &Ctx, tx: &mut WriteTx, new: NewKey) -> Result<MintedKey> {
    let Some(actor) = table::get_for_update::<Actor>(tx, &new.actor).await? else {
        return Err(Refusal::field("actor_id", format_args!("there is no actor `{}`", new.actor)).into());
    };
    if actor.disabled_at.is_some() {
        return Err(Error::conflict("actor_disabled", format!("actor `{}` is disabled", actor.id)).hint("enable it first"));
    }
    let holding = actors::holding_in(tx, &actor.id, ctx.now()).await?;
    let grants = holding.grants.iter().map(|(permission, scope)| (*permission, scope));
    ceiling::covers(ctx, grants, &format!("have a key of `{}`", actor.id))?;
    let token = Token::mint_anonymous(TokenKind::ApiKey)?;
    let key = ApiKey {
        id: ctx.new_id()?,
        actor_id: actor.id,
        name: new.name,
        prefix: token.public_part(),
        created_at: ctx.now(),
        created_by: ctx.actor().clone(),
        expires_at: new.expires_at,
        revoked_at: None,
        last_used_at: None,
        rotated_to: None,
    };
    api_keys::insert(tx, &key, &token.hash()).await?;
    Ok(MintedKey { key, value: token.text() })
}

/// Reads one page, never with a value.
///
/// # Errors
/// When a filter, sort field or cursor is not one of the table's.
pub async fn list(ctx: &Ctx, query: &ListQuery) -> Result<Page<ApiKey>> {
    Ok(api_keys::list(ctx.store().db(), query, ctx.reach()).await?)
}

/// Reads one.
///
/// # Errors
/// When there is none.
pub async fn get(ctx: &Ctx, id: &ApiKeyId) -> Result<ApiKey> {
    let key = api_keys::get(ctx.store().db(), id).await?;
    key.filter(|_| ctx.reach().everywhere).ok_or_else(|| not_found(id))
}

/// Takes a key back; one that was taken back already stays so.
///
/// # Errors
/// When there is none, or it is the last one of an administrator.
pub async fn revoke(ctx: &Ctx, id: &ApiKeyId) -> Result<()> {
    let mut tx = begin(ctx).await?;
    let key = locked(ctx, &mut tx, id).await?;
    if key.revoked_at.is_some() {
        return Ok(());
    }
    let actor = table::get_for_update::<Actor>(&mut tx, &key.actor_id).await?;
    api_keys::revoke(&mut tx, id, ctx.now()).await?;
    // A key that had ended administers nothing: taking it back takes nothing away.
    if is_in_force(&key, ctx.now()) && actor.as_ref().is_some_and(ceiling::is_admin) {
        ceiling::keep_an_admin(&mut tx).await?;
    }
    commit(tx, "api_key.delete", &key).await
}

/// Makes a key that replaces another one, which ends after an overlap.
///
/// # Errors
/// When there is none, it is no longer in force, it was replaced before, or its actor may do what the caller may not.
pub async fn rotate(ctx: &Ctx, id: &ApiKeyId, rotation: Rotation) -> Result<RotatedKey> {
    let now = ctx.now();
    let mut check = Check::default();
    let fine = !rotation.overlap.is_negative() && rotation.overlap <= LONGEST_OVERLAP;
    check.that(fine, "overlap", "is from 0s to 30d");
    check_end(&mut check, rotation.expires_at, now);
    check.finish(|| ())?;
    let mut tx = begin(ctx).await?;
    let old = locked(ctx, &mut tx, id).await?;
    if let Some(new) = &old.rotated_to {
        return Err(Error::conflict("already_rotated", format!("API key `{id}` was replaced by `{new}`")).hint("rotate that one"));
    }
    if !is_in_force(&old, now) {
        return Err(Error::conflict("key_ended", format!("API key `{id}` is no longer in force")).hint("make a new one"));
    }
    let new = NewKey { actor: old.actor_id.clone(), name: old.name.clone(), expires_at: rotation.expires_at };
    let minted = mint_in(ctx, &mut tx, new).await?;
    let end = now.saturating_add(rotation.overlap);
    let end = old.expires_at.map_or(end, |at| at.min(end));
    api_keys::replace_by(&mut tx, id, &minted.key.id, end).await?;
    let replaced = Audit::new(AuditCategory::Auth, "api_key.rotate", KIND, id);
    tx.audit(replaced.with("rotated_to", minted.key.id.to_string()).with("expires_at", end.to_string()));
    commit(tx, "api_key.create", &minted.key).await?;
    Ok(RotatedKey { minted, old_ends_at: end })
}

async fn begin(ctx: &Ctx) -> Result<WriteTx> {
    let mut tx = ctx.write().await?;
    api_keys::begin_change(&mut tx).await?;
    Ok(tx)
}

async fn locked(ctx: &Ctx, tx: &mut WriteTx, id: &ApiKeyId) -> Result<ApiKey> {
    let key = api_keys::get_for_update(tx, id).await?;
    key.filter(|_| ctx.reach().everywhere).ok_or_else(|| not_found(id))
}

async fn commit(mut tx: WriteTx, action: &'static str, key: &ApiKey) -> Result<()> {
    tx.wake(Topic::Authz);
    let audit = Audit::new(AuditCategory::Auth, action, KIND, &key.id)
        .with("name", key.name.as_str())
        .with("actor_id", key.actor_id.to_string())
        .with("prefix", key.prefix.as_str());
    Ok(tx.commit(audit).await?)
}

fn check_end(check: &mut Check, end: Option<Timestamp>, now: Timestamp) {
    check.that(end.is_none_or(|end| end > now), "expires_at", "is in the past");
}

fn is_in_force(key: &ApiKey, now: Timestamp) -> bool {
    key.revoked_at.is_none() && key.expires_at.is_none_or(|at| at > now)
}

fn not_found(id: &ApiKeyId) -> Error {
    Error::not_found("API key", id)
}

const KIND: &str = "api_key";
const LONGEST_OVERLAP: time::Duration = time::Duration::days(30);
