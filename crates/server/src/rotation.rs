//! Rotation of the encryption key: which keys seal secrets, and sealing all of them anew while servers run.

use std::collections::BTreeMap;
use std::time::Duration;

use certctl_engine::clock::{Clock, SystemClock};
use certctl_store::{Store, Who, idempotency, migrate, secrets};

use crate::boot::{BootError, open_store};
use crate::config::Config;

/// Which encryption keys seal how many secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// The fingerprint of the current key: the first eight hex digits of its SHA-256.
    pub current: String,
    /// The fingerprints of the previous keys that were given.
    pub previous: Vec<String>,
    /// How many secrets each key seals, by fingerprint.
    pub sealed: BTreeMap<String, i64>,
}

impl KeyUse {
    /// How many secrets are sealed under another key than the current one.
    #[must_use]
    pub fn left(&self) -> i64 {
        self.sealed.iter().filter(|(key, _)| **key != self.current).map(|(_, n)| n).sum()
    }

    /// A table for people.
    #[must_use]
    pub fn text(&self) -> String {
        let given = std::iter::once(&self.current).chain(&self.previous);
        let mut keys: Vec<&String> = given.collect();
        keys.extend(self.sealed.keys().filter(|key| **key != self.current && !self.previous.contains(key)));
        let rows = keys.into_iter().map(|key| {
            let kind = if *key == self.current {
                "current"
            } else if self.previous.contains(key) {
                "previous"
            } else {
                "not given"
            };
            format!("{key:<9}{:>8}  {kind}", self.sealed.get(key).copied().unwrap_or_default())
        });
        std::iter::once("KEY       SECRETS  GIVEN AS".to_owned()).chain(rows).collect::<Vec<_>>().join("\n")
    }

    async fn look(store: &Store) -> Result<Self, BootError> {
        let keyring = store.keyring();
        let previous = keyring.older_ids().map(str::to_owned).collect();
        Ok(Self { current: keyring.active_id().to_owned(), previous, sealed: secrets::count_by_key(store.db()).await? })
    }

    /// Refuses while a secret is sealed under another key than the current one.
    fn refusal(&self) -> Option<BootError> {
        let left = self.left();
        (left > 0).then(|| BootError::OtherKeysInUse { left, current: self.current.clone() })
    }
}

/// Says which keys are in use, and changes nothing. The inner error comes when some are other keys than the current one.
///
/// # Errors
/// When the database cannot be reached, or its schema is another than that of this program.
pub async fn check(config: &Config) -> Result<(KeyUse, Option<BootError>), BootError> {
    let store = open_store(config).await?;
    migrate::check(store.db()).await?;
    let found = KeyUse::look(&store).await?;
    store.db().close().await;
    let error = found.refusal();
    Ok((found, error))
}

/// Seals every secret anew under the current encryption key, batch by batch, while servers run; gives how many there were. Stopped at any
/// point it has lost nothing, and goes on where it was when it is run again.
///
/// # Errors
/// When the database cannot be reached, a secret cannot be opened, or some are sealed under another key after all: somebody works on them,
/// or a server has another current key.
pub async fn rotate(config: &Config) -> Result<(u64, KeyUse), BootError> {
    let store = open_store(config).await?;
    migrate::check(store.db()).await?;
    let mut all = 0;
    let mut idle = 0;
    let found = loop {
        let n = secrets::rewrap_batch(&store, Who::task("rotate_key", SystemClock.now()), BATCH).await?;
        all += n;
        if n > 0 {
            idle = 0;
            continue;
        }
        // Rows that a server works on at this moment were passed over.
        let found = KeyUse::look(&store).await?;
        idle += 1;
        if found.left() == 0 || idle > ROUNDS {
            break found;
        }
        tokio::time::sleep(PAUSE).await;
    };
    // Answers that are kept for repeated requests are sealed, too.
    let mut page = None;
    loop {
        let done = idempotency::rewrap_page(&store, page, BATCH, SystemClock.now()).await?;
        page = done.next;
        if page.is_none() {
            break;
        }
    }
    store.db().close().await;
    found.refusal().map_or(Ok((all, found)), Err)
}

/// Secrets of one transaction.
const BATCH: i64 = 500;

/// How often it looks again for secrets that somebody else holds, and how long it waits before each time.
const ROUNDS: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_use_are_shown_and_counted() {
        let sealed = BTreeMap::from([("aaaaaaaa".to_owned(), 3), ("bbbbbbbb".to_owned(), 2), ("cccccccc".to_owned(), 1)]);
        let found = KeyUse { current: "bbbbbbbb".to_owned(), previous: vec!["aaaaaaaa".to_owned(), "dddddddd".to_owned()], sealed };
        assert_eq!(found.left(), 4);
        insta::assert_snapshot!(found.text());
        let error = found.refusal().unwrap();
        assert_eq!(error.to_string(), "4 secrets are sealed under other encryption keys than the current one (bbbbbbbb)");
    }
}
