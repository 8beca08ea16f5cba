//! When CAs are asked again when they suggest renewal (RFC 9773).

use certctl_domain::ids::VersionId;
use certctl_domain::renewal::Window;
use certctl_domain::time::Timestamp;

use crate::db::{Db, sql};
use crate::error::StoreError;
use crate::store::WriteTx;

/// Versions in use whose CA is to be asked at `now`, of issuers of one kind: those that were never asked about first, then those that
/// have waited longest.
///
/// # Errors
/// When the database fails.
pub async fn due(db: &Db, issuer_kind: &str, now: Timestamp, limit: i64) -> Result<Vec<VersionId>, StoreError> {
    let statement = sql("SELECT v.id AS id FROM issuers i
             JOIN certificate_versions v ON v.issuer_id = i.id
             LEFT JOIN acme_renewals r ON r.version_id = v.id
             WHERE i.type = $1 AND i.enabled = $4 AND v.state = 'current' AND v.revoked_at IS NULL AND v.not_after > $2
               AND (r.ask_at IS NULL OR r.ask_at <= $2)
             ORDER BY CASE WHEN r.ask_at IS NULL THEN 0 ELSE 1 END, r.ask_at, v.id LIMIT $3")
    .bind(issuer_kind)
    .bind(now)
    .bind(limit)
    .bind(true);
    db.fetch_all(statement).await?.iter().map(|row| row.id("id")).collect()
}

/// Notes when the CA is asked again about a version.
///
/// # Errors
/// [`StoreError::Reference`] when there is no such version.
pub async fn ask_at(tx: &mut WriteTx, version: &VersionId, at: Timestamp) -> Result<(), StoreError> {
    let statement = sql(
        "INSERT INTO acme_renewals (version_id, ask_at) VALUES ($1, $2) ON CONFLICT (version_id) DO UPDATE SET ask_at = excluded.ask_at",
    );
    tx.execute(statement.bind(version).bind(at)).await?;
    Ok(())
}

/// Writes what the CA suggests for a version.
///
/// # Errors
/// When the database fails.
pub async fn suggest(tx: &mut WriteTx, version: &VersionId, window: Option<Window>) -> Result<(), StoreError> {
    let window = window.map(|window| serde_json::json!({"start": window.start, "end": window.end}));
    tx.execute(sql("UPDATE certificate_versions SET ari = $2 WHERE id = $1").bind(version).bind(window)).await?;
    Ok(())
}
