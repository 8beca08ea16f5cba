//! What OCSP answers from: how a serial number of an issuer stands, and the responders that sign in the place of its CAs.

use certctl_domain::ids::{AuthorityId, IssuerId, SecretId};
use certctl_domain::time::Timestamp;
use certctl_domain::x509::{RevocationReason, Serial};

use crate::db::{Db, Row, Sql, sql};
use crate::error::StoreError;
use crate::revocations::reason;
use crate::secrets;
use crate::store::WriteTx;

/// A certificate that was really issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Since when it is revoked and why, if it is.
    pub revoked: Option<(Timestamp, RevocationReason)>,
    /// Its chain, leaf first.
    pub chain_pem: String,
}

/// A delegated responder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponderRow {
    /// The CA in whose place it answers.
    pub authority_id: AuthorityId,
    /// Its certificate.
    pub certificate_pem: String,
    /// The secret with its key.
    pub secret_id: SecretId,
    /// First second of its certificate.
    pub not_before: Timestamp,
    /// Last second of its certificate.
    pub not_after: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How a serial number of an issuer stands; `None` when no certificate of it was issued.
///
/// # Errors
/// When the database fails.
pub async fn known(db: &Db, issuer: &IssuerId, serial: &Serial) -> Result<Option<Known>, StoreError> {
    let statement = sql("SELECT v.pem_chain AS pem_chain, r.revoked_at AS revoked_at, r.reason AS reason FROM certificate_versions v
             LEFT JOIN revocations r ON r.issuer_id = v.issuer_id AND r.serial_number = v.serial_number
             WHERE v.issuer_id = $1 AND v.serial_number = $2")
    .bind(issuer)
    .bind(serial.as_str());
    let Some(row) = db.fetch_optional(statement).await? else {
        return Ok(None);
    };
    let revoked = match row.opt_time("revoked_at")? {
        Some(at) => Some((at, reason(&row.text("reason")?)?)),
        None => None,
    };
    Ok(Some(Known { revoked, chain_pem: row.text("pem_chain")? }))
}

/// The newest responder of a CA that is valid at `now`.
///
/// # Errors
/// When the database fails.
pub async fn responder(db: &Db, authority: &AuthorityId, now: Timestamp) -> Result<Option<ResponderRow>, StoreError> {
    db.fetch_optional(newest(authority, now)).await?.map(|row| read(&row)).transpose()
}

/// As [`responder`], and nobody else makes one for this CA until the transaction ends.
///
/// # Errors
/// When the database fails.
pub async fn responder_for_update(tx: &mut WriteTx, authority: &AuthorityId) -> Result<Option<ResponderRow>, StoreError> {
    let lock = sql(format!("SELECT id FROM authorities WHERE id = $1{}", tx.for_update())).bind(authority);
    tx.fetch_optional(lock).await?;
    let now = tx.now();
    tx.fetch_optional(newest(authority, now)).await?.map(|row| read(&row)).transpose()
}

/// Writes a responder.
///
/// # Errors
/// When the database fails.
pub async fn insert(tx: &mut WriteTx, responder: &ResponderRow) -> Result<(), StoreError> {
    let statement = sql("INSERT INTO ocsp_responders (authority_id, certificate_pem, secret_id, not_before, not_after, created_at)
             VALUES ($1, $2, $3, $4, $5, $6)")
    .bind(&responder.authority_id)
    .bind(responder.certificate_pem.as_str())
    .bind(&responder.secret_id)
    .bind(responder.not_before)
    .bind(responder.not_after)
    .bind(responder.created_at);
    tx.execute(statement).await?;
    Ok(())
}

/// Forgets responders whose certificates have ended, with their keys; says how many.
///
/// # Errors
/// When the database fails.
pub async fn forget_ended(tx: &mut WriteTx) -> Result<u64, StoreError> {
    let ended = sql("DELETE FROM ocsp_responders WHERE not_after < $1 RETURNING secret_id").bind(tx.now());
    let secrets = tx.fetch_all(ended).await?.iter().map(|row| row.id("secret_id")).collect::<Result<Vec<SecretId>, _>>()?;
    for secret in &secrets {
        secrets::delete(tx, secret).await?;
    }
    Ok(secrets.len() as u64)
}

fn newest(authority: &AuthorityId, now: Timestamp) -> Sql {
    sql("SELECT authority_id, certificate_pem, secret_id, not_before, not_after, created_at FROM ocsp_responders
         WHERE authority_id = $1 AND not_before <= $2 AND not_after > $2 ORDER BY created_at DESC, secret_id DESC LIMIT 1")
    .bind(authority)
    .bind(now)
}

fn read(row: &Row) -> Result<ResponderRow, StoreError> {
    Ok(ResponderRow {
        authority_id: row.id("authority_id")?,
        certificate_pem: row.text("certificate_pem")?,
        secret_id: row.id("secret_id")?,
        not_before: row.time("not_before")?,
        not_after: row.time("not_after")?,
        created_at: row.time("created_at")?,
    })
}
