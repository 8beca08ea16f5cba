//! `Idempotency-Key`: the same request sent twice is done once, and answered twice with the same words.
//!
//! Answers may hold what is shown only once, such as a new API key; they are kept sealed.

use certctl_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::db::{Row, sql};
use crate::error::StoreError;
use crate::secrets::Sealed;
use crate::store::{Store, Who};

/// A request as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Who sent it: keys of different actors do not meet.
    pub actor: &'a str,
    /// The key it came with.
    pub key: &'a str,
    /// A hash over method, path and body.
    pub hash: &'a str,
}

/// What to do with a request.
#[derive(Debug)]
pub enum Begin {
    /// Do it, then [`finish`] or [`abandon`].
    Fresh(Ticket),
    /// It is being done right now.
    InProgress,
    /// It was done; answer this.
    Replay(Answer),
    /// The key was used for another request.
    Mismatch,
}

/// The right to answer a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    actor: String,
    key: String,
    begun_at: Timestamp,
}

/// An answer as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Those headers that belong to the answer.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Looks whether a request was seen before, and claims it when not.
///
/// # Errors
/// When the database fails.
pub async fn begin(store: &Store, request: Request<'_>, now: Timestamp) -> Result<Begin, StoreError> {
    let mut tx = store.write(Who::task("idempotency", now)).await?;
    let statement = sql("INSERT INTO idempotency_keys (actor, key, request_hash, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (actor, key) DO UPDATE SET request_hash = excluded.request_hash, created_at = excluded.created_at,
                 status = NULL, headers = NULL, body = NULL
             WHERE idempotency_keys.created_at <= $5 OR (idempotency_keys.status IS NULL AND idempotency_keys.created_at <= $6)")
    .bind(request.actor)
    .bind(request.key)
    .bind(request.hash)
    .bind(now)
    .bind(now.saturating_sub(KEPT))
    .bind(now.saturating_sub(GIVEN_UP));
    if tx.execute(statement).await? > 0 {
        tx.commit_housekeeping("idempotency.begin").await?;
        return Ok(Begin::Fresh(Ticket { actor: request.actor.to_owned(), key: request.key.to_owned(), begun_at: now }));
    }
    let statement = sql("SELECT request_hash, status, headers, body FROM idempotency_keys WHERE actor = $1 AND key = $2");
    let row = tx.fetch_optional(statement.bind(request.actor).bind(request.key)).await?;
    match row {
        // Given up between the two statements; the sender may ask again at once.
        None => Ok(Begin::InProgress),
        Some(row) if row.text("request_hash")? != request.hash => Ok(Begin::Mismatch),
        Some(row) if row.opt_int("status")?.is_none() => Ok(Begin::InProgress),
        Some(row) => Ok(Begin::Replay(answer(store, request, &row)?)),
    }
}

/// Keeps the answer. `false` when somebody else has claimed the request meanwhile, because it took too long.
///
/// # Errors
/// When the database fails.
pub async fn finish(store: &Store, ticket: &Ticket, answer: &Answer, now: Timestamp) -> Result<bool, StoreError> {
    let sealed = store.keyring().seal(&context(&ticket.actor, &ticket.key), &answer.body)?;
    let envelope = Envelope {
        headers: answer.headers.clone(),
        key_id: sealed.key_id,
        key: hex::encode(sealed.wrapped_key),
        nonce: hex::encode(sealed.nonce),
    };
    let envelope = serde_json::to_value(envelope).map_err(|_| StoreError::corrupt("an answer that is no JSON"))?;
    let statement = sql("UPDATE idempotency_keys SET status = $4, headers = $5, body = $6
                         WHERE actor = $1 AND key = $2 AND created_at = $3 AND status IS NULL")
    .bind(ticket.actor.as_str())
    .bind(ticket.key.as_str())
    .bind(ticket.begun_at)
    .bind(i64::from(answer.status))
    .bind(envelope)
    .bind(sealed.ciphertext);
    let mut tx = store.write(Who::task("idempotency", now)).await?;
    let touched = tx.execute(statement).await?;
    tx.commit_housekeeping("idempotency.finish").await?;
    Ok(touched > 0)
}

/// Forgets a request that came to nothing, so that it can be sent again.
///
/// # Errors
/// When the database fails.
pub async fn abandon(store: &Store, ticket: &Ticket, now: Timestamp) -> Result<(), StoreError> {
    let statement = sql("DELETE FROM idempotency_keys WHERE actor = $1 AND key = $2 AND created_at = $3 AND status IS NULL")
        .bind(ticket.actor.as_str())
        .bind(ticket.key.as_str())
        .bind(ticket.begun_at);
    let mut tx = store.write(Who::task("idempotency", now)).await?;
    tx.execute(statement).await?;
    tx.commit_housekeeping("idempotency.abandon").await
}

/// Wraps the data keys of up to `limit` kept answers behind `after` under the active key; gives how many were not under it, and where to
/// go on, `None` at the end. An answer whose key is not in the keyring is left: it goes within a day.
///
/// # Errors
/// When the database fails.
pub async fn rewrap_page(store: &Store, after: Option<(String, String)>, limit: i64, now: Timestamp) -> Result<Rewrapped, StoreError> {
    let damaged = || StoreError::corrupt("a kept answer cannot be read");
    let (actor, key) = after.unwrap_or_default();
    let mut tx = store.write(Who::task("idempotency", now)).await?;
    let statement = sql("SELECT actor, key, headers, body, created_at FROM idempotency_keys
                         WHERE status IS NOT NULL AND (actor > $1 OR (actor = $1 AND key > $2)) ORDER BY actor, key LIMIT $3");
    let rows = tx.fetch_all(statement.bind(actor).bind(key).bind(limit)).await?;
    let mut rewrapped = Rewrapped { n: 0, next: None };
    for row in &rows {
        let (actor, key) = (row.text("actor")?, row.text("key")?);
        let mut envelope: Envelope = serde_json::from_value(row.json("headers")?).map_err(|_| damaged())?;
        let keyring = store.keyring();
        if envelope.key_id != keyring.active_id() && keyring.has(&envelope.key_id) {
            let sealed = Sealed {
                key_id: std::mem::take(&mut envelope.key_id),
                wrapped_key: hex::decode(&envelope.key).map_err(|_| damaged())?,
                nonce: Vec::new(),
                ciphertext: Vec::new(),
            };
            envelope.key = hex::encode(keyring.rewrap(&context(&actor, &key), &sealed)?);
            keyring.active_id().clone_into(&mut envelope.key_id);
            let envelope = serde_json::to_value(envelope).map_err(|_| StoreError::corrupt("an answer that is no JSON"))?;
            let statement =
                sql("UPDATE idempotency_keys SET headers = $4 WHERE actor = $1 AND key = $2 AND created_at = $3 AND status IS NOT NULL")
                    .bind(actor.as_str())
                    .bind(key.as_str())
                    .bind(row.time("created_at")?)
                    .bind(envelope);
            rewrapped.n += tx.execute(statement).await?;
        }
        rewrapped.next = Some((actor, key));
    }
    if rows.is_empty() {
        rewrapped.next = None;
    }
    tx.commit_housekeeping("idempotency.rewrap").await?;
    Ok(rewrapped)
}

/// What became of a page of kept answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrapped {
    /// How many were under another key.
    pub n: u64,
    /// Where to go on; `None` at the end.
    pub next: Option<(String, String)>,
}

/// What stands beside the sealed body.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    headers: Vec<(String, String)>,
    key_id: String,
    key: String,
    nonce: String,
}

fn answer(store: &Store, request: Request<'_>, row: &Row) -> Result<Answer, StoreError> {
    let damaged = || StoreError::corrupt("a kept answer cannot be read");
    let envelope: Envelope = serde_json::from_value(row.json("headers")?).map_err(|_| damaged())?;
    let sealed = Sealed {
        key_id: envelope.key_id,
        wrapped_key: hex::decode(envelope.key).map_err(|_| damaged())?,
        nonce: hex::decode(envelope.nonce).map_err(|_| damaged())?,
        ciphertext: row.bytes("body")?,
    };
    let body = store.keyring().open(&context(request.actor, request.key), sealed)?;
    let status = u16::try_from(row.int("status")?).map_err(|_| damaged())?;
    Ok(Answer { status, headers: envelope.headers, body: body.expose().clone() })
}

fn context(actor: &str, key: &str) -> String {
    format!("idempotency/{}/{actor}/{key}", actor.len())
}

/// For how long an answer is kept.
pub const KEPT: time::Duration = time::Duration::hours(24);

/// A request that has no answer after this long has none any more: its process died. Longer than any request may take.
pub const GIVEN_UP: time::Duration = time::Duration::minutes(15);
