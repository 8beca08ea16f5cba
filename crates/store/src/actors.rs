//! Actors and the roles that they hold.

use certctl_domain::auth::{Actor, ActorKind, Grant, Grants, Permission, Scope, ScopeType};
use certctl_domain::ids::ActorId;
use certctl_domain::time::Timestamp;

use crate::db::{Db, Row, Sql, Tx, sql};
use crate::error::StoreError;
use crate::table::{Kind, Scoped, Stored, Table, equals, one_of};

impl Stored for Actor {
    const TABLE: Table = Table {
        name: "actors",
        columns: &[
            ("id", Kind::Text),
            ("type", Kind::Text),
            ("name", Kind::Text),
            ("roles", Kind::Json),
            ("disabled_at", Kind::Time),
            ("revision", Kind::Int),
            ("created_at", Kind::Time),
            ("updated_at", Kind::Time),
        ],
        search: &["id", "name"],
        filters: &[
            equals("name", Kind::Text, "name = $?"),
            one_of!("type", ActorKind, "type = $?"),
            equals("disabled", Kind::Bool, "(disabled_at IS NOT NULL) = $?"),
            equals("role_id", Kind::Text, "EXISTS (SELECT 1 FROM actor_roles WHERE actor_id = actors.id AND role_id = $?)"),
        ],
        sorts: &["created_at", "id"],
        scope: Scoped { profile: None, issuer: None },
        counter: None,
    };
}

/// What an actor may do, and until when that is sure to be so.
#[derive(Debug, Clone)]
pub struct Holding {
    /// What it may do.
    pub grants: Grants,
    /// When the first role that is held for a time ends.
    pub until: Option<Timestamp>,
}

/// Writes which roles an actor holds, for joins and for the reference that keeps a role from being deleted.
///
/// # Errors
/// [`StoreError::Reference`] when a role does not exist.
pub async fn write_roles(tx: &mut Tx, actor: &Actor) -> Result<(), StoreError> {
    tx.execute(sql("DELETE FROM actor_roles WHERE actor_id = $1").bind(&actor.id)).await?;
    if actor.roles.is_empty() {
        return Ok(());
    }
    let mut statement = sql("INSERT INTO actor_roles (actor_id, role_id, scope_type, scope_id, expires_at) VALUES ");
    statement.push_rows(actor.roles.iter().map(|held| {
        let scope_id = held.scope_id.as_deref().unwrap_or_default();
        vec![(&actor.id).into(), (&held.role_id).into(), word(held.scope_type).into(), scope_id.into(), held.expires_at.into()]
    }));
    tx.execute(statement).await?;
    Ok(())
}

/// What an actor may do at `now`.
///
/// # Errors
/// When the database fails.
pub async fn holding(db: &Db, actor: &ActorId, now: Timestamp) -> Result<Holding, StoreError> {
    read_holding(&db.fetch_all(held_roles(actor)).await?, now)
}

/// As [`holding`], inside a transaction.
///
/// # Errors
/// When the database fails.
pub async fn holding_in(tx: &mut Tx, actor: &ActorId, now: Timestamp) -> Result<Holding, StoreError> {
    read_holding(&tx.fetch_all(held_roles(actor)).await?, now)
}

/// Whether some credential lets somebody administer at `now`: an API key that is in force, of an actor that is not disabled and holds
/// `role` everywhere and without end.
///
/// # Errors
/// When the database fails.
pub async fn has_credential_for(tx: &mut Tx, role: &str, now: Timestamp) -> Result<bool, StoreError> {
    Ok(tx.fetch_optional(credential_for(role, now)).await?.is_some())
}

/// As [`has_credential_for`], outside a transaction.
///
/// # Errors
/// When the database fails.
pub async fn has_credential_for_now(db: &Db, role: &str, now: Timestamp) -> Result<bool, StoreError> {
    Ok(db.fetch_optional(credential_for(role, now)).await?.is_some())
}

fn held_roles(actor: &ActorId) -> Sql {
    sql("SELECT r.permissions AS permissions, h.scope_type AS scope_type, h.scope_id AS scope_id, h.expires_at AS expires_at
         FROM actor_roles h JOIN roles r ON r.id = h.role_id WHERE h.actor_id = $1")
    .bind(actor)
}

fn read_holding(rows: &[Row], now: Timestamp) -> Result<Holding, StoreError> {
    let corrupt = |e: &dyn std::fmt::Display| StoreError::corrupt(format!("a role that is held: {e}"));
    let mut held: Vec<(Scope, Vec<(Permission, Scope)>)> = Vec::with_capacity(rows.len());
    let mut until: Option<Timestamp> = None;
    for row in rows {
        let expires = row.opt_time("expires_at")?;
        if expires.is_some_and(|at| at <= now) {
            continue;
        }
        until = match (until, expires) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let kind = serde_json::from_value::<ScopeType>(row.text("scope_type")?.into()).map_err(|e| corrupt(&e))?;
        let outer = Scope::from_parts(kind, Some(row.text("scope_id")?.as_str())).map_err(|e| corrupt(&e))?;
        let grants: Vec<Grant> = serde_json::from_value(row.json("permissions")?).map_err(|e| corrupt(&e))?;
        let permissions = grants.iter().map(|grant| Ok((grant.permission, grant.scope().map_err(|e| corrupt(&e))?)));
        held.push((outer, permissions.collect::<Result<_, StoreError>>()?));
    }
    Ok(Holding { grants: Grants::from_roles(held.iter().map(|(outer, permissions)| (outer, permissions.as_slice()))), until })
}

fn credential_for(role: &str, now: Timestamp) -> Sql {
    sql("SELECT k.id AS id FROM actor_roles h JOIN actors a ON a.id = h.actor_id JOIN api_keys k ON k.actor_id = a.id
         WHERE h.role_id = $1 AND h.scope_type = 'global' AND h.expires_at IS NULL AND a.disabled_at IS NULL
           AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $2) LIMIT 1")
    .bind(role)
    .bind(now)
}

const fn word(kind: ScopeType) -> &'static str {
    match kind {
        ScopeType::Global => "global",
        ScopeType::Profile => "profile",
        ScopeType::Issuer => "issuer",
    }
}
