//! API keys. The secret itself is never kept: only its SHA-256.

use certctl_domain::auth::{ActorKind, ApiKey, Reach};
use certctl_domain::ids::{ActorId, AgentId, ApiKeyId};
use certctl_domain::list::{ListQuery, Page};
use certctl_domain::time::Timestamp;

use crate::db::{Db, Tx, sql};
use crate::error::StoreError;
use crate::table::{self, Kind, Scoped, Table, equals};

/// The table, for lists.
pub const TABLE: Table = Table {
    name: "api_keys",
    columns: &[
        ("id", Kind::Text),
        ("actor_id", Kind::Text),
        ("name", Kind::Text),
        ("prefix", Kind::Text),
        ("created_at", Kind::Time),
        ("created_by", Kind::Text),
        ("expires_at", Kind::Time),
        ("revoked_at", Kind::Time),
        ("last_used_at", Kind::Time),
        ("rotated_to", Kind::Text),
    ],
    search: &["id", "name", "prefix", "actor_id"],
    filters: &[
        equals("actor_id", Kind::Text, "actor_id = $?"),
        equals("revoked", Kind::Bool, "(revoked_at IS NOT NULL) = $?"),
        equals("expires_before", Kind::Time, "expires_at < $?"),
    ],
    sorts: &["created_at", "id"],
    scope: Scoped { profile: None, issuer: None },
    counter: None,
};

/// What a bearer token is held against: read in one statement for every request.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The key.
    pub key: ApiKeyId,
    /// SHA-256 of the secret, in lower hex.
    pub secret_hash: String,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// Whose it is.
    pub actor: ActorId,
    /// What kind of actor that is.
    pub kind: ActorKind,
    /// When the actor was disabled.
    pub disabled_at: Option<Timestamp>,
    /// Changes with every change of roles, actors and keys, so that a copy in memory is known to be stale.
    pub epoch: i64,
}

/// What an agent's bearer token is held against.
#[derive(Debug, Clone)]
pub struct AgentCredential {
    /// SHA-256 of the secret, in lower hex.
    pub secret_hash: String,
    /// When the agent was retired.
    pub retired_at: Option<Timestamp>,
}

/// What belongs to the key that begins with `prefix`.
///
/// # Errors
/// When the database fails.
pub async fn credential(db: &Db, prefix: &str) -> Result<Option<Credential>, StoreError> {
    let statement = sql("SELECT k.id AS id, k.secret_hash AS secret_hash, k.expires_at AS expires_at, k.revoked_at AS revoked_at,
                a.id AS actor, a.type AS kind, a.disabled_at AS disabled_at, (SELECT value FROM epochs WHERE name = 'authz') AS epoch
         FROM api_keys k JOIN actors a ON a.id = k.actor_id WHERE k.prefix = $1")
    .bind(prefix);
    let Some(row) = db.fetch_optional(statement).await? else {
        return Ok(None);
    };
    Ok(Some(Credential {
        key: row.id("id")?,
        secret_hash: row.text("secret_hash")?,
        expires_at: row.opt_time("expires_at")?,
        revoked_at: row.opt_time("revoked_at")?,
        actor: row.id("actor")?,
        kind: serde_json::from_value(row.text("kind")?.into()).map_err(|e| StoreError::corrupt(format!("the kind of an actor: {e}")))?,
        disabled_at: row.opt_time("disabled_at")?,
        epoch: row.int("epoch")?,
    }))
}

/// What belongs to the credential of an agent.
///
/// # Errors
/// When the database fails.
pub async fn agent_credential(db: &Db, agent: &AgentId) -> Result<Option<AgentCredential>, StoreError> {
    let row = db.fetch_optional(sql("SELECT secret_hash, retired_at FROM agents WHERE id = $1").bind(agent)).await?;
    row.map(|row| Ok(AgentCredential { secret_hash: row.text("secret_hash")?, retired_at: row.opt_time("retired_at")? })).transpose()
}

/// Counts a change of roles, actors or keys, and makes such changes wait for one another. First in a transaction, so that nobody who
/// asks "is there another administrator?" is answered by what somebody else is about to change.
///
/// # Errors
/// When the database fails.
pub async fn begin_change(tx: &mut Tx) -> Result<(), StoreError> {
    tx.execute(sql("UPDATE epochs SET value = value + 1 WHERE name = 'authz'")).await?;
    Ok(())
}

/// Reads one page.
///
/// # Errors
/// [`StoreError::Query`] when the query does not fit the table.
pub async fn list(db: &Db, query: &ListQuery, reach: &Reach) -> Result<Page<ApiKey>, StoreError> {
    table::list_rows(db, &TABLE, query, reach, table::from_row).await
}

/// Reads one.
///
/// # Errors
/// When the database fails.
pub async fn get(db: &Db, id: &ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
    let statement = sql(format!("SELECT {} FROM api_keys WHERE id = $1", table::column_names(&TABLE))).bind(id);
    db.fetch_optional(statement).await?.map(|row| table::from_row(&TABLE, &row)).transpose()
}

/// Reads one and keeps others from changing it until the commit.
///
/// # Errors
/// When the database fails.
pub async fn get_for_update(tx: &mut Tx, id: &ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
    let mut statement = sql(format!("SELECT {} FROM api_keys WHERE id = $1", table::column_names(&TABLE))).bind(id);
    statement.push(tx.for_update());
    tx.fetch_optional(statement).await?.map(|row| table::from_row(&TABLE, &row)).transpose()
}

/// Writes a new one.
///
/// # Errors
/// [`StoreError::Reference`] when its actor does not exist.
pub async fn insert(tx: &mut Tx, key: &ApiKey, secret_hash: &str) -> Result<(), StoreError> {
    let mut statement = sql("INSERT INTO api_keys (id, actor_id, name, prefix, secret_hash, created_at, created_by, expires_at) VALUES ");
    statement.push_rows([vec![
        (&key.id).into(),
        (&key.actor_id).into(),
        key.name.as_str().into(),
        key.prefix.as_str().into(),
        secret_hash.into(),
        key.created_at.into(),
        (&key.created_by).into(),
        key.expires_at.into(),
    ]]);
    tx.execute(statement).await?;
    Ok(())
}

/// Takes one back, once.
///
/// # Errors
/// When the database fails.
pub async fn revoke(tx: &mut Tx, id: &ApiKeyId, now: Timestamp) -> Result<(), StoreError> {
    tx.execute(sql("UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL").bind(id).bind(now)).await?;
    Ok(())
}

/// Notes by which key one is replaced, and when it ends.
///
/// # Errors
/// When the database fails.
pub async fn replace_by(tx: &mut Tx, id: &ApiKeyId, new: &ApiKeyId, ends: Timestamp) -> Result<(), StoreError> {
    tx.execute(sql("UPDATE api_keys SET rotated_to = $2, expires_at = $3 WHERE id = $1").bind(id).bind(new).bind(ends)).await?;
    Ok(())
}

/// Deletes all keys of an actor that is about to be deleted.
///
/// # Errors
/// When the database fails.
pub async fn delete_of(tx: &mut Tx, actor: &ActorId) -> Result<u64, StoreError> {
    tx.execute(sql("DELETE FROM api_keys WHERE actor_id = $1").bind(actor)).await
}
