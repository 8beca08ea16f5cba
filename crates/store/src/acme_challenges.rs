//! HTTP and TLS challenges of ACME CAs, kept here so that whichever replica the CA asks knows the answer.

use certctl_domain::ids::IssuerId;
use certctl_domain::time::Timestamp;

use crate::db::{Db, sql};
use crate::error::StoreError;
use crate::store::WriteTx;

/// A challenge and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeChallenge {
    /// What the CA asks for.
    pub token: String,
    /// For which issuer.
    pub issuer_id: IssuerId,
    /// What it is answered.
    pub key_authorization: String,
    /// For a TLS challenge the name that the CA asks for in the handshake (RFC 8737 section 3), in lower case.
    pub server_name: Option<String>,
    /// From when on it is not answered any more.
    pub expires_at: Timestamp,
}

/// The answer to a token; what has expired is not answered.
///
/// # Errors
/// When the database fails.
pub async fn answer(db: &Db, token: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
    let statement = sql("SELECT key_authorization FROM acme_challenges WHERE token = $1 AND server_name IS NULL AND expires_at > $2")
        .bind(token)
        .bind(now);
    db.fetch_optional(statement).await?.map(|row| row.text("key_authorization")).transpose()
}

/// What a handshake for a name must show, the newest challenge first: of two orders for one name the CA looks at the newer.
///
/// # Errors
/// When the database fails.
pub async fn of_server_name(db: &Db, name: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
    let statement = sql("SELECT key_authorization FROM acme_challenges WHERE server_name = $1 AND expires_at > $2
             ORDER BY created_at DESC, token LIMIT 1")
    .bind(name)
    .bind(now);
    db.fetch_optional(statement).await?.map(|row| row.text("key_authorization")).transpose()
}

/// Writes a challenge, and forgets those that have expired.
///
/// # Errors
/// [`StoreError::Reference`] when the issuer is absent.
pub async fn put(tx: &mut WriteTx, challenge: &AcmeChallenge) -> Result<(), StoreError> {
    let now = tx.now();
    tx.execute(sql("DELETE FROM acme_challenges WHERE expires_at <= $1").bind(now)).await?;
    tx.execute(
        sql("INSERT INTO acme_challenges (token, issuer_id, key_authorization, server_name, expires_at, created_at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (token) DO UPDATE SET issuer_id = excluded.issuer_id, key_authorization = excluded.key_authorization,
                 server_name = excluded.server_name, expires_at = excluded.expires_at")
        .bind(challenge.token.as_str())
        .bind(&challenge.issuer_id)
        .bind(challenge.key_authorization.as_str())
        .bind(challenge.server_name.as_deref())
        .bind(challenge.expires_at)
        .bind(now),
    )
    .await?;
    Ok(())
}

/// Forgets a challenge of an issuer.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &mut WriteTx, issuer: &IssuerId, token: &str) -> Result<(), StoreError> {
    tx.execute(sql("DELETE FROM acme_challenges WHERE token = $1 AND issuer_id = $2").bind(token).bind(issuer)).await?;
    Ok(())
}
