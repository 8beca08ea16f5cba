//! CA certificates whose keys this installation holds; at most one of a purpose is active.

use certctl_domain::ids::{AuthorityId, IssuerId, SecretId};
use certctl_domain::time::Timestamp;

use crate::db::{Db, Row, Sql, Tx, sql};
use crate::error::StoreError;
use crate::store::WriteTx;

/// A CA certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Identifier.
    pub id: AuthorityId,
    /// Of which issuer; `None` for what belongs to the platform.
    pub issuer_id: Option<IssuerId>,
    /// What it is for.
    pub purpose: Purpose,
    /// Its certificate, then those above it.
    pub chain_pem: String,
    /// The secret with its key in PEM.
    pub secret_id: SecretId,
    /// When its certificate ends.
    pub not_after: Timestamp,
    /// Since when it signs no more.
    pub retired_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What an authority is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// Signs an issuer's certificates.
    Issuing,
    /// Signed the issuing CA of an issuer.
    Root,
    /// Signs the certificate of the server itself.
    Platform,
    /// Signs the checkpoints of the audit chain.
    Seal,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Issuing, Self::Root, Self::Platform, Self::Seal];

    /// The word in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuing => "issuing",
            Self::Root => "root",
            Self::Platform => "platform",
            Self::Seal => "seal",
        }
    }
}

/// Writes a new, active authority, unless there is one of the same purpose and issuer already: then `false`, and the caller drops the
/// transaction and reads [`active`]. So several replicas that start together end with one.
///
/// # Errors
/// [`StoreError::Reference`] when the issuer or the secret is absent.
pub async fn insert(tx: &mut Tx, authority: &Authority) -> Result<bool, StoreError> {
    let statement = sql("INSERT INTO authorities (id, issuer_id, purpose, chain_pem, secret_id, not_after, retired_at, created_at)
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                         ON CONFLICT (purpose, COALESCE(issuer_id, '')) WHERE retired_at IS NULL DO NOTHING")
    .bind(&authority.id)
    .bind(authority.issuer_id.as_ref())
    .bind(authority.purpose.as_str())
    .bind(authority.chain_pem.as_str())
    .bind(&authority.secret_id)
    .bind(authority.not_after)
    .bind(authority.retired_at)
    .bind(authority.created_at);
    Ok(tx.execute(statement).await? > 0)
}

/// The active authority of a purpose.
///
/// # Errors
/// When the database fails.
pub async fn active(db: &Db, purpose: Purpose, issuer: Option<&IssuerId>) -> Result<Option<Authority>, StoreError> {
    db.fetch_optional(select_active(purpose, issuer)).await?.map(|row| read(&row)).transpose()
}

/// As [`active`], inside a transaction.
///
/// # Errors
/// When the database fails.
pub async fn active_in(tx: &mut Tx, purpose: Purpose, issuer: Option<&IssuerId>) -> Result<Option<Authority>, StoreError> {
    tx.fetch_optional(select_active(purpose, issuer)).await?.map(|row| read(&row)).transpose()
}

/// One authority, active or not.
///
/// # Errors
/// When the database fails.
pub async fn get(db: &Db, id: &AuthorityId) -> Result<Option<Authority>, StoreError> {
    let mut statement = sql(SELECT);
    statement.push(" WHERE id = ").push_bind(id);
    db.fetch_optional(statement).await?.map(|row| read(&row)).transpose()
}

/// All of them, the oldest first; there are few.
///
/// # Errors
/// When the database fails.
pub async fn list(db: &Db) -> Result<Vec<Authority>, StoreError> {
    db.fetch_all(select_all()).await?.iter().map(read).collect()
}

/// As [`list`], inside a transaction.
///
/// # Errors
/// When the database fails.
pub async fn list_in(tx: &mut Tx) -> Result<Vec<Authority>, StoreError> {
    tx.fetch_all(select_all()).await?.iter().map(read).collect()
}

/// Gives an authority a new certificate of the same key; `false` when it is not any more as it was read, and nothing may be committed.
///
/// # Errors
/// When the database fails.
pub async fn recertify(tx: &mut WriteTx, old: &Authority, chain_pem: &str, not_after: Timestamp) -> Result<bool, StoreError> {
    let statement = sql("UPDATE authorities SET chain_pem = $2, not_after = $3 WHERE id = $1 AND chain_pem = $4 AND retired_at IS NULL")
        .bind(&old.id)
        .bind(chain_pem)
        .bind(not_after)
        .bind(old.chain_pem.as_str());
    Ok(tx.execute(statement).await? > 0)
}

/// When each of them ends: what changes whenever one is made or renewed.
///
/// # Errors
/// When the database fails.
pub async fn ends(db: &Db) -> Result<Vec<(AuthorityId, Timestamp)>, StoreError> {
    let rows = db.fetch_all(sql("SELECT id, not_after FROM authorities ORDER BY id")).await?;
    rows.iter().map(|row| Ok((row.id("id")?, row.time("not_after")?))).collect()
}

/// Makes an authority sign no more; what it signed stays valid. `false` when it was retired before or is absent.
///
/// # Errors
/// When the database fails.
pub async fn retire(tx: &mut WriteTx, id: &AuthorityId) -> Result<bool, StoreError> {
    let statement = sql("UPDATE authorities SET retired_at = $2 WHERE id = $1 AND retired_at IS NULL").bind(id).bind(tx.now());
    Ok(tx.execute(statement).await? > 0)
}

fn select_all() -> Sql {
    let mut statement = sql(SELECT);
    statement.push(" ORDER BY created_at, id");
    statement
}

fn select_active(purpose: Purpose, issuer: Option<&IssuerId>) -> Sql {
    use certctl_domain::ids::Id as _;
    let mut statement = sql(SELECT);
    statement.push(" WHERE retired_at IS NULL AND purpose = ").push_bind(purpose.as_str());
    statement.push(" AND COALESCE(issuer_id, '') = ").push_bind(issuer.map_or("", |id| id.as_str()));
    statement
}

fn read(row: &Row) -> Result<Authority, StoreError> {
    let word = row.text("purpose")?;
    let purpose = Purpose::ALL.into_iter().find(|purpose| purpose.as_str() == word);
    Ok(Authority {
        id: row.id("id")?,
        issuer_id: row.opt_id("issuer_id")?,
        purpose: purpose.ok_or_else(|| StoreError::corrupt(format!("`{word}` is no purpose of an authority")))?,
        chain_pem: row.text("chain_pem")?,
        secret_id: row.id("secret_id")?,
        not_after: row.time("not_after")?,
        retired_at: row.opt_time("retired_at")?,
        created_at: row.time("created_at")?,
    })
}

const SELECT: &str = "SELECT id, issuer_id, purpose, chain_pem, secret_id, not_after, retired_at, created_at FROM authorities";
