//! What people are to be told: written in the transaction of the event it tells of.

use certctl_domain::ids::{CertificateId, NotificationId};
use certctl_domain::notification::NotificationKind;
use serde_json::{Map, Value as Json};

use crate::db::sql;
use crate::error::StoreError;
use crate::store::WriteTx;

/// Something to tell.
#[derive(Debug)]
pub struct Message<'a> {
    /// What happened.
    pub kind: NotificationKind,
    /// To which certificate.
    pub certificate: Option<&'a CertificateId>,
    /// The same key is told once.
    pub dedup_key: &'a str,
    /// In words.
    pub text: &'a str,
    /// For templates and webhooks.
    pub payload: Map<String, Json>,
}

/// Writes something to tell; the same dedup key is told once: `false` when it was told before.
///
/// # Errors
/// When the database fails.
pub async fn put(tx: &mut WriteTx, message: Message<'_>) -> Result<bool, StoreError> {
    let Message { kind, certificate, dedup_key, text, payload } = message;
    let now = tx.now();
    let id: NotificationId = tx.store().new_id(now)?;
    let put = tx
        .execute(
            sql(
                "INSERT INTO outbox (id, type, certificate_id, message, payload, dedup_key, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (dedup_key) DO NOTHING",
            )
            .bind(&id)
            .bind(kind.as_str())
            .bind(certificate)
            .bind(text)
            .bind(Json::Object(payload))
            .bind(dedup_key)
            .bind(now),
        )
        .await?;
    Ok(put > 0)
}
