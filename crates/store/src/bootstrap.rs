//! The token that makes the first administrator: offered once, consumed once.

use crate::db::{Db, Row, Sql, Tx, sql};
use crate::error::StoreError;
use crate::meta;

/// What is kept about it. Hashes, never the token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// SHA-256 of the token that may be used.
    pub offered: Option<String>,
    /// SHA-256 of the token that was used last.
    pub consumed: Option<String>,
}

/// What is offered.
///
/// # Errors
/// When the database fails.
pub async fn offer(db: &Db) -> Result<Offer, StoreError> {
    read(&db.fetch_all(both()).await?)
}

/// As [`offer`], inside a transaction.
///
/// # Errors
/// When the database fails.
pub async fn offer_in(tx: &mut Tx) -> Result<Offer, StoreError> {
    read(&tx.fetch_all(both()).await?)
}

/// Offers a token, instead of one offered before.
///
/// # Errors
/// When the database fails.
pub async fn set_offered(tx: &mut Tx, hash: &str) -> Result<(), StoreError> {
    meta::set(tx, OFFERED, hash).await
}

/// Ends the offer.
///
/// # Errors
/// When the database fails.
pub async fn consume(tx: &mut Tx, hash: &str) -> Result<(), StoreError> {
    meta::remove(tx, OFFERED).await?;
    meta::set(tx, CONSUMED, hash).await
}

fn both() -> Sql {
    sql("SELECT name, value FROM meta WHERE name IN ($1, $2)").bind(OFFERED).bind(CONSUMED)
}

fn read(rows: &[Row]) -> Result<Offer, StoreError> {
    let mut offer = Offer::default();
    for row in rows {
        let value = Some(row.text("value")?);
        if row.text("name")? == OFFERED {
            offer.offered = value;
        } else {
            offer.consumed = value;
        }
    }
    Ok(offer)
}

const OFFERED: &str = "bootstrap.offered";
const CONSUMED: &str = "bootstrap.consumed";
