//! The store itself: reading, and transactions that cannot be committed without saying what they did.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use certctl_domain::audit::Audit;
use certctl_domain::auth::ActorKind;
use certctl_domain::ids::{AuditId, Id};
use certctl_domain::time::Timestamp;

use crate::db::{Db, OpenOptions, Tx, Value, sql};
use crate::error::StoreError;
use crate::secrets::Keyring;
use crate::wake::{Shared, Topic, Wake};

/// Everything that is kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: Db,
    wake: Wake,
    keyring: Keyring,
    waits: Waits,
}

/// How long transactions waited until they could begin: for a connection, and on SQLite for the one that writes.
#[derive(Debug, Default)]
struct Waits {
    begun: AtomicU64,
    micros: AtomicU64,
}

/// On whose behalf something is written, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The actor's id, or the name of a task.
    pub actor: String,
    /// What kind of actor.
    pub kind: ActorKind,
    /// The request in which it happens.
    pub request_id: Option<String>,
    /// The instant that is written everywhere in this transaction.
    pub at: Timestamp,
}

/// A transaction that writes. Dropped, it changes nothing; there are two ways to commit it, and both say what was done.
#[derive(Debug)]
pub struct WriteTx {
    tx: Tx,
    store: Store,
    who: Who,
    topics: Vec<Topic>,
    audits: Vec<Audit>,
    counts: BTreeMap<String, i64>,
}

impl Who {
    /// A task of the product itself.
    #[must_use]
    pub fn task(name: &'static str, at: Timestamp) -> Self {
        Self { actor: name.to_owned(), kind: ActorKind::System, request_id: None, at }
    }
}

impl Store {
    /// Opens the database. The schema is not touched: see [`crate::migrate`].
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn open(options: &OpenOptions, keyring: Keyring) -> Result<Self, StoreError> {
        Ok(Self::over(Db::open(options).await?, keyring))
    }

    /// As [`Store::open`], for a database that may not be there yet.
    ///
    /// # Errors
    /// As [`Db::open_within`].
    pub async fn open_within(options: &OpenOptions, keyring: Keyring, patience: Duration) -> Result<Self, StoreError> {
        Ok(Self::over(Db::open_within(options, patience).await?, keyring))
    }

    fn over(db: Db, keyring: Keyring) -> Self {
        let shared = if db.is_shared() { Shared::WithReplicas } else { Shared::Alone };
        Self { inner: Arc::new(Inner { db, wake: Wake::new(shared), keyring, waits: Waits::default() }) }
    }

    /// The database, for reading.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.inner.db
    }

    /// Wakes and is woken.
    #[must_use]
    pub fn wake(&self) -> &Wake {
        &self.inner.wake
    }

    /// The keys under which secrets are sealed.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.inner.keyring
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn write(&self, who: Who) -> Result<WriteTx, StoreError> {
        let asked = Instant::now();
        let tx = self.inner.db.begin().await;
        // One that waited in vain did wait.
        self.inner.waits.begun.fetch_add(1, Ordering::Relaxed);
        self.inner.waits.micros.fetch_add(u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let tx = tx?;
        Ok(WriteTx { tx, store: self.clone(), who, topics: Vec::new(), audits: Vec::new(), counts: BTreeMap::new() })
    }

    /// How many transactions were begun, and how long all of them together waited for that.
    #[must_use]
    pub fn waits(&self) -> (u64, Duration) {
        let waits = &self.inner.waits;
        (waits.begun.load(Ordering::Relaxed), Duration::from_micros(waits.micros.load(Ordering::Relaxed)))
    }

    /// A new identifier.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new_id<I: Id>(&self, at: Timestamp) -> Result<I, StoreError> {
        let mut random = [0; 10];
        rand::fill(&mut random).map_err(|_| StoreError::Secret("the system gives no randomness".to_owned()))?;
        Ok(I::generate(at, random))
    }
}

impl Who {
    /// The columns of an audit event.
    fn values_of(&self, id: &AuditId, audit: &Audit) -> Vec<Value> {
        vec![
            id.into(),
            self.actor.clone().into(),
            self.kind.as_str().into(),
            audit.action.into(),
            audit.resource_type.into(),
            audit.resource_id.clone().into(),
            serde_json::Value::Object(audit.details.clone()).into(),
            self.at.into(),
            audit.category.as_str().into(),
            self.request_id.clone().into(),
        ]
    }
}

impl WriteTx {
    /// On whose behalf this is.
    #[must_use]
    pub const fn who(&self) -> &Who {
        &self.who
    }

    /// The instant of this transaction.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.who.at
    }

    /// The store that this transaction belongs to.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Says that after the commit somebody should look at `topic` at once.
    pub fn wake(&mut self, topic: Topic) {
        if !self.topics.contains(&topic) {
            self.topics.push(topic);
        }
    }

    /// Adds an audit entry beside the one of the commit.
    pub fn audit(&mut self, audit: Audit) {
        self.audits.push(audit);
    }

    /// Changes a fleet counter with the commit; folded into the total by a task, so that no two transactions meet on one row.
    pub fn count(&mut self, name: &str, delta: i64) {
        *self.counts.entry(name.to_owned()).or_default() += delta;
    }

    /// Commits a change that somebody could ask about later, with its audit entry.
    ///
    /// # Errors
    /// When the database fails; then nothing was changed.
    pub async fn commit(mut self, audit: Audit) -> Result<(), StoreError> {
        self.audits.push(audit);
        let audits = std::mem::take(&mut self.audits);
        for part in audits.chunks(AUDITS_AT_ONCE) {
            let (mut events, mut unsealed) = (Vec::with_capacity(part.len()), Vec::with_capacity(part.len()));
            for audit in part {
                let id: AuditId = self.store.new_id(self.who.at)?;
                unsealed.push(vec![Value::from(&id)]);
                events.push(self.who.values_of(&id, audit));
            }
            let mut statement =
                sql("INSERT INTO audit_events (id, actor, actor_type, action, resource_type, resource_id, details, timestamp,
                     event_category, request_id) VALUES ");
            statement.push_rows(events);
            self.tx.execute(statement).await?;
            let mut statement = sql("INSERT INTO audit_unsealed (event_id) VALUES ");
            statement.push_rows(unsealed);
            self.tx.execute(statement).await?;
        }
        self.topics.push(Topic::Audit);
        self.finish().await
    }

    /// Commits what nobody asks about later: heartbeats, leases, folded counters, pruned rows. `why` names the task.
    ///
    /// # Errors
    /// When the database fails; then nothing was changed.
    pub async fn commit_housekeeping(self, why: &'static str) -> Result<(), StoreError> {
        tracing::trace!(task = why, "housekeeping committed");
        self.finish().await
    }

    async fn finish(mut self) -> Result<(), StoreError> {
        // All of them in one statement; what was counted up and down again is nothing.
        let counts: Vec<_> = std::mem::take(&mut self.counts).into_iter().filter(|(_, delta)| *delta != 0).collect();
        if !counts.is_empty() {
            let mut statement = sql("INSERT INTO counter_deltas (name, delta) VALUES ");
            statement.push_rows(counts.into_iter().map(|(name, delta)| vec![Value::from(name), Value::from(delta)]));
            self.tx.execute(statement).await?;
        }
        self.tx.commit().await?;
        for topic in self.topics {
            self.store.inner.wake.send(topic);
        }
        Ok(())
    }
}

impl Deref for WriteTx {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

impl DerefMut for WriteTx {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.tx
    }
}

/// Far below what either database takes as values of one statement.
const AUDITS_AT_ONCE: usize = 500;
