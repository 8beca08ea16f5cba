//! Revocation lists of the CAs that this installation keeps: which there are, how far their numbers went, and their bytes.

use certctl_domain::ids::{AuthorityId, IssuerId};
use certctl_domain::time::Timestamp;

use crate::db::{Db, Row, sql};
use crate::error::StoreError;
use crate::store::WriteTx;

/// A list, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Of which issuer.
    pub issuer_id: IssuerId,
    /// Its number among the lists of the issuer.
    pub shard: i64,
    /// The CA that signs it.
    pub authority_id: AuthorityId,
    /// The distribution point of the certificates that it is about; `None` when it is about all certificates of its CA.
    pub url: Option<String>,
    /// Since when certificates name it.
    pub opened_at: Timestamp,
    /// The edition that is published, if there is one yet.
    pub edition: Option<Edition>,
}

/// One published edition of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edition {
    /// The number inside.
    pub number: i64,
    /// As of when.
    pub this_update: Timestamp,
    /// By when there is a newer one.
    pub next_update: Timestamp,
    /// When it was made.
    pub generated_at: Timestamp,
    /// How long that took, in milliseconds.
    pub duration_ms: i64,
    /// How many certificates it names.
    pub revoked_count: i64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// How many bytes it has.
    pub bytes: i64,
}

/// An edition that is to be published.
#[derive(Debug)]
pub struct NewEdition<'a> {
    /// Of which issuer.
    pub issuer_id: &'a IssuerId,
    /// Of which list.
    pub shard: i64,
    /// What is known of it.
    pub edition: &'a Edition,
    /// Its bytes.
    pub der: Vec<u8>,
}

/// All lists in order; there are few.
///
/// # Errors
/// When the database fails.
pub async fn list(db: &Db) -> Result<Vec<List>, StoreError> {
    db.fetch_all(sql(format!("SELECT {COLUMNS} FROM crls ORDER BY issuer_id, shard"))).await?.iter().map(read).collect()
}

/// The lists of an issuer in order.
///
/// # Errors
/// When the database fails.
pub async fn of_issuer(db: &Db, issuer: &IssuerId) -> Result<Vec<List>, StoreError> {
    let statement = sql(format!("SELECT {COLUMNS} FROM crls WHERE issuer_id = $1 ORDER BY shard")).bind(issuer);
    db.fetch_all(statement).await?.iter().map(read).collect()
}

/// Opens a list; `false` when somebody else opened one of the same number.
///
/// # Errors
/// When the database fails.
pub async fn open(tx: &mut WriteTx, list: &List) -> Result<bool, StoreError> {
    let statement = sql("INSERT INTO crls (issuer_id, shard, authority_id, url, opened_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (issuer_id, shard) DO NOTHING")
    .bind(&list.issuer_id)
    .bind(list.shard)
    .bind(&list.authority_id)
    .bind(list.url.as_deref())
    .bind(list.opened_at);
    Ok(tx.execute(statement).await? > 0)
}

/// Takes a number that was never taken before and is at least `floor`. The floor comes from the clock, so that a database that was
/// restored from yesterday's backup does not take yesterday's numbers again.
///
/// # Errors
/// When the database fails.
pub async fn take_number(tx: &mut WriteTx, issuer: &IssuerId, floor: i64) -> Result<i64, StoreError> {
    let statement = sql("INSERT INTO crl_numbers (issuer_id, number) VALUES ($1, $2)
             ON CONFLICT (issuer_id) DO UPDATE SET number =
                 CASE WHEN crl_numbers.number >= excluded.number THEN crl_numbers.number + 1 ELSE excluded.number END
             RETURNING number")
    .bind(issuer)
    .bind(floor);
    let row = tx.fetch_optional(statement).await?;
    row.ok_or_else(|| StoreError::corrupt("a number was taken and none came"))?.int("number")
}

/// The last numbers that were taken, by issuer.
///
/// # Errors
/// When the database fails.
pub async fn numbers(db: &Db) -> Result<Vec<(IssuerId, i64)>, StoreError> {
    let rows = db.fetch_all(sql("SELECT issuer_id, number FROM crl_numbers")).await?;
    rows.iter().map(|row| Ok((row.id("issuer_id")?, row.int("number")?))).collect()
}

/// Puts an edition in the place of the one before; `false` when a newer one stands there already.
///
/// # Errors
/// When the database fails.
pub async fn publish(tx: &mut WriteTx, new: NewEdition<'_>) -> Result<bool, StoreError> {
    let edition = new.edition;
    let statement = sql("UPDATE crls SET number = $3, der = $4, der_bytes = $5, sha256 = $6, this_update = $7, next_update = $8,
                    generated_at = $9, duration_ms = $10, revoked_count = $11
             WHERE issuer_id = $1 AND shard = $2 AND COALESCE(number, -1) < $3")
    .bind(new.issuer_id)
    .bind(new.shard)
    .bind(edition.number)
    .bind(new.der)
    .bind(edition.bytes)
    .bind(edition.sha256.as_str())
    .bind(edition.this_update)
    .bind(edition.next_update)
    .bind(edition.generated_at)
    .bind(edition.duration_ms)
    .bind(edition.revoked_count);
    Ok(tx.execute(statement).await? > 0)
}

/// The bytes of a list with what is known of them; `None` when nothing is published yet.
///
/// # Errors
/// When the database fails.
pub async fn der(db: &Db, issuer: &IssuerId, shard: i64) -> Result<Option<(Edition, Vec<u8>)>, StoreError> {
    let statement =
        sql(format!("SELECT {COLUMNS}, der FROM crls WHERE issuer_id = $1 AND shard = $2 AND der IS NOT NULL")).bind(issuer).bind(shard);
    let Some(row) = db.fetch_optional(statement).await? else {
        return Ok(None);
    };
    edition(&row)?.map(|edition| Ok((edition, row.bytes("der")?))).transpose()
}

fn read(row: &Row) -> Result<List, StoreError> {
    Ok(List {
        issuer_id: row.id("issuer_id")?,
        shard: row.int("shard")?,
        authority_id: row.id("authority_id")?,
        url: row.opt_text("url")?,
        opened_at: row.time("opened_at")?,
        edition: edition(row)?,
    })
}

fn edition(row: &Row) -> Result<Option<Edition>, StoreError> {
    let Some(number) = row.opt_int("number")? else {
        return Ok(None);
    };
    Ok(Some(Edition {
        number,
        this_update: row.time("this_update")?,
        next_update: row.time("next_update")?,
        generated_at: row.time("generated_at")?,
        duration_ms: row.int("duration_ms")?,
        revoked_count: row.int("revoked_count")?,
        sha256: row.text("sha256")?,
        bytes: row.int("der_bytes")?,
    }))
}

const COLUMNS: &str = "issuer_id, shard, authority_id, url, opened_at, number, der_bytes, sha256, this_update, next_update, generated_at, duration_ms, revoked_count";
