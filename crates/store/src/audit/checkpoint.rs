//! Signed heads of the chain: with one of them kept elsewhere, nobody can rewrite what was before it, not even with full access to the
//! database.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey,
};
use certctl_domain::secret::Secret;
use certctl_domain::time::Timestamp;
use serde::Serialize;

use super::chain::{Hash, Merkle};
use super::seal::lock_head;
use crate::db::{Db, Row, Tx, sql};
use crate::error::StoreError;
use crate::store::{Store, Who};

/// A signed head of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// The number of the head.
    pub sequence: i64,
    /// The number of the checkpoint before; 0 for the first.
    pub after_sequence: i64,
    /// The hash of the head.
    pub row_hash: String,
    /// Root of the Merkle tree over the hashes since the checkpoint before.
    pub merkle_root: String,
    /// Signature over all of this.
    pub signature: Vec<u8>,
    /// The key that made it: 32 bytes of Ed25519, or an uncompressed point of P-256.
    pub public_key: Vec<u8>,
    /// When.
    pub created_at: Timestamp,
}

/// A key that signs checkpoints.
pub struct CheckpointKey(Kind);

enum Kind {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

/// Signs the head of the chain. `None` when nothing was sealed since the last checkpoint.
///
/// # Errors
/// When the database fails or the key cannot sign.
pub async fn checkpoint(store: &Store, key: &CheckpointKey, now: Timestamp) -> Result<Option<Checkpoint>, StoreError> {
    let mut tx = store.write(Who::task("audit", now)).await?;
    let (sequence, row_hash) = lock_head(&mut tx).await?;
    let previous = tx.fetch_optional(sql("SELECT COALESCE(max(sequence), 0) AS n FROM audit_checkpoints")).await?;
    let previous = previous.map_or(Ok(0), |row| row.int("n"))?;
    if sequence <= previous {
        return Ok(None);
    }
    let merkle_root = merkle_root(&mut tx, previous, sequence).await?;
    let mut checkpoint = Checkpoint {
        sequence,
        after_sequence: previous,
        row_hash,
        merkle_root,
        signature: Vec::new(),
        public_key: key.public_key(),
        created_at: now,
    };
    checkpoint.signature = key.sign(&checkpoint.signed())?;
    let insert = sql("INSERT INTO audit_checkpoints (sequence, after_sequence, row_hash, merkle_root, signature, public_key, created_at)
                      VALUES ($1, $2, $3, $4, $5, $6, $7)")
    .bind(checkpoint.sequence)
    .bind(checkpoint.after_sequence)
    .bind(checkpoint.row_hash.as_str())
    .bind(checkpoint.merkle_root.as_str())
    .bind(checkpoint.signature.clone())
    .bind(checkpoint.public_key.clone())
    .bind(checkpoint.created_at);
    tx.execute(insert).await?;
    tx.commit_housekeeping("audit.checkpoint").await?;
    Ok(Some(checkpoint))
}

/// The newest checkpoint, to be kept elsewhere.
///
/// # Errors
/// When the database fails.
pub async fn last_checkpoint(db: &Db) -> Result<Option<Checkpoint>, StoreError> {
    let mut statement = sql(SELECT);
    statement.push(" ORDER BY sequence DESC LIMIT 1");
    db.fetch_optional(statement).await?.map(|row| Checkpoint::read(&row)).transpose()
}

impl Checkpoint {
    /// Whether its signature is right.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        let message = self.signed();
        if self.public_key.len() == ED25519_LEN {
            UnparsedPublicKey::new(&ED25519, &self.public_key).verify(&message, &self.signature).is_ok()
        } else {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.public_key).verify(&message, &self.signature).is_ok()
        }
    }

    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            sequence: row.int("sequence")?,
            after_sequence: row.int("after_sequence")?,
            row_hash: row.text("row_hash")?,
            merkle_root: row.text("merkle_root")?,
            signature: row.bytes("signature")?,
            public_key: row.bytes("public_key")?,
            created_at: row.time("created_at")?,
        })
    }

    /// What is signed.
    fn signed(&self) -> Vec<u8> {
        let mut hash = Hash::new("certctl audit checkpoint 1");
        hash.number(self.after_sequence)
            .number(self.sequence)
            .text(&self.row_hash)
            .text(&self.merkle_root)
            .number(self.created_at.unix_micros());
        hash.finish()
    }
}

impl CheckpointKey {
    /// A new Ed25519 key, and its PKCS#8 form to be kept as a secret.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<(Self, Secret<Vec<u8>>), StoreError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| unusable())?;
        let pkcs8 = pair.to_pkcs8().map_err(|_| unusable())?;
        Ok((Self(Kind::Ed25519(pair)), Secret::new(pkcs8.as_ref().to_vec())))
    }

    /// From the PKCS#8 form (DER) of an Ed25519 or P-256 key.
    ///
    /// # Errors
    /// When it is neither.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, StoreError> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self(Kind::Ed25519(pair)));
        }
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der).map(|pair| Self(Kind::P256(pair))).map_err(|_| unusable())
    }

    /// The public key as a checkpoint names it.
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        match &self.0 {
            Kind::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
            Kind::P256(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, StoreError> {
        match &self.0 {
            Kind::Ed25519(pair) => pair.try_sign(message).map(|signature| signature.as_ref().to_vec()),
            Kind::P256(pair) => pair.sign(&SystemRandom::new(), message).map(|signature| signature.as_ref().to_vec()),
        }
        .map_err(|_| unusable())
    }
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CheckpointKey").field(&hex::encode(self.public_key())).finish()
    }
}

async fn merkle_root(tx: &mut Tx, after: i64, through: i64) -> Result<String, StoreError> {
    let mut tree = Merkle::default();
    let mut last = after;
    while last < through {
        let statement =
            sql("SELECT sequence, row_hash FROM audit_seals WHERE sequence > $1 AND sequence <= $2 ORDER BY sequence LIMIT 5000");
        let rows = tx.fetch_all(statement.bind(last).bind(through)).await?;
        for row in &rows {
            last += 1;
            if row.int("sequence")? != last {
                return Err(StoreError::corrupt(format!("audit seal {last} is missing")));
            }
            tree.add(&row.text("row_hash")?);
        }
        if rows.is_empty() {
            return Err(StoreError::corrupt(format!("audit seal {} is missing", last + 1)));
        }
    }
    Ok(tree.root())
}

fn unusable() -> StoreError {
    StoreError::Secret("the key for audit checkpoints is not a usable Ed25519 or P-256 key".to_owned())
}

pub(super) const SELECT: &str =
    "SELECT sequence, after_sequence, row_hash, merkle_root, signature, public_key, created_at FROM audit_checkpoints";

const ED25519_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn signed_by(key: &CheckpointKey) -> Checkpoint {
        let at = Timestamp::from_unix_seconds(1_700_000_000).unwrap();
        let (row_hash, merkle_root) = ("aa".repeat(32), "bb".repeat(32));
        let mut checkpoint = Checkpoint {
            sequence: 9,
            after_sequence: 4,
            row_hash,
            merkle_root,
            signature: Vec::new(),
            public_key: key.public_key(),
            created_at: at,
        };
        checkpoint.signature = key.sign(&checkpoint.signed()).unwrap();
        checkpoint
    }

    #[test]
    fn both_kinds_of_keys_sign_and_every_field_is_signed() {
        let (_, ed25519) = CheckpointKey::generate().unwrap();
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap().to_pkcs8v1().unwrap();
        for der in [ed25519.expose().as_slice(), p256.as_ref()] {
            let good = signed_by(&CheckpointKey::from_pkcs8(der).unwrap());
            assert!(good.is_signed());
            assert!(!Checkpoint { after_sequence: 5, ..good.clone() }.is_signed());
            assert!(!Checkpoint { sequence: 10, ..good.clone() }.is_signed());
            assert!(!Checkpoint { row_hash: "ab".repeat(32), ..good.clone() }.is_signed());
            assert!(!Checkpoint { merkle_root: "ab".repeat(32), ..good.clone() }.is_signed());
            assert!(!Checkpoint { created_at: Timestamp::UNIX_EPOCH, ..good.clone() }.is_signed());
            assert!(!Checkpoint { public_key: vec![7; good.public_key.len()], ..good.clone() }.is_signed());
            assert!(!Checkpoint { public_key: Vec::new(), ..good }.is_signed());
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_keys_are_not_shown() {
        assert!(CheckpointKey::from_pkcs8(b"no key").is_err());
        let (key, pkcs8) = CheckpointKey::generate().unwrap();
        assert!(!format!("{key:?}").contains(&hex::encode(&pkcs8.expose()[16..48])));
    }
}
