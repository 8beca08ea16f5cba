//! Removes the oldest events. Only whole stretches up to a checkpoint go, and that checkpoint stays: its signature covers the hash from which
//! the rest of the chain goes on.

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::time::Timestamp;

use super::seal::lock_head;
use crate::db::{Db, Value, sql};
use crate::error::StoreError;
use crate::store::{Store, Who};

/// The number through which all events are older than `before` and signed; `None` when there is nothing to prune.
///
/// # Errors
/// When the database fails.
pub async fn prunable(db: &Db, before: Timestamp) -> Result<Option<i64>, StoreError> {
    // What a checkpoint covers was sealed before it was made, and committed before it was sealed.
    let statement = sql("SELECT max(sequence) AS n FROM audit_checkpoints
                         WHERE created_at < $1 AND sequence > (SELECT pruned_through FROM audit_horizon WHERE one = 1)");
    db.fetch_optional(statement.bind(before)).await?.map_or(Ok(None), |row| row.opt_int("n"))
}

/// Removes all events through `through`, the number of a checkpoint, and says how many. What a pruning before this one left behind goes too.
///
/// # Errors
/// [`StoreError::Query`] when there is no checkpoint of that number.
pub async fn prune(store: &Store, who: Who, through: i64) -> Result<u64, StoreError> {
    let at = who.at;
    move_horizon(store, who, through).await?;
    let mut removed = 0;
    loop {
        let n = remove_batch(store, at).await?;
        removed += n;
        if n < BATCH {
            return Ok(removed);
        }
    }
}

async fn move_horizon(store: &Store, who: Who, through: i64) -> Result<(), StoreError> {
    let mut tx = store.write(who).await?;
    // Also keeps sealers away.
    lock_head(&mut tx).await?;
    let checkpoint = tx.fetch_optional(sql("SELECT row_hash FROM audit_checkpoints WHERE sequence = $1").bind(through)).await?;
    let Some(checkpoint) = checkpoint else {
        return Err(StoreError::Query { field: "through".into(), message: format!("there is no checkpoint at {through}") });
    };
    let statement = sql("UPDATE audit_horizon SET pruned_through = $1, pruned_hash = $2 WHERE one = 1 AND pruned_through < $1")
        .bind(through)
        .bind(checkpoint.text("row_hash")?);
    if tx.execute(statement).await? > 0 {
        tx.commit(Audit::new(AuditCategory::Config, "audit.prune", "audit", through).with("through", through)).await?;
    }
    Ok(())
}

/// Removes events below the horizon; the triggers let no others go.
async fn remove_batch(store: &Store, at: Timestamp) -> Result<u64, StoreError> {
    let mut tx = store.write(Who::task("audit", at)).await?;
    let statement = format!(
        "SELECT sequence, event_id FROM audit_seals WHERE sequence <= (SELECT pruned_through FROM audit_horizon WHERE one = 1)
         ORDER BY sequence LIMIT {BATCH}"
    );
    let rows = tx.fetch_all(sql(statement)).await?;
    let Some(last) = rows.last() else {
        return Ok(0);
    };
    let last = last.int("sequence")?;
    // Events before their seals: the trigger finds an event's number in its seal.
    let mut events = sql("DELETE FROM audit_events WHERE id IN ").varying();
    events.push_list(rows.iter().map(|row| row.text("event_id").map(Value::from)).collect::<Result<Vec<_>, _>>()?);
    tx.execute(events).await?;
    tx.execute(sql("DELETE FROM audit_seals WHERE sequence <= $1").bind(last)).await?;
    tx.execute(
        sql("DELETE FROM audit_checkpoints WHERE sequence <= $1 AND sequence < (SELECT pruned_through FROM audit_horizon WHERE one = 1)")
            .bind(last),
    )
    .await?;
    tx.commit_housekeeping("audit.prune").await?;
    Ok(rows.len() as u64)
}

const BATCH: u64 = 1_000;
