//! Revocations as their publication reads them: what no list has yet, and the entries of a list page by page.

use std::collections::BTreeMap;

use certctl_domain::ids::IssuerId;
use certctl_domain::time::Timestamp;
use certctl_domain::x509::{RevocationReason, Serial};

use crate::db::{Db, Row, Value, sql};
use crate::error::StoreError;
use crate::store::WriteTx;

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The serial number.
    pub serial: Serial,
    /// Since when.
    pub revoked_at: Timestamp,
    /// Why.
    pub reason: RevocationReason,
}

/// Which entries a list has.
#[derive(Debug, Clone)]
pub struct Contents<'a> {
    /// Of which issuer.
    pub issuer_id: &'a IssuerId,
    /// The parts that the list is about.
    pub shards: &'a [i64],
    /// The number of the list: what was marked for a later one is not in it.
    pub number: i64,
    /// The edition before: its number, and as of when it was. What it had is left out when it had ended by then.
    pub before: Option<(i64, Timestamp)>,
}

/// The issuers with revocations that no list was made for yet, of these.
///
/// # Errors
/// When the database fails.
pub async fn waiting(db: &Db, issuers: impl IntoIterator<Item = &IssuerId>) -> Result<Vec<IssuerId>, StoreError> {
    let mut statement = sql("SELECT DISTINCT issuer_id FROM revocations WHERE listed_in IS NULL AND issuer_id IN ").varying();
    statement.push_list(issuers.into_iter().map(Value::from));
    db.fetch_all(statement).await?.iter().map(|row| row.id("issuer_id")).collect()
}

/// The serial numbers of an issuer that no list was made for up to `number`: what is new since that number was the last.
///
/// # Errors
/// When the database fails.
pub async fn newer(db: &Db, issuer: &IssuerId, number: i64) -> Result<Vec<Serial>, StoreError> {
    let statement = sql("SELECT serial_number FROM revocations WHERE issuer_id = $1 AND listed_in IS NULL
             UNION ALL SELECT serial_number FROM revocations WHERE issuer_id = $1 AND listed_in > $2")
    .bind(issuer)
    .bind(number);
    db.fetch_all(statement).await?.iter().map(serial).collect()
}

/// Revocations of an issuer that stand in no part yet, with the chain of the version, at most `limit`.
///
/// # Errors
/// When the database fails.
pub async fn unassigned(tx: &mut WriteTx, issuer: &IssuerId, limit: i64) -> Result<Vec<(Serial, String)>, StoreError> {
    let statement = sql("SELECT r.serial_number AS serial_number, COALESCE(v.pem_chain, '') AS pem_chain FROM revocations r
             LEFT JOIN certificate_versions v ON v.issuer_id = r.issuer_id AND v.serial_number = r.serial_number
             WHERE r.issuer_id = $1 AND r.shard IS NULL ORDER BY r.serial_number LIMIT $2")
    .bind(issuer)
    .bind(limit);
    tx.fetch_all(statement).await?.iter().map(|row| Ok((serial(row)?, row.text("pem_chain")?))).collect()
}

/// Puts revocations into a part.
///
/// # Errors
/// When the database fails.
pub async fn assign(tx: &mut WriteTx, issuer: &IssuerId, shard: i64, serials: &[Serial]) -> Result<(), StoreError> {
    for some in serials.chunks(MOST_VALUES) {
        let mut statement =
            sql("UPDATE revocations SET shard = $2 WHERE issuer_id = $1 AND serial_number IN ").bind(issuer).bind(shard).varying();
        statement.push_list(some.iter().map(|serial| Value::from(serial.as_str())));
        tx.execute(statement).await?;
    }
    Ok(())
}

/// Puts every revocation of an issuer that stands in no part into this one.
///
/// # Errors
/// When the database fails.
pub async fn assign_all(tx: &mut WriteTx, issuer: &IssuerId, shard: i64) -> Result<u64, StoreError> {
    tx.execute(sql("UPDATE revocations SET shard = $2 WHERE issuer_id = $1 AND shard IS NULL").bind(issuer).bind(shard)).await
}

/// Marks what stands in a part and in no list yet for the list of this number.
///
/// # Errors
/// When the database fails.
pub async fn mark(tx: &mut WriteTx, issuer: &IssuerId, number: i64) -> Result<u64, StoreError> {
    let statement = sql("UPDATE revocations SET listed_in = $2 WHERE issuer_id = $1 AND listed_in IS NULL AND shard IS NOT NULL");
    tx.execute(statement.bind(issuer).bind(number)).await
}

/// The highest number for which something was marked, by part.
///
/// # Errors
/// When the database fails.
pub async fn marked(db: &Db, issuer: &IssuerId) -> Result<BTreeMap<i64, i64>, StoreError> {
    let statement = sql("SELECT shard, max(listed_in) AS number FROM revocations
             WHERE issuer_id = $1 AND shard IS NOT NULL AND listed_in IS NOT NULL GROUP BY shard")
    .bind(issuer);
    db.fetch_all(statement).await?.iter().map(|row| Ok((row.int("shard")?, row.int("number")?))).collect()
}

/// The entries of a list behind a serial number, in order.
///
/// # Errors
/// When the database fails.
pub async fn page(db: &Db, contents: &Contents<'_>, after: Option<&Serial>, limit: i64) -> Result<Vec<Entry>, StoreError> {
    let mut statement = sql("SELECT serial_number, revoked_at, reason FROM revocations WHERE issuer_id = ").varying();
    statement.push_bind(contents.issuer_id).push(" AND shard IN ");
    statement.push_list(contents.shards.iter().map(|shard| Value::from(*shard)));
    statement.push(" AND listed_in <= ").push_bind(contents.number);
    if let Some((number, this_update)) = contents.before {
        // RFC 5280 section 3.3: an entry stays until it was on a list that was made after the certificate had ended.
        statement.push(" AND (not_after >= ").push_bind(this_update).push(" OR listed_in > ").push_bind(number).push(")");
    }
    if let Some(after) = after {
        statement.push(" AND serial_number > ").push_bind(after.as_str());
    }
    statement.push(" ORDER BY serial_number LIMIT ").push_bind(limit);
    db.fetch_all(statement).await?.iter().map(entry).collect()
}

/// How many versions an issuer gave out since an instant, counted up to `most`.
///
/// # Errors
/// When the database fails.
pub async fn issued_since(db: &Db, issuer: &IssuerId, since: Timestamp, most: i64) -> Result<i64, StoreError> {
    let statement = sql("SELECT count(*) AS n FROM
             (SELECT 1 AS one FROM certificate_versions WHERE created_at >= $2 AND issuer_id = $1 LIMIT $3) some_versions")
    .bind(issuer)
    .bind(since)
    .bind(most);
    Ok(db.fetch_optional(statement).await?.map(|row| row.int("n")).transpose()?.unwrap_or(0))
}

fn entry(row: &Row) -> Result<Entry, StoreError> {
    Ok(Entry { serial: serial(row)?, revoked_at: row.time("revoked_at")?, reason: reason(&row.text("reason")?)? })
}

fn serial(row: &Row) -> Result<Serial, StoreError> {
    Serial::parse(&row.text("serial_number")?).map_err(|e| StoreError::corrupt(e.to_string()))
}

pub(crate) fn reason(text: &str) -> Result<RevocationReason, StoreError> {
    text.parse().map_err(|_| StoreError::corrupt(format!("`{text}` is no reason of a revocation")))
}

/// Placeholders of one statement; SQLite allows some 32 000.
const MOST_VALUES: usize = 1_000;
