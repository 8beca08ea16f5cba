//! The keys under which secrets are sealed, and the envelope: AES-256-GCM under a fresh data key, which is itself wrapped by AES-256-GCM.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use certctl_domain::secret::Secret;
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::StoreError;

/// One active key, under which everything new is sealed, and older keys, which only open. Cheap to clone.
#[derive(Clone)]
pub struct Keyring {
    active: Arc<Key>,
    older: Arc<[Key]>,
}

/// A sealed value as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The key that wraps the data key: the first eight hex digits of its SHA-256.
    pub key_id: String,
    /// The data key: nonce, ciphertext, tag.
    pub wrapped_key: Vec<u8>,
    /// The nonce of the value.
    pub nonce: Vec<u8>,
    /// The value and its tag.
    pub ciphertext: Vec<u8>,
}

struct Key {
    id: String,
    cipher: RandomizedNonceKey,
}

impl Keyring {
    /// From 32 bytes each, in base64 or hex.
    ///
    /// # Errors
    /// [`StoreError::Secret`], saying which key is wrong and how to make a good one.
    pub fn from_texts(active: Secret<String>, older: Vec<Secret<String>>) -> Result<Self, StoreError> {
        let active = Key::from_text(&active, "the encryption key")?;
        let mut keys = Vec::with_capacity(older.len());
        for (i, text) in older.iter().enumerate() {
            let key = Key::from_text(text, &format!("the older encryption key number {}", i + 1))?;
            if key.id != active.id {
                keys.push(key);
            }
        }
        Ok(Self { active: Arc::new(active), older: keys.into() })
    }

    /// A new key, and its text for the key file.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<(Self, Secret<String>), StoreError> {
        let bytes = random::<KEY_LEN>()?;
        let text = Secret::new(STANDARD.encode(bytes.as_slice()));
        let keyring = Self { active: Arc::new(Key::new(&bytes)?), older: Arc::from([]) };
        Ok((keyring, text))
    }

    /// The id of the active key.
    #[must_use]
    pub fn active_id(&self) -> &str {
        &self.active.id
    }

    /// The ids of the older keys.
    pub fn older_ids(&self) -> impl Iterator<Item = &str> {
        self.older.iter().map(|key| key.id.as_str())
    }

    /// Whether there is a key of this id.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.find(id).is_some()
    }

    /// Seals a value; it opens only with the same `context`.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn seal(&self, context: &str, value: &[u8]) -> Result<Sealed, StoreError> {
        let data_key = random::<KEY_LEN>()?;
        let mut buffer = Vec::with_capacity(value.len() + AES_256_GCM.tag_len());
        buffer.extend_from_slice(value);
        let nonce = cipher(&data_key)?.seal_in_place_append_tag(aad("value", context), &mut buffer).map_err(|_| unsealable())?;
        Ok(Sealed {
            key_id: self.active.id.clone(),
            wrapped_key: self.active.wrap(context, &data_key)?,
            nonce: nonce.as_ref().to_vec(),
            ciphertext: buffer,
        })
    }

    /// Opens a value.
    ///
    /// # Errors
    /// [`StoreError::Secret`] when its key is not here, or the value was changed or sealed with another context.
    pub fn open(&self, context: &str, sealed: Sealed) -> Result<Secret<Vec<u8>>, StoreError> {
        let data_key = self.need(&sealed.key_id)?.unwrap(context, &sealed.wrapped_key)?;
        let mut buffer = sealed.ciphertext;
        let nonce = Nonce::try_assume_unique_for_key(&sealed.nonce).map_err(|_| altered(&sealed.key_id))?;
        let opened = cipher(&data_key)?.open_in_place(nonce, aad("value", context), &mut buffer).map(|plain| plain.len());
        let Ok(length) = opened else {
            // It may hold part of the value.
            buffer.zeroize();
            return Err(altered(&sealed.key_id));
        };
        buffer.truncate(length);
        Ok(Secret::new(buffer))
    }

    /// The data key of a sealed value, wrapped under the active key.
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub fn rewrap(&self, context: &str, sealed: &Sealed) -> Result<Vec<u8>, StoreError> {
        let data_key = self.need(&sealed.key_id)?.unwrap(context, &sealed.wrapped_key)?;
        self.active.wrap(context, &data_key)
    }

    fn find(&self, id: &str) -> Option<&Key> {
        std::iter::once(&*self.active).chain(self.older.iter()).find(|key| key.id == id)
    }

    fn need(&self, id: &str) -> Result<&Key, StoreError> {
        self.find(id).ok_or_else(|| {
            let given: Vec<&str> = std::iter::once(self.active_id()).chain(self.older_ids()).collect();
            StoreError::Secret(format!("it is sealed under the encryption key {id}, and only {} is given", given.join(", ")))
        })
    }
}

impl Key {
    fn from_text(text: &Secret<String>, which: &str) -> Result<Self, StoreError> {
        let wrong = || {
            StoreError::Secret(format!("{which} is not 32 random bytes in base64 or hex; `openssl rand -base64 32` makes one that is good"))
        };
        let bytes = decode(text.expose().trim()).ok_or_else(wrong)?;
        // A key of one repeated byte is a placeholder that nobody replaced.
        if bytes.iter().all(|byte| Some(byte) == bytes.first()) {
            return Err(wrong());
        }
        Self::new(&bytes)
    }

    fn new(bytes: &[u8; KEY_LEN]) -> Result<Self, StoreError> {
        let mut id = hex::encode(digest::digest(&digest::SHA256, bytes));
        id.truncate(8);
        Ok(Self { id, cipher: cipher(bytes)? })
    }

    fn wrap(&self, context: &str, data_key: &[u8; KEY_LEN]) -> Result<Vec<u8>, StoreError> {
        let mut buffer = Vec::with_capacity(KEY_LEN + AES_256_GCM.tag_len());
        buffer.extend_from_slice(data_key);
        let nonce = self.cipher.seal_in_place_append_tag(aad("key", context), &mut buffer).map_err(|_| unsealable())?;
        Ok([nonce.as_ref().as_slice(), &buffer].concat())
    }

    fn unwrap(&self, context: &str, wrapped: &[u8]) -> Result<Zeroizing<[u8; KEY_LEN]>, StoreError> {
        let (nonce, sealed) = wrapped.split_at_checked(NONCE_LEN).ok_or_else(|| altered(&self.id))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| altered(&self.id))?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let opened = self.cipher.open_in_place(nonce, aad("key", context), &mut buffer).map_err(|_| altered(&self.id))?;
        <[u8; KEY_LEN]>::try_from(&*opened).map(Zeroizing::new).map_err(|_| altered(&self.id))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("active", &self.active_id()).field("older", &self.older_ids().collect::<Vec<_>>()).finish()
    }
}

/// The two layers have different additional data, so that a wrapped key is never taken for a value.
fn aad(layer: &str, context: &str) -> Aad<String> {
    Aad::from(format!("certctl/1/{layer}/{context}"))
}

fn cipher(key: &[u8; KEY_LEN]) -> Result<RandomizedNonceKey, StoreError> {
    RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| unsealable())
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, StoreError> {
    let mut bytes = Zeroizing::new([0; N]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| StoreError::Secret("the system gives no randomness".to_owned()))?;
    Ok(bytes)
}

/// 64 hex digits would be 48 bytes in base64, so the two cannot be mistaken for one another.
fn decode(text: &str) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    let decoded = if text.len() == 2 * KEY_LEN {
        hex::decode(text).ok()
    } else {
        [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].iter().find_map(|engine| engine.decode(text).ok())
    };
    let decoded = Zeroizing::new(decoded?);
    <[u8; KEY_LEN]>::try_from(decoded.as_slice()).ok().map(Zeroizing::new)
}

fn altered(key_id: &str) -> StoreError {
    StoreError::Secret(format!("it cannot be opened with the encryption key {key_id}: it was changed, or belongs elsewhere"))
}

fn unsealable() -> StoreError {
    StoreError::Secret("it cannot be sealed".to_owned())
}

const KEY_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring() -> Keyring {
        Keyring::generate().unwrap().0
    }

    #[test]
    fn a_value_comes_back_only_in_its_context() {
        let keyring = keyring();
        let sealed = keyring.seal("a", b"hunter2").unwrap();
        assert_eq!(keyring.open("a", sealed.clone()).unwrap().expose(), b"hunter2");
        assert!(matches!(keyring.open("b", sealed), Err(StoreError::Secret(_))));
    }

    #[test]
    fn the_same_value_never_looks_the_same() {
        let keyring = keyring();
        let (one, other) = (keyring.seal("a", b"x").unwrap(), keyring.seal("a", b"x").unwrap());
        assert!(one.nonce != other.nonce && one.wrapped_key != other.wrapped_key && one.ciphertext != other.ciphertext);
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let keyring = keyring();
        let sealed = keyring.seal("a", b"hunter2").unwrap();
        for part in 0..3 {
            let length = [&sealed.wrapped_key, &sealed.nonce, &sealed.ciphertext][part].len();
            for at in 0..length {
                let mut changed = sealed.clone();
                [&mut changed.wrapped_key, &mut changed.nonce, &mut changed.ciphertext][part][at] ^= 1;
                assert!(keyring.open("a", changed).is_err(), "part {part}, byte {at}");
            }
        }
        for part in 0..3 {
            let mut cut = sealed.clone();
            [&mut cut.wrapped_key, &mut cut.nonce, &mut cut.ciphertext][part].truncate(3);
            assert!(keyring.open("a", cut).is_err());
        }
    }

    #[test]
    fn rotation_rewraps_the_key_and_leaves_the_value() {
        let (old, old_text) = Keyring::generate().unwrap();
        let (_, new_text) = Keyring::generate().unwrap();
        let sealed = old.seal("a", b"hunter2").unwrap();
        let both = Keyring::from_texts(new_text.clone(), vec![old_text]).unwrap();
        assert_eq!(both.open("a", sealed.clone()).unwrap().expose(), b"hunter2");
        let rewrapped = Sealed { key_id: both.active_id().to_owned(), wrapped_key: both.rewrap("a", &sealed).unwrap(), ..sealed.clone() };
        assert_eq!(rewrapped.ciphertext, sealed.ciphertext);
        let new = Keyring::from_texts(new_text, vec![]).unwrap();
        assert_eq!(new.open("a", rewrapped).unwrap().expose(), b"hunter2");
        let refused = new.open("a", sealed).unwrap_err().to_string();
        assert!(refused.contains(old.active_id()) && refused.contains(new.active_id()), "{refused}");
    }

    #[test]
    fn keys_are_base64_or_hex_and_nothing_else() {
        let bytes: [u8; 32] = std::array::from_fn(|i| u8::try_from((i * 7 + 200) & 0xff).unwrap());
        let one = |text: String| Keyring::from_texts(text.into(), vec![]);
        let id = one(STANDARD.encode(bytes)).unwrap().active_id().to_owned();
        for text in [hex::encode(bytes), hex::encode_upper(bytes), URL_SAFE_NO_PAD.encode(bytes), format!("{}\n", STANDARD.encode(bytes))] {
            assert_eq!(one(text).unwrap().active_id(), id);
        }
        for text in ["", "secret", "hunter2hunter2hunter2hunter2hunt", &hex::encode(&bytes[1..]), &STANDARD.encode([0; 32])] {
            let refused = one(text.to_owned()).unwrap_err().to_string();
            assert!(refused.starts_with("the encryption key is not 32 random bytes"), "{refused}");
            assert!(text.is_empty() || !refused.contains(text), "the refusal shows the key");
        }
        let refused = Keyring::from_texts(STANDARD.encode(bytes).into(), vec![STANDARD.encode(bytes).into(), "x".to_owned().into()]);
        assert!(refused.unwrap_err().to_string().starts_with("the older encryption key number 2 is not"));
    }

    #[test]
    fn keys_are_not_shown() {
        let (keyring, text) = Keyring::generate().unwrap();
        let shown = format!("{keyring:?}");
        assert!(shown.contains(keyring.active_id()) && !shown.contains(text.expose().as_str()));
        assert_eq!(keyring.active_id().len(), 8);
    }
}
