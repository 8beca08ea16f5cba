//! Walks the chain from one end to the other and finds the first place where it does not hold.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::chain::{Fields, Merkle, row_hash};
use super::checkpoint::{Checkpoint, SELECT as SELECT_CHECKPOINT};
use crate::db::{Db, Row, sql};
use crate::error::StoreError;

/// What to verify.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verify<'a> {
    /// From this number on; begins at the checkpoint before it. `None` begins at the oldest event.
    pub from: Option<i64>,
    /// Public keys whose checkpoints are believed; when empty, any key is, and the report names it.
    pub trusted_keys: &'a [Vec<u8>],
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Events that were checked.
    pub checked: i64,
    /// The last event that holds.
    pub head: Option<Head>,
    /// The first place where it does not.
    pub first_break: Option<Break>,
    /// Events that have no number yet.
    pub unsealed: i64,
    /// Checkpoints that were checked.
    pub checkpoints: i64,
    /// The public keys that signed them, in lower hex.
    pub keys: BTreeSet<String>,
}

/// A number and the hash that stands there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number.
    pub sequence: i64,
    /// The hash.
    pub row_hash: String,
}

/// A place where the chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// The number there.
    pub sequence: i64,
    /// In words.
    pub what: String,
}

impl VerifyReport {
    /// Whether everything holds.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.first_break.is_none()
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {}: {}", self.sequence, self.what)
    }
}

/// Verifies the chain. It reads a thousand events at a time and tells `progress` how many it has checked.
///
/// # Errors
/// When the database fails. That the chain does not hold is not an error but what the report says.
pub async fn verify(db: &Db, options: &Verify<'_>, mut progress: impl FnMut(i64)) -> Result<VerifyReport, StoreError> {
    loop {
        let before = horizon(db).await?;
        let report = walk(db, options, before.clone(), &mut progress).await?;
        // Events that were pruned while we walked are missing for a good reason: begin again after them.
        if report.holds() || horizon(db).await? == before {
            return Ok(report);
        }
    }
}

/// Verifies what came after `known`, an event that held before, from the last checkpoint before it on: what it costs depends on what is
/// new. It sees that the end was cut off or written anew, but no change far behind `known`, and no event beside the chain.
///
/// # Errors
/// As [`verify`].
pub async fn verify_since(db: &Db, known: &Head, trusted_keys: &[Vec<u8>]) -> Result<VerifyReport, StoreError> {
    let options = Verify { from: Some(known.sequence.saturating_add(1)), trusted_keys };
    loop {
        let before = horizon(db).await?;
        let mut report = VerifyReport::default();
        let followed = follow(db, &options, before.clone(), &mut |_| (), &mut report).await?;
        let pruned = before.as_ref().is_some_and(|horizon| horizon.sequence >= known.sequence);
        let found = match followed {
            Ok(()) if !pruned => is_still_there(db, known).await?,
            followed => followed,
        };
        report.first_break = found.err();
        if report.holds() || horizon(db).await? == before {
            return Ok(report);
        }
    }
}

/// Whether an event that held before stands where it stood.
async fn is_still_there(db: &Db, known: &Head) -> Result<Result<(), Break>, StoreError> {
    let row = db.fetch_optional(sql("SELECT row_hash FROM audit_seals WHERE sequence = $1").bind(known.sequence)).await?;
    Ok(match row.map(|row| row.text("row_hash")).transpose()? {
        Some(hash) if hash == known.row_hash => Ok(()),
        Some(_) => broken(known.sequence, "is another one than when it was last verified"),
        None => broken(known.sequence, "is missing, and was there when it was last verified"),
    })
}

/// The end of what was pruned, as long as that is believable.
async fn horizon(db: &Db) -> Result<Option<Head>, StoreError> {
    let row = db.fetch_optional(sql("SELECT pruned_through, pruned_hash FROM audit_horizon WHERE one = 1")).await?;
    row.map(|row| Ok(Head { sequence: row.int("pruned_through")?, row_hash: row.text("pruned_hash")? })).transpose()
}

async fn walk(db: &Db, options: &Verify<'_>, horizon: Option<Head>, progress: &mut impl FnMut(i64)) -> Result<VerifyReport, StoreError> {
    let mut report = VerifyReport::default();
    let found = follow(db, options, horizon, progress, &mut report).await?;
    report.first_break = found.err();
    let counts = sql(
        "SELECT (SELECT count(*) FROM audit_unsealed) AS unsealed,
                (SELECT count(*) FROM audit_events) - (SELECT count(*) FROM audit_seals) - (SELECT count(*) FROM audit_unsealed) AS strays",
    );
    if let Some(row) = db.fetch_optional(counts).await? {
        report.unsealed = row.int("unsealed")?;
        if report.holds() && row.int("strays")? != 0 {
            report.first_break = stray(db, &report).await?;
        }
    }
    Ok(report)
}

/// An event that stands beside the chain: it has no number and does not wait for one, or it waits and is not there.
async fn stray(db: &Db, report: &VerifyReport) -> Result<Option<Break>, StoreError> {
    let statement = sql("SELECT id, CAST(1 AS bigint) AS present FROM audit_events
             WHERE NOT EXISTS (SELECT 1 FROM audit_seals s WHERE s.event_id = audit_events.id)
               AND NOT EXISTS (SELECT 1 FROM audit_unsealed u WHERE u.event_id = audit_events.id)
             UNION ALL SELECT event_id AS id, CAST(0 AS bigint) AS present FROM audit_unsealed
             WHERE NOT EXISTS (SELECT 1 FROM audit_events e WHERE e.id = audit_unsealed.event_id)
             LIMIT 1");
    let Some(row) = db.fetch_optional(statement).await? else {
        return Ok(None);
    };
    let sequence = report.head.as_ref().map_or(0, |head| head.sequence) + 1;
    let what = if row.int("present")? == 1 { "was put beside the chain" } else { "was taken away before it had a number" };
    Ok(Some(Break { sequence, what: format!("{} {what}", row.text("id")?) }))
}

/// Follows the chain from where it is to begin; an inner error is where it does not hold.
async fn follow(
    db: &Db,
    options: &Verify<'_>,
    horizon: Option<Head>,
    progress: &mut impl FnMut(i64),
    report: &mut VerifyReport,
) -> Result<Result<(), Break>, StoreError> {
    let Some(horizon) = horizon else {
        return Ok(broken(0, "the record of what was pruned is missing"));
    };
    // Read before the walk: what is signed later may be beyond the end of the walk.
    let signed_through = max_checkpoint(db).await?;
    let mut at = match start(db, options, horizon, report).await? {
        Ok(at) => at,
        Err(found) => return Ok(Err(found)),
    };
    let mut signed = Signed { after: at.sequence, tree: Merkle::default(), next: next_checkpoint(db, at.sequence).await? };
    loop {
        let rows = db.fetch_all(sql(PAGE).bind(at.sequence)).await?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            at = match check_row(&at, row) {
                Ok(next) => next,
                Err(found) => return Ok(Err(found)),
            };
            signed.tree.add(&at.row_hash);
            if let Some(checkpoint) = signed.next.take_if(|next| next.sequence <= at.sequence) {
                if let Err(found) = signed.check(&checkpoint, &at, options) {
                    return Ok(Err(found));
                }
                report.checkpoints += 1;
                report.keys.insert(hex::encode(&checkpoint.public_key));
                signed.next = next_checkpoint(db, at.sequence).await?;
            }
            report.checked += 1;
            report.head = Some(at.clone());
        }
        progress(report.checked);
    }
    if signed_through > at.sequence {
        return Ok(broken(at.sequence + 1, format!("is missing, and a checkpoint says that there were {signed_through}")));
    }
    Ok(Ok(()))
}

/// Where to begin: at a checkpoint before `from`, at the end of what was pruned, or at the very beginning.
async fn start(db: &Db, options: &Verify<'_>, horizon: Head, report: &mut VerifyReport) -> Result<Result<Head, Break>, StoreError> {
    let wanted = options.from.unwrap_or(0).max(horizon.sequence + 1);
    let mut statement = sql(SELECT_CHECKPOINT);
    statement.push(" WHERE sequence >= ").push_bind(horizon.sequence);
    statement.push(" AND sequence < ").push_bind(wanted);
    statement.push(" ORDER BY sequence DESC LIMIT 1");
    let Some(row) = db.fetch_optional(statement).await? else {
        if horizon.sequence > 0 {
            return Ok(broken(horizon.sequence, "events through it were removed without a checkpoint"));
        }
        return Ok(if horizon.row_hash.is_empty() { Ok(horizon) } else { broken(0, "the record of what was pruned was changed") });
    };
    let anchor = Checkpoint::read(&row)?;
    if anchor.sequence == horizon.sequence && anchor.row_hash != horizon.row_hash {
        return Ok(broken(anchor.sequence, "the record of what was pruned was changed"));
    }
    if let Err(found) = check_signature(&anchor, options) {
        return Ok(Err(found));
    }
    report.keys.insert(hex::encode(&anchor.public_key));
    Ok(Ok(Head { sequence: anchor.sequence, row_hash: anchor.row_hash }))
}

/// What the next checkpoint has to agree with.
struct Signed {
    after: i64,
    tree: Merkle,
    next: Option<Checkpoint>,
}

impl Signed {
    fn check(&mut self, checkpoint: &Checkpoint, at: &Head, options: &Verify<'_>) -> Result<(), Break> {
        check_signature(checkpoint, options)?;
        let root = std::mem::take(&mut self.tree).root();
        if checkpoint.sequence != at.sequence || checkpoint.row_hash != at.row_hash {
            return broken(at.sequence, "is not what its checkpoint says");
        }
        if checkpoint.after_sequence != self.after || checkpoint.merkle_root != root {
            return broken(at.sequence, "its checkpoint does not fit the events before it");
        }
        self.after = at.sequence;
        Ok(())
    }
}

fn check_signature(checkpoint: &Checkpoint, options: &Verify<'_>) -> Result<(), Break> {
    if !options.trusted_keys.is_empty() && !options.trusted_keys.contains(&checkpoint.public_key) {
        return broken(checkpoint.sequence, "its checkpoint was signed with a key that is not trusted");
    }
    if !checkpoint.is_signed() {
        return broken(checkpoint.sequence, "the signature of its checkpoint is wrong");
    }
    Ok(())
}

/// Checks the row that follows `at`.
fn check_row(at: &Head, row: &Row) -> Result<Head, Break> {
    let expected = at.sequence + 1;
    let unreadable = |_| Break { sequence: expected, what: "cannot be read".to_owned() };
    let sequence = row.int("sequence").map_err(unreadable)?;
    if sequence != expected {
        return broken(expected, "is missing");
    }
    if row.text("prev_hash").map_err(unreadable)? != at.row_hash {
        return broken(sequence, "does not follow the event before it");
    }
    if row.opt_text("id").map_err(unreadable)?.is_none() {
        return broken(sequence, "was taken away");
    }
    let computed = row_hash(&at.row_hash, sequence, &Fields::read(row).map_err(unreadable)?);
    if row.text("row_hash").map_err(unreadable)? != computed {
        return broken(sequence, "was changed after it was sealed");
    }
    Ok(Head { sequence, row_hash: computed })
}

async fn max_checkpoint(db: &Db) -> Result<i64, StoreError> {
    let row = db.fetch_optional(sql("SELECT COALESCE(max(sequence), 0) AS n FROM audit_checkpoints")).await?;
    row.map_or(Ok(0), |row| row.int("n"))
}

async fn next_checkpoint(db: &Db, after: i64) -> Result<Option<Checkpoint>, StoreError> {
    let mut statement = sql(SELECT_CHECKPOINT);
    statement.push(" WHERE sequence > ").push_bind(after).push(" ORDER BY sequence LIMIT 1");
    db.fetch_optional(statement).await?.map(|row| Checkpoint::read(&row)).transpose()
}

fn broken<T>(sequence: i64, what: impl Into<String>) -> Result<T, Break> {
    Err(Break { sequence, what: what.into() })
}

const PAGE: &str =
    "SELECT s.sequence, s.prev_hash, s.row_hash, e.id, e.actor, e.actor_type, e.action, e.resource_type, e.resource_id, e.details,
        e.timestamp, e.event_category, e.request_id
    FROM audit_seals s LEFT JOIN audit_events e ON e.id = s.event_id WHERE s.sequence > $1 ORDER BY s.sequence LIMIT 1000";
