//! The audit log: who did what, when, to what. Rows are written by [`WriteTx::commit`](crate::WriteTx::commit) without waiting for one
//! another; a task numbers and chains them within a second ([`seal_batch`]), signs the head every so often ([`checkpoint`]), and anybody can
//! check all of it ([`verify`]).

mod chain;
mod checkpoint;
mod prune;
mod seal;
mod verify;
mod watch;

use certctl_domain::audit::{AuditCategory, AuditEvent};
use certctl_domain::auth::{ActorKind, Reach};
use certctl_domain::ids::AuditId;
use certctl_domain::list::{ListQuery, Page};
use certctl_domain::time::Timestamp;

use crate::db::{Db, sql};
use crate::error::StoreError;
use crate::table::{self, Kind, Scoped, Table, equals, one_of};

pub use chain::{Fields, row_hash};
pub use checkpoint::{Checkpoint, CheckpointKey, checkpoint, last_checkpoint};
pub use prune::{prunable, prune};
pub use seal::{seal_batch, unsealed};
pub use verify::{Break, Head, Verify, VerifyReport, verify, verify_since};
pub use watch::{Watch, remember, watched};

/// The events with their numbers.
pub const EVENTS: Table = Table {
    name: "audit_events LEFT JOIN audit_seals ON audit_seals.event_id = audit_events.id",
    columns: &[
        ("id", Kind::Text),
        ("actor", Kind::Text),
        ("actor_type", Kind::Text),
        ("action", Kind::Text),
        ("resource_type", Kind::Text),
        ("resource_id", Kind::Text),
        ("details", Kind::Json),
        ("timestamp", Kind::Time),
        ("event_category", Kind::Text),
        ("request_id", Kind::Text),
        ("sequence", Kind::Int),
        ("row_hash", Kind::Text),
    ],
    search: &["actor", "action", "resource_type", "resource_id", "request_id"],
    filters: &[
        equals("actor", Kind::Text, "actor = $?"),
        one_of!("actor_type", ActorKind, "actor_type = $?"),
        equals("action", Kind::Text, "action = $?"),
        equals("resource_type", Kind::Text, "resource_type = $?"),
        equals("resource_id", Kind::Text, "resource_id = $?"),
        equals("request_id", Kind::Text, "request_id = $?"),
        one_of!("category", AuditCategory, "event_category = $?"),
        equals("since", Kind::Time, "timestamp >= $?"),
        equals("until", Kind::Time, "timestamp < $?"),
    ],
    sorts: &["timestamp"],
    scope: Scoped { profile: None, issuer: None },
    counter: None,
};

/// One page, the newest first. `since` is included, `until` is not.
///
/// # Errors
/// [`StoreError::Query`] when the query is not one of this table.
pub async fn list(db: &Db, query: &ListQuery) -> Result<Page<AuditEvent>, StoreError> {
    table::list_rows(db, &EVENTS, query, &Reach::everywhere(), table::from_row::<AuditEvent>).await
}

/// Reads one.
///
/// # Errors
/// When the database fails.
pub async fn get(db: &Db, id: &AuditId) -> Result<Option<AuditEvent>, StoreError> {
    let statement = sql(format!("SELECT {} FROM {} WHERE audit_events.id = $1", table::column_names(&EVENTS), EVENTS.name)).bind(id);
    db.fetch_optional(statement).await?.map(|row| table::from_row(&EVENTS, &row)).transpose()
}

/// What is exported: everything from `from` up to but without `to`, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Export {
    /// The first instant.
    pub from: Timestamp,
    /// The first instant that is not exported.
    pub to: Timestamp,
    /// Only this group of actions.
    pub category: Option<AuditCategory>,
}

/// The next part of an export, after the last event of the part before; it is complete when a part is empty. A caller that writes each part
/// out before it asks for the next needs no more memory for a million events than for one part.
///
/// # Errors
/// When the database fails.
pub async fn export(db: &Db, export: &Export, after: Option<&AuditEvent>) -> Result<Vec<AuditEvent>, StoreError> {
    let mut statement = sql(format!("SELECT {} FROM {} WHERE timestamp < ", table::column_names(&EVENTS), EVENTS.name));
    statement.push_bind(export.to);
    match after {
        Some(last) => statement.push(" AND (timestamp, id) > (").push_bind(last.timestamp).push(", ").push_bind(&last.id).push(")"),
        None => statement.push(" AND timestamp >= ").push_bind(export.from),
    };
    if let Some(category) = export.category {
        statement.push(" AND event_category = ").push_bind(category.as_str());
    }
    statement.push(" ORDER BY timestamp, id LIMIT ").push_bind(EXPORT_PART);
    db.fetch_all(statement).await?.iter().map(|row| table::from_row(&EVENTS, row)).collect()
}

/// Events in a part of an export.
pub const EXPORT_PART: i64 = 1_000;
