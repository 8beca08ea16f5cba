//! What people are to be told: written in the transaction of the event it tells of.

use certctl_domain::ids::{CertificateId, NotificationId};
use certctl_domain::notification::NotificationKind;
use serde_json::{Map, Value as Json};

use crate::db::sql;
use crate::error::StoreError;
use crate::store::WriteTx;

/// Writes something to tell; the same dedup key is told once.
///
/// # Errors
/// When the database fails.
pub async fn put(
    tx: &mut WriteTx,
    kind: NotificationKind,
    certificate: Option<&CertificateId>,
    dedup_key: &str,
    message: &str,
    payload: Map<String, Json>,
) -> Result<(), StoreError> {
    let now = tx.now();
    let id: NotificationId = tx.store().new_id(now)?;
    tx.execute(
        sql("INSERT INTO outbox (id, type, certificate_id, message, payload, dedup_key, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (dedup_key) DO NOTHING")
        .bind(&id)
        .bind(kind.as_str())
        .bind(certificate)
        .bind(message)
        .bind(Json::Object(payload))
        .bind(dedup_key)
        .bind(now),
    )
    .await?;
    Ok(())
}
