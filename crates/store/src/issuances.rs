//! What is about to be issued: written before a signature is made or a CA is called, so that a crash never issues twice.

use certctl_domain::ids::{IssuerId, JobId};
use certctl_domain::x509::Serial;

use crate::db::sql;
use crate::error::StoreError;
use crate::store::WriteTx;

/// An issuance that was begun.
#[derive(Debug, Clone, PartialEq)]
pub struct Issuance {
    /// The job it belongs to.
    pub job_id: JobId,
    /// The CA.
    pub issuer_id: IssuerId,
    /// The serial number that the local CA chose.
    pub serial: Option<Serial>,
    /// The to-be-signed certificate of the local CA.
    pub tbs: Option<Vec<u8>>,
    /// Where the order stands at a remote CA.
    pub ticket: Option<serde_json::Value>,
}

/// The issuance of a job, if it was begun.
///
/// # Errors
/// When the database fails.
pub async fn get(tx: &mut WriteTx, job: &JobId) -> Result<Option<Issuance>, StoreError> {
    let Some(row) = tx.fetch_optional(sql("SELECT issuer_id, serial, tbs, ticket FROM issuances WHERE job_id = $1").bind(job)).await?
    else {
        return Ok(None);
    };
    let serial = row.opt_text("serial")?.map(|text| Serial::parse(&text)).transpose().map_err(|e| StoreError::corrupt(e.to_string()))?;
    Ok(Some(Issuance {
        job_id: job.clone(),
        issuer_id: row.id("issuer_id")?,
        serial,
        tbs: row.opt_bytes("tbs")?,
        ticket: row.opt_json("ticket")?,
    }))
}

/// Writes where an issuance stands.
///
/// # Errors
/// When the database fails.
pub async fn put(tx: &mut WriteTx, issuance: &Issuance) -> Result<(), StoreError> {
    let now = tx.now();
    let state = if issuance.ticket.is_some() { "ordered" } else { "prepared" };
    tx.execute(
        sql("INSERT INTO issuances (job_id, issuer_id, state, serial, tbs, ticket, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
             ON CONFLICT (job_id) DO UPDATE SET state = excluded.state, serial = excluded.serial, tbs = excluded.tbs, ticket = excluded.ticket, updated_at = excluded.updated_at")
        .bind(&issuance.job_id)
        .bind(&issuance.issuer_id)
        .bind(state)
        .bind(issuance.serial.as_ref().map(Serial::as_str))
        .bind(issuance.tbs.clone())
        .bind(issuance.ticket.clone())
        .bind(now),
    )
    .await?;
    Ok(())
}
