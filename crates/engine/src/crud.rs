//! Create, read, list, replace, patch and delete: the same for every noun that has a table.

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::list::{ListQuery, Page};
use certctl_store::table::{self, Stored};
use certctl_store::{StoreError, Topic, WriteTx};
use serde_json::Value;

use crate::ctx::Ctx;
use crate::error::{Error, ErrorKind, Result};

/// A noun that callers manage. The defaults fit a noun without rules of its own.
pub trait Managed: Stored {
    /// Audit actions.
    const ACTIONS: Actions;
    /// Who must look again after a change.
    const TOPIC: Option<Topic> = None;
    /// Under what the audit log groups the changes.
    const CATEGORY: AuditCategory = AuditCategory::Config;

    /// What comes first in a transaction that changes one, before anything is read: a lock, where changes must wait for one another.
    fn begin(tx: &mut WriteTx) -> impl Future<Output = Result<()>> + Send {
        let _unused = tx;
        async { Ok(()) }
    }

    /// Whether the caller's scope includes it.
    fn is_within(&self, ctx: &Ctx) -> bool {
        ctx.reach().everywhere
    }

    /// What must hold before it is written, beside what the noun checks of itself. Gives columns that are written but not shown.
    fn before_write(ctx: &Ctx, tx: &mut WriteTx, old: Option<&Self>, new: &mut Self) -> impl Future<Output = Result<Hidden>> + Send {
        let _unused = (ctx, tx, old, new);
        async { Ok(Hidden::new()) }
    }

    /// What follows from its being written.
    fn after_write(ctx: &Ctx, tx: &mut WriteTx, old: Option<&Self>, new: &Self) -> impl Future<Output = Result<()>> + Send {
        let _unused = (ctx, tx, old, new);
        async { Ok(()) }
    }

    /// What must hold before it is deleted.
    fn before_delete(ctx: &Ctx, tx: &mut WriteTx, old: &Self) -> impl Future<Output = Result<()>> + Send {
        let _unused = (ctx, tx, old);
        async { Ok(()) }
    }

    /// How it is shown: hides what must not be seen.
    fn shown(self) -> Self {
        self
    }
}

/// Columns that are written but not shown.
pub type Hidden = Vec<(&'static str, certctl_store::db::Value)>;

/// The audit actions of a noun.
#[derive(Debug, Clone, Copy)]
pub struct Actions {
    /// `owner.create`
    pub create: &'static str,
    /// `owner.update`
    pub update: &'static str,
    /// `owner.delete`
    pub delete: &'static str,
}

/// The audit actions of a noun by its name.
#[macro_export]
macro_rules! actions {
    ($kind:literal) => {
        $crate::crud::Actions { create: concat!($kind, ".create"), update: concat!($kind, ".update"), delete: concat!($kind, ".delete") }
    };
}

/// Makes a new one.
///
/// # Errors
/// When the draft is not as it should be, the name is taken, or something it refers to does not exist.
pub async fn create<N: Managed>(ctx: &Ctx, draft: N::Draft) -> Result<N> {
    let id = match N::chosen_id(&draft) {
        Some(id) => id.clone(),
        None => ctx.new_id()?,
    };
    let mut noun = N::create(id, draft, ctx.now())?;
    if !noun.is_within(ctx) {
        return Err(out_of_scope::<N>(ctx));
    }
    let mut tx = begun::<N>(ctx).await?;
    let hidden = N::before_write(ctx, &mut tx, None, &mut noun).await?;
    table::insert_with(&mut tx, &noun, &hidden).await?;
    N::after_write(ctx, &mut tx, None, &noun).await?;
    finish::<N>(tx, N::ACTIONS.create, &noun, noun.name()).await?;
    Ok(noun.shown())
}

/// Reads one.
///
/// # Errors
/// When there is none, or the caller may not know of it.
pub async fn get<N: Managed>(ctx: &Ctx, id: &N::Id) -> Result<N> {
    Ok(load::<N>(ctx, id).await?.shown())
}

/// Reads one as it is kept, for use inside the engine.
///
/// # Errors
/// As [`get`].
pub async fn load<N: Managed>(ctx: &Ctx, id: &N::Id) -> Result<N> {
    let noun = table::get::<N>(ctx.store().db(), id).await?;
    noun.filter(|noun| noun.is_within(ctx)).ok_or_else(|| Error::not_found(N::KIND, id))
}

/// Reads one page.
///
/// # Errors
/// When a filter, sort field or cursor is not one of the noun's.
pub async fn list<N: Managed>(ctx: &Ctx, query: &ListQuery) -> Result<Page<N>> {
    let page = table::list::<N>(ctx.store().db(), query, ctx.reach()).await?;
    Ok(Page { data: page.data.into_iter().map(N::shown).collect(), ..page })
}

/// Replaces what a caller may change.
///
/// # Errors
/// As [`create`], and when `if_match` is not the revision it has.
pub async fn replace<N: Managed>(ctx: &Ctx, id: &N::Id, draft: N::Draft, if_match: Option<i64>) -> Result<N> {
    change(ctx, id, if_match, |_: &N| Ok(draft)).await
}

/// Changes the fields that the merge patch names (RFC 7396).
///
/// # Errors
/// As [`replace`].
pub async fn patch<N: Managed>(ctx: &Ctx, id: &N::Id, patch: &Value, if_match: Option<i64>) -> Result<N> {
    let patched = |old: &N| {
        let mut draft = serde_json::to_value(old.draft()).map_err(|e| Error::internal(format!("a draft cannot be written: {e}")))?;
        merge(&mut draft, patch);
        crate::json::read(draft)
    };
    change(ctx, id, if_match, patched).await
}

/// Changes what is there now into what `make` makes of it, with nothing in between.
///
/// # Errors
/// As [`replace`], and what `make` refuses.
pub async fn change<N: Managed>(
    ctx: &Ctx,
    id: &N::Id,
    if_match: Option<i64>,
    make: impl FnOnce(&N) -> Result<N::Draft> + Send,
) -> Result<N> {
    let mut tx = begun::<N>(ctx).await?;
    let old = locked::<N>(ctx, &mut tx, id, if_match).await?;
    let draft = make(&old)?;
    write_new(ctx, tx, old, draft).await
}

/// Deletes one.
///
/// # Errors
/// When it is still in use, or `if_match` is not the revision it has.
pub async fn delete<N: Managed>(ctx: &Ctx, id: &N::Id, if_match: Option<i64>) -> Result<()> {
    let mut tx = begun::<N>(ctx).await?;
    let old = locked::<N>(ctx, &mut tx, id, if_match).await?;
    N::before_delete(ctx, &mut tx, &old).await?;
    match table::delete::<N>(&mut tx, id).await {
        Err(StoreError::Reference(_)) => {
            let kind = N::KIND.replace('_', " ");
            return Err(Error::conflict("in_use", format!("{kind} `{id}` is still in use"))
                .hint("take it out of use first: list what refers to it with the filter of its kind"));
        }
        other => other?,
    };
    finish::<N>(tx, N::ACTIONS.delete, &old, old.name()).await
}

async fn begun<N: Managed>(ctx: &Ctx) -> Result<WriteTx> {
    let mut tx = ctx.write().await?;
    N::begin(&mut tx).await?;
    Ok(tx)
}

async fn locked<N: Managed>(ctx: &Ctx, tx: &mut WriteTx, id: &N::Id, if_match: Option<i64>) -> Result<N> {
    let old = table::get_for_update::<N>(tx, id).await?.filter(|noun| noun.is_within(ctx)).ok_or_else(|| Error::not_found(N::KIND, id))?;
    match if_match {
        Some(revision) if revision != old.revision() => Err(StoreError::Stale.into()),
        _ => Ok(old),
    }
}

async fn write_new<N: Managed>(ctx: &Ctx, mut tx: WriteTx, old: N, draft: N::Draft) -> Result<N> {
    if N::chosen_id(&draft).is_some_and(|id| id != old.id()) {
        return Err(Error::invalid("invalid_field", "id: cannot be changed"));
    }
    let mut new = old.replace(draft, ctx.now())?;
    if !new.is_within(ctx) {
        return Err(out_of_scope::<N>(ctx));
    }
    let hidden = N::before_write(ctx, &mut tx, Some(&old), &mut new).await?;
    table::update_with(&mut tx, &new, &hidden).await?;
    N::after_write(ctx, &mut tx, Some(&old), &new).await?;
    finish::<N>(tx, N::ACTIONS.update, &new, new.name()).await?;
    Ok(new.shown())
}

async fn finish<N: Managed>(mut tx: WriteTx, action: &'static str, noun: &N, name: &str) -> Result<()> {
    if let Some(topic) = N::TOPIC {
        tx.wake(topic);
    }
    if let Some(counter) = N::TABLE.counter {
        let delta = if action == N::ACTIONS.create {
            1
        } else if action == N::ACTIONS.delete {
            -1
        } else {
            0
        };
        if delta != 0 {
            tx.count(counter, delta);
        }
    }
    let audit = Audit::new(N::CATEGORY, action, N::KIND, noun.id()).with("name", name).with("revision", noun.revision());
    Ok(tx.commit(audit).await?)
}

fn out_of_scope<N: Managed>(ctx: &Ctx) -> Error {
    let kind = N::KIND.replace('_', " ");
    Error::new(
        ErrorKind::Forbidden,
        "forbidden",
        format!("{} may not write this {kind}: its profile and issuer are outside of the scope granted", ctx.actor()),
    )
    .hint("ask an administrator for the permission in a scope that includes it")
}

/// RFC 7396 section 2.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(target) = target {
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn merge_patches_as_the_rfc_shows() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        ] {
            let mut merged = target;
            merge(&mut merged, &patch);
            assert_eq!(merged, result);
        }
    }
}
