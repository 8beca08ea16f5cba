//! Targets, and the secrets of their configuration.

use certctl_domain::ids::{AgentId, SecretId, TargetId};
use certctl_domain::target::Target;

use crate::db::{Db, sql};
use crate::error::StoreError;
use crate::store::WriteTx;
use crate::table::{Kind, Scoped, Stored, Table, equals};

impl Stored for Target {
    const TABLE: Table = Table {
        name: "targets",
        columns: &[
            ("id", Kind::Text),
            ("name", Kind::Text),
            ("type", Kind::Text),
            ("agent_id", Kind::Text),
            ("config", Kind::Json),
            ("enabled", Kind::Bool),
            ("revision", Kind::Int),
            ("created_at", Kind::Time),
            ("updated_at", Kind::Time),
        ],
        search: &["name", "type", "EXISTS (SELECT 1 FROM agents a WHERE a.id = targets.agent_id AND lower(a.name) LIKE $q ESCAPE '\\')"],
        filters: &[
            equals("type", Kind::Text, "type = $?"),
            equals("agent_id", Kind::Text, "agent_id = $?"),
            equals("enabled", Kind::Bool, "enabled = $?"),
            equals("name", Kind::Text, "name = $?"),
            equals(
                "certificate_id",
                Kind::Text,
                "EXISTS (SELECT 1 FROM certificate_targets c WHERE c.target_id = targets.id AND c.certificate_id = $?)",
            ),
        ],
        sorts: &["created_at", "name", "type"],
        scope: Scoped { profile: None, issuer: None },
        counter: Some("targets"),
    };
}

/// Where the secrets of a target's configuration are.
///
/// # Errors
/// When the database fails.
pub async fn secret_of(db: &Db, id: &TargetId) -> Result<Option<SecretId>, StoreError> {
    db.fetch_optional(sql("SELECT secret_id FROM targets WHERE id = $1").bind(id)).await?.map_or(Ok(None), |row| row.opt_id("secret_id"))
}

/// Disables all targets of an agent and says how many there were.
///
/// # Errors
/// When the database fails.
pub async fn disable_of_agent(tx: &mut WriteTx, id: &AgentId) -> Result<u64, StoreError> {
    let now = tx.now();
    tx.execute(
        sql("UPDATE targets SET enabled = $2, revision = revision + 1, updated_at = $3 WHERE agent_id = $1 AND enabled")
            .bind(id)
            .bind(false)
            .bind(now),
    )
    .await
}

/// As [`secret_of`], inside a transaction.
///
/// # Errors
/// When the database fails.
pub async fn secret_in(tx: &mut WriteTx, id: &TargetId) -> Result<Option<SecretId>, StoreError> {
    tx.fetch_optional(sql("SELECT secret_id FROM targets WHERE id = $1").bind(id)).await?.map_or(Ok(None), |row| row.opt_id("secret_id"))
}
