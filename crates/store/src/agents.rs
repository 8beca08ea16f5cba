//! Agents and their enrolment tokens.

use certctl_domain::agent::{Agent, AgentDependencies, AgentStatus, EnrollmentToken};
use certctl_domain::auth::Reach;
use certctl_domain::ids::{AgentId, EnrollmentTokenId};
use certctl_domain::list::{ListQuery, Page};
use certctl_domain::time::Timestamp;

use crate::db::{Db, Value, sql};
use crate::error::StoreError;
use crate::store::WriteTx;
use crate::table::{self, Kind, Scoped, Table, equals, one_of};

/// The table of agents.
pub const AGENTS: Table = Table {
    name: "agents",
    columns: &[
        ("id", Kind::Text),
        ("name", Kind::Text),
        ("hostname", Kind::Text),
        ("status", Kind::Text),
        ("last_heartbeat_at", Kind::Time),
        ("registered_at", Kind::Time),
        ("os", Kind::Text),
        ("architecture", Kind::Text),
        ("ip_address", Kind::Text),
        ("version", Kind::Text),
        ("labels", Kind::Json),
        ("clock_skew_ms", Kind::Int),
        ("challenges", Kind::Json),
        ("retired_at", Kind::Time),
        ("retired_reason", Kind::Text),
        ("revision", Kind::Int),
        ("updated_at", Kind::Time),
    ],
    search: &["name", "hostname", "ip_address", "lower(CAST(labels AS text)) LIKE $q ESCAPE '\\'"],
    filters: &[
        one_of!("status", AgentStatus, "status = $?"),
        equals("os", Kind::Text, "os = $?"),
        equals("architecture", Kind::Text, "architecture = $?"),
        equals("version", Kind::Text, "version = $?"),
        equals("name", Kind::Text, "name = $?"),
        equals("retired", Kind::Bool, "(retired_at IS NOT NULL) = $?"),
    ],
    sorts: &["registered_at", "name", "hostname", "status"],
    scope: Scoped { profile: None, issuer: None },
    counter: None,
};

/// The table of enrolment tokens.
pub const ENROLLMENT_TOKENS: Table = Table {
    name: "enrollment_tokens",
    columns: &[
        ("id", Kind::Text),
        ("agent_name", Kind::Text),
        ("labels", Kind::Json),
        ("expires_at", Kind::Time),
        ("used_at", Kind::Time),
        ("used_by", Kind::Text),
        ("created_by", Kind::Text),
        ("created_at", Kind::Time),
    ],
    search: &["agent_name"],
    filters: &[],
    sorts: &["created_at"],
    scope: Scoped { profile: None, issuer: None },
    counter: None,
};

/// Reads one.
///
/// # Errors
/// When the database fails.
pub async fn get(db: &Db, id: &AgentId) -> Result<Option<Agent>, StoreError> {
    let statement = sql(format!("SELECT {} FROM agents WHERE id = $1", table::column_names(&AGENTS))).bind(id);
    db.fetch_optional(statement).await?.map(|row| table::from_row(&AGENTS, &row)).transpose()
}

/// Reads one inside a transaction.
///
/// # Errors
/// When the database fails.
pub async fn get_in(tx: &mut WriteTx, id: &AgentId) -> Result<Option<Agent>, StoreError> {
    let statement = sql(format!("SELECT {} FROM agents WHERE id = $1", table::column_names(&AGENTS))).bind(id);
    tx.fetch_optional(statement).await?.map(|row| table::from_row(&AGENTS, &row)).transpose()
}

/// The id of the agent that is named so.
///
/// # Errors
/// When the database fails.
pub async fn resolve(db: &Db, id_or_name: &str) -> Result<Option<AgentId>, StoreError> {
    let statement =
        sql("SELECT id FROM agents WHERE id = $1 OR name = $1 ORDER BY CASE WHEN id = $1 THEN 0 ELSE 1 END LIMIT 1").bind(id_or_name);
    db.fetch_optional(statement).await?.map(|row| row.id("id")).transpose()
}

/// The agent, if it enrolled with this secret and is not retired.
///
/// # Errors
/// When the database fails.
pub async fn enrolled_with(tx: &mut WriteTx, id: &AgentId, secret_hash: &str) -> Result<Option<Agent>, StoreError> {
    let text = format!("SELECT {} FROM agents WHERE id = $1 AND secret_hash = $2 AND retired_at IS NULL", table::column_names(&AGENTS));
    tx.fetch_optional(sql(text).bind(id).bind(secret_hash)).await?.map(|row| table::from_row(&AGENTS, &row)).transpose()
}

/// One page.
///
/// # Errors
/// When the query is not one of this table, or the database fails.
pub async fn list(db: &Db, query: &ListQuery) -> Result<Page<Agent>, StoreError> {
    table::list_rows(db, &AGENTS, query, &Reach::everywhere(), table::from_row::<Agent>).await
}

/// Writes a new agent with the hash of its secret.
///
/// # Errors
/// [`StoreError::Duplicate`] when the name is taken.
pub async fn insert(tx: &mut WriteTx, agent: &Agent, secret_hash: &str) -> Result<(), StoreError> {
    let fields = table::fields_of(agent)?;
    let mut statement = sql(format!("INSERT INTO agents ({}, secret_hash) VALUES ", table::column_names(&AGENTS)));
    let mut values = table::values_of(&AGENTS, &fields)?;
    values.push(Value::from(secret_hash));
    statement.push_rows([values]);
    tx.execute(statement).await?;
    tx.count("agents", 1);
    tx.count(&status_counter(agent.status.as_str()), 1);
    Ok(())
}

/// Gives the identity of an enrolling agent to the one of that name that was registered ahead and has none; `None` when there is no such.
///
/// # Errors
/// When the database fails.
pub async fn adopt(tx: &mut WriteTx, agent: &Agent, secret_hash: &str) -> Result<Option<Agent>, StoreError> {
    let text = format!(
        "SELECT {} FROM agents WHERE name = $1 AND secret_hash = '' AND retired_at IS NULL{}",
        table::column_names(&AGENTS),
        tx.for_update()
    );
    let Some(row) = tx.fetch_optional(sql(text).bind(agent.name.as_str())).await? else {
        return Ok(None);
    };
    let registered: Agent = table::from_row(&AGENTS, &row)?;
    let adopted = Agent { id: registered.id, registered_at: registered.registered_at, revision: registered.revision + 1, ..agent.clone() };
    let mut statement = sql("UPDATE agents SET secret_hash = ");
    statement.push_bind(secret_hash);
    let fields = table::fields_of(&adopted)?;
    for ((name, _), value) in AGENTS.columns.iter().zip(table::values_of(&AGENTS, &fields)?) {
        statement.push(", ").push(name).push(" = ").push_bind(value);
    }
    statement.push(" WHERE id = ").push_bind(&adopted.id);
    tx.execute(statement).await?;
    tx.count(&status_counter(registered.status.as_str()), -1);
    tx.count(&status_counter(adopted.status.as_str()), 1);
    Ok(Some(adopted))
}

/// The counter of agents in a status.
#[must_use]
pub fn status_counter(status: &str) -> String {
    format!("agents.status.{status}")
}

/// Retires an agent: its credential ends at once; its hash stays, so that the agent is told why. `false` when it was retired before.
///
/// # Errors
/// When the database fails.
pub async fn retire(tx: &mut WriteTx, id: &AgentId, reason: &str) -> Result<bool, StoreError> {
    let now = tx.now();
    let statement = sql(format!("SELECT status FROM agents WHERE id = $1 AND retired_at IS NULL{}", tx.for_update())).bind(id);
    let Some(row) = tx.fetch_optional(statement).await? else {
        return Ok(false);
    };
    let status = row.text("status")?;
    tx.execute(
        // Its name is free again, for the machine that comes in its place.
        sql("UPDATE agents SET retired_at = $2, retired_reason = $3, name = name || '~' || id, status = 'Offline', revision = revision + 1, updated_at = $2 WHERE id = $1")
            .bind(id)
            .bind(now)
            .bind(reason),
    )
    .await?;
    tx.count("agents", -1);
    tx.count(&status_counter(&status), -1);
    Ok(true)
}

/// What depends on an agent.
///
/// # Errors
/// When the database fails.
pub async fn dependencies(db: &Db, id: &AgentId) -> Result<AgentDependencies, StoreError> {
    let statement = sql("SELECT (SELECT count(*) FROM targets WHERE agent_id = $1 AND enabled) AS targets,
                (SELECT count(DISTINCT c.certificate_id) FROM certificate_targets c JOIN targets t ON t.id = c.target_id WHERE t.agent_id = $1) AS certificates,
                (SELECT count(*) FROM jobs WHERE agent_id = $1 AND completed_at IS NULL) AS jobs")
    .bind(id);
    let Some(row) = db.fetch_optional(statement).await? else {
        return Ok(AgentDependencies::default());
    };
    Ok(AgentDependencies {
        active_targets: row.int("targets")?,
        active_certificates: row.int("certificates")?,
        pending_jobs: row.int("jobs")?,
    })
}

/// Agents that were not heard of since `before` but are not Offline yet; they become Offline. Gives their ids and names.
///
/// # Errors
/// When the database fails.
pub async fn mark_offline(tx: &mut WriteTx, before: Timestamp, limit: i64) -> Result<Vec<(AgentId, String)>, StoreError> {
    let statement = sql(format!(
        "SELECT id, name, status FROM agents WHERE status <> 'Offline' AND retired_at IS NULL AND last_heartbeat_at < $1 ORDER BY last_heartbeat_at LIMIT $2{}",
        tx.skip_locked()
    ))
    .bind(before)
    .bind(limit);
    let rows = tx.fetch_all(statement).await?;
    let mut lost = Vec::with_capacity(rows.len());
    for row in rows {
        let id: AgentId = row.id("id")?;
        tx.execute(sql("UPDATE agents SET status = 'Offline' WHERE id = $1").bind(&id)).await?;
        tx.count(&status_counter(&row.text("status")?), -1);
        tx.count(&status_counter("Offline"), 1);
        lost.push((id, row.text("name")?));
    }
    Ok(lost)
}

/// Writes a new token with the hash of its secret.
///
/// # Errors
/// When the database fails.
pub async fn insert_token(tx: &mut WriteTx, token: &EnrollmentToken, secret_hash: &str) -> Result<(), StoreError> {
    tx.execute(
        sql("INSERT INTO enrollment_tokens (id, secret_hash, agent_name, labels, expires_at, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(&token.id)
            .bind(secret_hash)
            .bind(token.agent_name.clone())
            .bind(serde_json::json!(token.labels))
            .bind(token.expires_at)
            .bind(&token.created_by)
            .bind(token.created_at),
    )
    .await?;
    Ok(())
}

/// Reads a token with the hash of its secret, and keeps others from using it until the commit.
///
/// # Errors
/// When the database fails.
pub async fn token_for_update(tx: &mut WriteTx, id: &EnrollmentTokenId) -> Result<Option<(EnrollmentToken, String)>, StoreError> {
    let statement = sql(format!(
        "SELECT {}, secret_hash FROM enrollment_tokens WHERE id = $1{}",
        table::column_names(&ENROLLMENT_TOKENS),
        tx.for_update()
    ))
    .bind(id);
    let row = tx.fetch_optional(statement).await?;
    row.map(|row| Ok((table::from_row(&ENROLLMENT_TOKENS, &row)?, row.text("secret_hash")?))).transpose()
}

/// Marks a token as used. `false` when it was used before.
///
/// # Errors
/// When the database fails.
pub async fn use_token(tx: &mut WriteTx, id: &EnrollmentTokenId, agent: &AgentId) -> Result<bool, StoreError> {
    let now = tx.now();
    let touched = tx
        .execute(
            sql("UPDATE enrollment_tokens SET used_at = $2, used_by = $3 WHERE id = $1 AND used_at IS NULL").bind(id).bind(now).bind(agent),
        )
        .await?;
    Ok(touched > 0)
}

/// One page of tokens.
///
/// # Errors
/// When the query is not one of this table, or the database fails.
pub async fn list_tokens(db: &Db, query: &ListQuery) -> Result<Page<EnrollmentToken>, StoreError> {
    table::list_rows(db, &ENROLLMENT_TOKENS, query, &Reach::everywhere(), table::from_row::<EnrollmentToken>).await
}

/// Deletes a token that was not used. `false` when there is none.
///
/// # Errors
/// When the database fails.
pub async fn delete_token(tx: &mut WriteTx, id: &EnrollmentTokenId) -> Result<bool, StoreError> {
    Ok(tx.execute(sql("DELETE FROM enrollment_tokens WHERE id = $1 AND used_at IS NULL").bind(id)).await? > 0)
}
