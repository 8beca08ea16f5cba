//! Single values of the installation, such as its id.

use crate::db::{Db, Tx, sql};
use crate::error::StoreError;

/// Reads a value.
///
/// # Errors
/// When the database fails.
pub async fn get(db: &Db, name: &str) -> Result<Option<String>, StoreError> {
    db.fetch_optional(sql(SELECT).bind(name)).await?.map(|row| row.text("value")).transpose()
}

/// Writes a value over whatever there was.
///
/// # Errors
/// When the database fails.
pub async fn set(tx: &mut Tx, name: &str, value: &str) -> Result<(), StoreError> {
    let statement = sql("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value");
    tx.execute(statement.bind(name).bind(value)).await?;
    Ok(())
}

/// Writes a value unless there is one, and gives the one that holds: of several replicas that start together, one decides for all.
///
/// # Errors
/// When the database fails.
pub async fn set_if_absent(tx: &mut Tx, name: &str, value: &str) -> Result<String, StoreError> {
    let statement = sql("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING");
    tx.execute(statement.bind(name).bind(value)).await?;
    let row = tx.fetch_optional(sql(SELECT).bind(name)).await?;
    row.ok_or_else(|| StoreError::corrupt(format!("meta {name} was written and is not there")))?.text("value")
}

/// Deletes a value.
///
/// # Errors
/// When the database fails.
pub async fn remove(tx: &mut Tx, name: &str) -> Result<bool, StoreError> {
    Ok(tx.execute(sql("DELETE FROM meta WHERE name = $1").bind(name)).await? > 0)
}

const SELECT: &str = "SELECT value FROM meta WHERE name = $1";
