//! Gives events their number and hash, after they were committed.

use certctl_domain::time::Timestamp;

use super::chain::{Fields, row_hash};
use crate::db::{Db, Tx, Value, sql};
use crate::error::StoreError;
use crate::store::{Store, Who};

/// Numbers and chains up to `limit` events that have no number yet, and says how many. Two sealers at the same time wait for one another.
///
/// # Errors
/// When the database fails; then nothing was sealed.
pub async fn seal_batch(store: &Store, now: Timestamp, limit: i64) -> Result<u64, StoreError> {
    let mut tx = store.write(Who::task("audit", now)).await?;
    let (mut sequence, mut hash) = lock_head(&mut tx).await?;
    let statement =
        sql("SELECT e.id, e.actor, e.actor_type, e.action, e.resource_type, e.resource_id, e.details, e.timestamp, e.event_category,
                    e.request_id
             FROM audit_unsealed u JOIN audit_events e ON e.id = u.event_id ORDER BY u.event_id LIMIT $1")
        .bind(limit.clamp(1, MOST));
    let events: Vec<Fields> = tx.fetch_all(statement).await?.iter().map(Fields::read).collect::<Result<_, _>>()?;
    if events.is_empty() {
        return Ok(0);
    }
    let mut seals = Vec::with_capacity(events.len());
    for event in &events {
        let before = hash;
        sequence += 1;
        hash = row_hash(&before, sequence, event);
        seals.push(vec![sequence.into(), event.id.as_str().into(), before.into(), hash.as_str().into(), now.into()]);
    }
    let mut insert = sql("INSERT INTO audit_seals (sequence, event_id, prev_hash, row_hash, sealed_at) VALUES ").varying();
    insert.push_rows(seals);
    tx.execute(insert).await?;
    let mut delete = sql("DELETE FROM audit_unsealed WHERE event_id IN ").varying();
    delete.push_list(events.iter().map(|event| Value::from(event.id.as_str())));
    tx.execute(delete).await?;
    tx.commit_housekeeping("audit.seal").await?;
    Ok(events.len() as u64)
}

/// How many events have no number yet.
///
/// # Errors
/// When the database fails.
pub async fn unsealed(db: &Db) -> Result<i64, StoreError> {
    db.fetch_optional(sql("SELECT count(*) AS n FROM audit_unsealed")).await?.map_or(Ok(0), |row| row.int("n"))
}

/// The last number and its hash. Nobody else seals, signs or prunes until the commit.
pub(super) async fn lock_head(tx: &mut Tx) -> Result<(i64, String), StoreError> {
    let statement = sql(format!("SELECT pruned_through, pruned_hash FROM audit_horizon WHERE one = 1{}", tx.for_update()));
    let horizon = tx.fetch_optional(statement).await?.ok_or_else(|| StoreError::corrupt("the audit horizon is missing"))?;
    let head = tx.fetch_optional(sql("SELECT sequence, row_hash FROM audit_seals ORDER BY sequence DESC LIMIT 1")).await?;
    let pruned_through = horizon.int("pruned_through")?;
    match head {
        Some(head) if head.int("sequence")? > pruned_through => Ok((head.int("sequence")?, head.text("row_hash")?)),
        _ => Ok((pruned_through, horizon.text("pruned_hash")?)),
    }
}

/// Rows in one statement: both databases limit the number of values.
const MOST: i64 = 5_000;
