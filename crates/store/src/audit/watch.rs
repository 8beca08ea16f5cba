//! What is remembered of the last time that the chain was verified, so that the next time need not begin at the beginning.

use certctl_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::verify::{Break, Head};
use crate::db::Db;
use crate::error::StoreError;
use crate::meta;
use crate::store::{Store, Who};

/// How the chain was when it was last verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The last event that held; `None` while there is none.
    pub through: Option<Head>,
    /// When it was last verified up to its end, from wherever.
    pub verified_at: Timestamp,
    /// When it was last verified from one end to the other.
    pub whole_at: Timestamp,
    /// Where it does not hold.
    pub broken: Option<Break>,
}

/// What is remembered; `None` when it was never verified.
///
/// # Errors
/// When the database fails.
pub async fn watched(db: &Db) -> Result<Option<Watch>, StoreError> {
    let Some(text) = meta::get(db, NAME).await? else {
        return Ok(None);
    };
    serde_json::from_str(&text).map(Some).map_err(|_| StoreError::corrupt("what is remembered of the audit chain cannot be read"))
}

/// Remembers it.
///
/// # Errors
/// When the database fails.
pub async fn remember(store: &Store, now: Timestamp, watch: &Watch) -> Result<(), StoreError> {
    let text = serde_json::to_string(watch).map_err(|_| StoreError::corrupt("how the audit chain is cannot be written"))?;
    let mut tx = store.write(Who::task("audit", now)).await?;
    meta::set(&mut tx, NAME, &text).await?;
    tx.commit_housekeeping("audit.watch").await
}

const NAME: &str = "audit.verified";
