//! Secrets at rest: each value under a data key of its own, the data key wrapped by a key that the database never sees.

mod keyring;

use std::collections::BTreeMap;

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::ids::{Id as _, SecretId};
use certctl_domain::secret::Secret;

use crate::db::{Db, Row, Value, sql};
use crate::error::StoreError;
use crate::store::{Store, Who, WriteTx};

pub use keyring::{Keyring, Sealed};

/// Seals a value and keeps it. `purpose` says what it is for; a value cannot be opened under another one.
///
/// # Errors
/// When the database fails or the system gives no randomness.
pub async fn seal(tx: &mut WriteTx, purpose: &str, value: &[u8]) -> Result<SecretId, StoreError> {
    let id: SecretId = tx.store().new_id(tx.now())?;
    let sealed = tx.store().keyring().seal(&context(&id, purpose), value)?;
    let statement =
        sql("INSERT INTO secrets (id, purpose, key_id, wrapped_key, nonce, ciphertext, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(&id)
            .bind(purpose)
            .bind(sealed.key_id)
            .bind(sealed.wrapped_key)
            .bind(sealed.nonce)
            .bind(sealed.ciphertext)
            .bind(tx.now());
    tx.execute(statement).await?;
    Ok(id)
}

/// Opens a value.
///
/// # Errors
/// [`StoreError::Secret`] when there is none, when it was changed, or when its key is not in the keyring.
pub async fn open(store: &Store, id: &SecretId) -> Result<Secret<Vec<u8>>, StoreError> {
    let row = store.db().fetch_optional(sql(SELECT).bind(id)).await?;
    open_row(store, id, row)
}

/// As [`open`], inside a transaction.
///
/// # Errors
/// As [`open`].
pub async fn open_in(tx: &mut WriteTx, id: &SecretId) -> Result<Secret<Vec<u8>>, StoreError> {
    let row = tx.fetch_optional(sql(SELECT).bind(id)).await?;
    open_row(tx.store(), id, row)
}

/// Puts another value in its place, under the active key and a new data key.
///
/// # Errors
/// [`StoreError::Secret`] when there is none; otherwise as [`seal`].
pub async fn replace(tx: &mut WriteTx, id: &SecretId, value: &[u8]) -> Result<(), StoreError> {
    let statement = sql(format!("SELECT purpose FROM secrets WHERE id = $1{}", tx.for_update())).bind(id);
    let purpose = tx.fetch_optional(statement).await?.ok_or_else(|| absent(id))?.text("purpose")?;
    let sealed = tx.store().keyring().seal(&context(id, &purpose), value)?;
    let statement = sql("UPDATE secrets SET key_id = $2, wrapped_key = $3, nonce = $4, ciphertext = $5 WHERE id = $1")
        .bind(id)
        .bind(sealed.key_id)
        .bind(sealed.wrapped_key)
        .bind(sealed.nonce)
        .bind(sealed.ciphertext);
    tx.execute(statement).await?;
    Ok(())
}

/// Deletes a value. `false` when there was none.
///
/// # Errors
/// [`StoreError::Reference`] when something still refers to it.
pub async fn delete(tx: &mut WriteTx, id: &SecretId) -> Result<bool, StoreError> {
    Ok(tx.execute(sql("DELETE FROM secrets WHERE id = $1").bind(id)).await? > 0)
}

/// Wraps the data keys of up to `limit` values under the active key and says how many; 0 when all are. The values are not touched, so it
/// can stop at any point and go on later.
///
/// # Errors
/// [`StoreError::Secret`] when values are left whose key is not in the keyring.
pub async fn rewrap_batch(store: &Store, who: Who, limit: i64) -> Result<u64, StoreError> {
    let keyring = store.keyring();
    let mut tx = store.write(who).await?;
    let mut statement = sql("SELECT id, purpose, key_id, wrapped_key, nonce, ciphertext FROM secrets WHERE key_id IN ");
    statement.push_list(keyring.older_ids().map(Value::from)).push(" ORDER BY id LIMIT ").push_bind(limit).push(tx.skip_locked());
    let rows = tx.fetch_all(statement).await?;
    if rows.is_empty() {
        return refuse_unknown_keys(store.db(), keyring).await;
    }
    for row in &rows {
        let id: SecretId = row.id("id")?;
        let wrapped = keyring.rewrap(&context(&id, &row.text("purpose")?), &sealed(row)?).map_err(|why| named(&id, &why))?;
        let statement =
            sql("UPDATE secrets SET key_id = $2, wrapped_key = $3 WHERE id = $1").bind(&id).bind(keyring.active_id()).bind(wrapped);
        tx.execute(statement).await?;
    }
    let n = rows.len() as u64;
    tx.commit(Audit::new(AuditCategory::Config, "secret.rewrap", "encryption_key", keyring.active_id()).with("secrets", n)).await?;
    Ok(n)
}

/// How many values each key wraps, by key id: a key that wraps none can be thrown away.
///
/// # Errors
/// When the database fails.
pub async fn count_by_key(db: &Db) -> Result<BTreeMap<String, i64>, StoreError> {
    let rows = db.fetch_all(sql(COUNT_BY_KEY)).await?;
    rows.iter().map(|row| Ok((row.text("key_id")?, row.int("n")?))).collect()
}

/// Which keys seal values and are not in the keyring; none when every value can be opened.
///
/// # Errors
/// When the database fails.
pub async fn missing_keys(store: &Store) -> Result<Vec<String>, StoreError> {
    let used = count_by_key(store.db()).await?;
    Ok(used.into_keys().filter(|id| !store.keyring().has(id)).collect())
}

async fn refuse_unknown_keys(db: &Db, keyring: &Keyring) -> Result<u64, StoreError> {
    let unknown: Vec<String> = count_by_key(db).await?.into_keys().filter(|id| !keyring.has(id)).collect();
    if unknown.is_empty() {
        return Ok(0);
    }
    Err(StoreError::Secret(format!(
        "some secrets are sealed under encryption keys that are not given: {}; give them as older keys to rotate what they seal",
        unknown.join(", ")
    )))
}

fn open_row(store: &Store, id: &SecretId, row: Option<Row>) -> Result<Secret<Vec<u8>>, StoreError> {
    let row = row.ok_or_else(|| absent(id))?;
    let context = context(id, &row.text("purpose")?);
    store.keyring().open(&context, sealed(&row)?).map_err(|why| named(id, &why))
}

fn sealed(row: &Row) -> Result<Sealed, StoreError> {
    Ok(Sealed {
        key_id: row.text("key_id")?,
        wrapped_key: row.bytes("wrapped_key")?,
        nonce: row.bytes("nonce")?,
        ciphertext: row.bytes("ciphertext")?,
    })
}

/// Binds a value to its row and purpose, so that one row's value put into another cannot be opened.
fn context(id: &SecretId, purpose: &str) -> String {
    format!("secrets/{}/{purpose}", id.as_str())
}

fn absent(id: &SecretId) -> StoreError {
    StoreError::Secret(format!("there is no secret {id}"))
}

fn named(id: &SecretId, why: &StoreError) -> StoreError {
    StoreError::Secret(format!("secret {id}: {why}"))
}

const SELECT: &str = "SELECT purpose, key_id, wrapped_key, nonce, ciphertext FROM secrets WHERE id = $1";
pub(crate) const COUNT_BY_KEY: &str = "SELECT key_id, count(*) AS n FROM secrets GROUP BY key_id";
