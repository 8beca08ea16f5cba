//! What this replica serves from memory, and how it learns within a second that something of it is stale.
//!
//! Nothing here trusts clocks of other replicas: what was revoked lately is what no list was made for, or what was marked for a list
//! since this replica last looked.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use certctl_domain::ids::{AuthorityId, IssuerId};
use certctl_domain::issuer::Issuer;
use certctl_domain::time::Timestamp;
use certctl_store::authorities::{self, Purpose};
use certctl_store::crls::{self, List};
use certctl_store::{revocations, table};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::ca::Ca;
use crate::crl::Served;
use crate::ctx::Ctx;
use crate::error::{Error, ErrorKind, Result};
use crate::ocsp::{Answers, Counts, Responders};

/// What this replica serves from memory.
#[derive(Debug, Default)]
pub struct Shelf {
    index: RwLock<Arc<Index>>,
    lists: RwLock<HashMap<(IssuerId, i64), Arc<Served>>>,
    /// When the index was last made; one look at a time.
    looked: Mutex<Option<Instant>>,
    pub(crate) answers: Answers,
    pub(crate) responders: Responders,
    pub(crate) counts: Counts,
}

/// Which lists and CAs there are.
#[derive(Debug, Default)]
struct Index {
    issuers: HashMap<IssuerId, Arc<Published>>,
    /// The last number that was taken for a list of each issuer.
    numbers: HashMap<IssuerId, i64>,
    /// When each CA ends: what has changed when one has another certificate.
    ends: Vec<(AuthorityId, Timestamp)>,
}

/// What is published about one issuer.
#[derive(Debug)]
pub(crate) struct Published {
    id: IssuerId,
    pub(crate) lists: Vec<List>,
    pub(crate) cas: Vec<Arc<Ca>>,
}

impl Published {
    pub(crate) const fn new(id: IssuerId, lists: Vec<List>, cas: Vec<Arc<Ca>>) -> Self {
        Self { id, lists, cas }
    }

    /// The list of this number, or the newest one that is about all certificates of the CA that issues.
    pub(crate) fn list(&self, shard: Option<i64>) -> Result<&List> {
        let found = match shard {
            Some(shard) => self.lists.iter().find(|list| list.shard == shard),
            None => self.lists.iter().rev().find(|list| list.url.is_none() && self.issues(&list.authority_id)),
        };
        found.ok_or_else(|| Error::not_found("revocation list", shard.map_or_else(|| self.id.to_string(), |n| format!("{}/{n}", self.id))))
    }

    pub(crate) fn ca(&self, id: &AuthorityId) -> Result<&Arc<Ca>> {
        self.cas.iter().find(|ca| ca.authority.id == *id).ok_or_else(|| Error::internal(format!("the CA {id} of a list is gone")))
    }

    fn issues(&self, id: &AuthorityId) -> bool {
        self.cas.iter().any(|ca| ca.authority.id == *id && ca.authority.purpose == Purpose::Issuing)
    }
}

impl Shelf {
    /// How requests for status were answered here.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// All lists, as this replica last saw them.
    #[must_use]
    pub fn lists(&self) -> Vec<List> {
        let index = read(&self.index);
        let mut lists: Vec<List> = index.issuers.values().flat_map(|published| published.lists.iter().cloned()).collect();
        lists.sort_by(|a, b| (&a.issuer_id, a.shard).cmp(&(&b.issuer_id, b.shard)));
        lists
    }

    /// When the CA of each issuer ends that is kept here, as this replica last saw it.
    #[must_use]
    pub fn ends(&self) -> Vec<(IssuerId, Timestamp)> {
        let index = read(&self.index);
        let active = |ca: &&Arc<Ca>| ca.authority.purpose == Purpose::Issuing && ca.authority.retired_at.is_none();
        let mut ends: Vec<_> = index
            .issuers
            .iter()
            .filter_map(|(id, published)| Some((id.clone(), published.cas.iter().find(active)?.authority.not_after)))
            .collect();
        ends.sort();
        ends
    }

    /// What is published about an issuer.
    pub(crate) async fn issuer(&self, ctx: &Ctx, id: &IssuerId) -> Result<Arc<Published>> {
        if let Some(found) = read(&self.index).issuers.get(id) {
            return Ok(Arc::clone(found));
        }
        self.look_unless_fresh(ctx).await?;
        if let Some(found) = read(&self.index).issuers.get(id) {
            return Ok(Arc::clone(found));
        }
        match table::get::<Issuer>(ctx.store().db(), id).await? {
            Some(issuer) if ctx.engine().issuers().get(ctx, &issuer).await.is_ok_and(|issuer| issuer.keeps_authority()) => {
                Err(Error::new(ErrorKind::Unavailable, "not_published_yet", format!("nothing is published about `{id}` yet")))
            }
            Some(_) => {
                Err(Error::not_found("revocation list", id).hint("its CA is not kept here and publishes for itself")).map_err(|mut e| {
                    e.code = NOT_KEPT_HERE;
                    e
                })
            }
            None => Err(Error::not_found("issuer", id)),
        }
    }

    /// A list from memory, if it is there.
    pub(crate) fn served(&self, issuer: &IssuerId, shard: i64) -> Option<Arc<Served>> {
        self.lists.read().unwrap_or_else(PoisonError::into_inner).get(&(issuer.clone(), shard)).cloned()
    }

    /// Puts a list into memory, unless a newer one is there.
    pub(crate) fn serve(&self, issuer: &IssuerId, shard: i64, served: Arc<Served>) {
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        let slot = lists.entry((issuer.clone(), shard)).or_insert_with(|| Arc::clone(&served));
        if slot.edition.number < served.edition.number {
            *slot = served;
        }
    }

    /// Looks what is new, and forgets what that makes stale; says how many things were.
    ///
    /// # Errors
    /// When the database fails. What is in memory is served on: where nobody reaches the database, nobody revokes.
    pub async fn look(&self, ctx: &Ctx) -> Result<u64> {
        let mut looked = self.looked.lock().await;
        let stale = self.make_index(ctx, looked.is_some()).await?;
        *looked = Some(Instant::now());
        Ok(stale)
    }

    /// Anybody may ask for an issuer that does not exist: that must not cost more than a look in a while.
    async fn look_unless_fresh(&self, ctx: &Ctx) -> Result<()> {
        let mut looked = self.looked.lock().await;
        if looked.is_none_or(|at| at.elapsed() >= FRESH) {
            self.make_index(ctx, looked.is_some()).await?;
            *looked = Some(Instant::now());
        }
        Ok(())
    }

    async fn make_index(&self, ctx: &Ctx, again: bool) -> Result<u64> {
        let db = ctx.store().db();
        let before = read(&self.index);
        // Read before the revocations: what is marked after this has a higher number and is found at the next look.
        let numbers: HashMap<IssuerId, i64> = crls::numbers(db).await?.into_iter().collect();
        let ends = authorities::ends(db).await?;
        let mut lists: HashMap<IssuerId, Vec<List>> = HashMap::new();
        for list in crls::list(db).await? {
            lists.entry(list.issuer_id.clone()).or_default().push(list);
        }
        let mut stale = 0;
        let mut issuers = HashMap::with_capacity(lists.len());
        for (id, lists) in lists {
            if again {
                let since = before.numbers.get(&id).copied().unwrap_or(NONE);
                stale += self.answers.forget(&id, &revocations::newer(db, &id, since).await?);
            }
            let cas = match before.issuers.get(&id).filter(|known| before.ends == ends && has_all(known, &lists)) {
                Some(known) => known.cas.clone(),
                None => cas(ctx, &id).await?,
            };
            issuers.insert(id.clone(), Arc::new(Published::new(id, lists, cas)));
        }
        stale += self.forget_old_editions(&issuers);
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Index { issuers, numbers, ends });
        Ok(stale)
    }

    fn forget_old_editions(&self, issuers: &HashMap<IssuerId, Arc<Published>>) -> u64 {
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        let all = lists.len();
        lists.retain(|(issuer, shard), served| {
            let now = issuers.get(issuer).and_then(|published| published.lists.iter().find(|list| list.shard == *shard));
            let number = now.and_then(|list| list.edition.as_ref()).map(|edition| edition.number);
            number.is_some_and(|number| number <= served.edition.number)
        });
        u64::try_from(all - lists.len()).unwrap_or(u64::MAX)
    }
}

/// The CAs of an issuer that sign or once signed.
pub(crate) async fn cas(ctx: &Ctx, issuer: &IssuerId) -> Result<Vec<Arc<Ca>>> {
    let all = authorities::list(ctx.store().db()).await?;
    let own = all
        .into_iter()
        .filter(|authority| authority.issuer_id.as_ref() == Some(issuer) && matches!(authority.purpose, Purpose::Issuing | Purpose::Root));
    own.map(|authority| Ca::new(authority).map(Arc::new)).collect()
}

fn has_all(before: &Published, lists: &[List]) -> bool {
    lists.iter().all(|list| before.cas.iter().any(|ca| ca.authority.id == list.authority_id))
}

fn read(index: &RwLock<Arc<Index>>) -> Arc<Index> {
    Arc::clone(&index.read().unwrap_or_else(PoisonError::into_inner))
}

/// The code of the error for issuers whose CA is not kept here.
pub const NOT_KEPT_HERE: &str = "not_kept_here";

/// Below every number of a list.
const NONE: i64 = -1;
const FRESH: Duration = Duration::from_secs(1);
