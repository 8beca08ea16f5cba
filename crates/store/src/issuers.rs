//! Issuers, and the secrets of their configuration.

use certctl_domain::ids::{IssuerId, SecretId};
use certctl_domain::issuer::Issuer;
use certctl_domain::time::Timestamp;

use crate::db::{Db, sql};
use crate::error::StoreError;
use crate::store::WriteTx;
use crate::table::{Kind, Scoped, Stored, Table, equals};

impl Stored for Issuer {
    const TABLE: Table = Table {
        name: "issuers",
        columns: &[
            ("id", Kind::Text),
            ("name", Kind::Text),
            ("type", Kind::Text),
            ("config", Kind::Json),
            ("enabled", Kind::Bool),
            ("last_tested_at", Kind::Time),
            ("test_status", Kind::Text),
            ("revision", Kind::Int),
            ("created_at", Kind::Time),
            ("updated_at", Kind::Time),
        ],
        search: &["name", "type"],
        filters: &[
            equals("type", Kind::Text, "type = $?"),
            equals("enabled", Kind::Bool, "enabled = $?"),
            equals("name", Kind::Text, "name = $?"),
        ],
        sorts: &["created_at", "name", "type"],
        scope: Scoped { profile: None, issuer: Some("id") },
        counter: None,
    };
}

/// Where the secrets of an issuer's configuration are.
///
/// # Errors
/// When the database fails.
pub async fn secret_of(db: &Db, id: &IssuerId) -> Result<Option<SecretId>, StoreError> {
    db.fetch_optional(sql("SELECT secret_id FROM issuers WHERE id = $1").bind(id)).await?.map_or(Ok(None), |row| row.opt_id("secret_id"))
}

/// Notes how a test of the connection went.
///
/// # Errors
/// When the database fails.
pub async fn tested(tx: &mut WriteTx, id: &IssuerId, status: &str, at: Timestamp) -> Result<(), StoreError> {
    tx.execute(sql("UPDATE issuers SET test_status = $2, last_tested_at = $3 WHERE id = $1").bind(id).bind(status).bind(at)).await?;
    Ok(())
}

/// Notes that the CA of an issuer has another certificate: who has the issuer ready reads it anew.
///
/// # Errors
/// When the database fails.
pub async fn recertified(tx: &mut WriteTx, id: &IssuerId) -> Result<(), StoreError> {
    let statement = sql("UPDATE issuers SET revision = revision + 1, updated_at = $2 WHERE id = $1").bind(id).bind(tx.now());
    tx.execute(statement).await?;
    Ok(())
}

/// As [`secret_of`], inside a transaction.
///
/// # Errors
/// When the database fails.
pub async fn secret_in(tx: &mut WriteTx, id: &IssuerId) -> Result<Option<SecretId>, StoreError> {
    tx.fetch_optional(sql("SELECT secret_id FROM issuers WHERE id = $1").bind(id)).await?.map_or(Ok(None), |row| row.opt_id("secret_id"))
}
