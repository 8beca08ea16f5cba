//! Accounts at ACME CAs: one for each issuer and directory, its key sealed among the secrets.

use certctl_domain::ids::{IssuerId, SecretId};

use crate::db::{Db, Row, Sql, sql};
use crate::error::StoreError;
use crate::store::WriteTx;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeAccount {
    /// Of which issuer.
    pub issuer_id: IssuerId,
    /// At which CA.
    pub directory_url: String,
    /// The secret with its key.
    pub secret_id: SecretId,
    /// The secret with the key that is to take its place.
    pub next_secret_id: Option<SecretId>,
    /// What the CA calls it; `None` until it is registered.
    pub account_url: Option<String>,
    /// The contact that the CA was last told.
    pub contact: String,
}

/// The account of an issuer at a CA.
///
/// # Errors
/// When the database fails.
pub async fn get(db: &Db, issuer: &IssuerId, directory: &str) -> Result<Option<AcmeAccount>, StoreError> {
    db.fetch_optional(select(issuer, directory, "")).await?.map(|row| read(&row)).transpose()
}

/// As [`get`], and nobody else changes it until the transaction ends.
///
/// # Errors
/// When the database fails.
pub async fn get_for_update(tx: &mut WriteTx, issuer: &IssuerId, directory: &str) -> Result<Option<AcmeAccount>, StoreError> {
    let statement = select(issuer, directory, tx.for_update());
    tx.fetch_optional(statement).await?.map(|row| read(&row)).transpose()
}

/// Writes a new account, unless there is one already: then `false`, and the caller drops the transaction. So several replicas that begin
/// together end with one.
///
/// # Errors
/// [`StoreError::Reference`] when the issuer or a secret is absent.
pub async fn insert(tx: &mut WriteTx, account: &AcmeAccount) -> Result<bool, StoreError> {
    let statement =
        sql("INSERT INTO acme_accounts (issuer_id, directory_url, secret_id, next_secret_id, account_url, contact, created_at, updated_at)
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (issuer_id, directory_url) DO NOTHING");
    let statement = bound(statement, account).bind(tx.now());
    Ok(tx.execute(statement).await? > 0)
}

/// Writes an account as it is now.
///
/// # Errors
/// When the database fails.
pub async fn update(tx: &mut WriteTx, account: &AcmeAccount) -> Result<(), StoreError> {
    let statement = sql("UPDATE acme_accounts SET secret_id = $3, next_secret_id = $4, account_url = $5, contact = $6, updated_at = $7
                         WHERE issuer_id = $1 AND directory_url = $2");
    let statement = bound(statement, account).bind(tx.now());
    tx.execute(statement).await?;
    Ok(())
}

fn select(issuer: &IssuerId, directory: &str, lock: &str) -> Sql {
    sql(format!(
        "SELECT issuer_id, directory_url, secret_id, next_secret_id, account_url, contact FROM acme_accounts
         WHERE issuer_id = $1 AND directory_url = $2{lock}"
    ))
    .bind(issuer)
    .bind(directory)
}

fn bound(statement: Sql, account: &AcmeAccount) -> Sql {
    statement
        .bind(&account.issuer_id)
        .bind(account.directory_url.as_str())
        .bind(&account.secret_id)
        .bind(account.next_secret_id.as_ref())
        .bind(account.account_url.as_deref())
        .bind(account.contact.as_str())
}

fn read(row: &Row) -> Result<AcmeAccount, StoreError> {
    Ok(AcmeAccount {
        issuer_id: row.id("issuer_id")?,
        directory_url: row.text("directory_url")?,
        secret_id: row.id("secret_id")?,
        next_secret_id: row.opt_id("next_secret_id")?,
        account_url: row.opt_text("account_url")?,
        contact: row.text("contact")?,
    })
}
