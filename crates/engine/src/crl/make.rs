//! Makes the lists that are due. A number is taken and stored before anything is signed under it, so that a crash may waste a number
//! and never uses one twice; everything that a number stands for is published in one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::ids::IssuerId;
use certctl_domain::time::Timestamp;
use certctl_domain::x509::UriName;
use certctl_pki::crl::{CrlSpec, Entries, Entry, sign};
use certctl_store::Topic;
use certctl_store::authorities::{self, Purpose};
use certctl_store::crls::{self, Edition, List, NewEdition};
use certctl_store::revocations::{self, Contents};
use tokio::time::Instant;

use super::due::{Facts, has_aged, is_due};
use super::parts;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::publication::{Ca, backdated};

/// Makes every list that is due; gives how many. One CA that cannot sign does not keep the others back.
///
/// # Errors
/// The last one, when a list cannot be made.
pub async fn keep(ctx: &Ctx) -> Result<u64> {
    let db = ctx.store().db();
    let mut issuers: BTreeMap<IssuerId, Vec<Arc<Ca>>> = BTreeMap::new();
    let (mut made, mut failed) = (0, None);
    for authority in authorities::list(db).await? {
        let signs = matches!(authority.purpose, Purpose::Issuing | Purpose::Root);
        let Some(issuer) = authority.issuer_id.clone().filter(|_| signs) else {
            continue;
        };
        match Ca::new(authority) {
            Ok(ca) => issuers.entry(issuer).or_default().push(Arc::new(ca)),
            Err(error) => failed = Some(told(&issuer, error)),
        }
    }
    let waiting = revocations::waiting(db, issuers.keys()).await?;
    let numbers: BTreeMap<IssuerId, i64> = crls::numbers(db).await?.into_iter().collect();
    for (issuer, cas) in issuers {
        let facts = (waiting.contains(&issuer), numbers.get(&issuer).copied());
        match keep_one(ctx, &issuer, &cas, facts).await {
            Ok(n) => made += n,
            Err(error) => failed = Some(told(&issuer, error)),
        }
    }
    failed.map_or(Ok(made), Err)
}

fn told(issuer: &IssuerId, error: Error) -> Error {
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    tracing::error!(issuer.id = %issuer, error = %error, cause, "a revocation list cannot be made; it is tried again");
    error
}

/// Makes the lists of one issuer that are due.
async fn keep_one(ctx: &Ctx, issuer: &IssuerId, cas: &[Arc<Ca>], (waiting, number): (bool, Option<i64>)) -> Result<u64> {
    let (db, now) = (ctx.store().db(), ctx.now());
    // The CA that issues has the first list, whatever the order in which its root was written.
    for purpose in [Purpose::Issuing, Purpose::Root] {
        for ca in cas.iter().filter(|ca| ca.authority.purpose == purpose) {
            parts::first_list(ctx, &ca.authority, issuer).await?;
        }
    }
    let lists = crls::of_issuer(db, issuer).await?;
    // An ended CA signs nothing that anybody would believe.
    let ended = |list: &List| cas.iter().any(|ca| ca.authority.id == list.authority_id && ca.authority.not_after <= now);
    let living: Vec<List> = lists.iter().filter(|list| !ended(list)).cloned().collect();
    let facts = Facts { lists: &living, number, waiting };
    if !is_due(&facts, &ctx.engine().options().publication, now) {
        return Ok(0);
    }
    (Making { ctx, issuer, lists: &lists, cas }).make(&living).await
}

/// The lists of one issuer that are being made.
struct Making<'a> {
    ctx: &'a Ctx,
    issuer: &'a IssuerId,
    lists: &'a [List],
    cas: &'a [Arc<Ca>],
}

impl Making<'_> {
    async fn make(&self, living: &[List]) -> Result<u64> {
        let (ctx, issuer) = (self.ctx, self.issuer);
        parts::assign(ctx, issuer, self.lists, self.cas).await?;
        let mut tx = ctx.write().await?;
        let number = crls::take_number(&mut tx, issuer, ctx.now().unix_seconds()).await?;
        revocations::mark(&mut tx, issuer, number).await?;
        tx.commit_housekeeping("crl.number").await?;

        let stale = self.stale(living).await?;
        let mut new = Vec::with_capacity(stale.len());
        for list in stale {
            new.push((list.shard, self.edition(list, number).await?));
        }
        self.publish(number, new).await
    }

    /// The lists that would say something else or are old; all of them when none is, so that the number is not taken for nothing.
    async fn stale<'l>(&self, living: &'l [List]) -> Result<Vec<&'l List>> {
        let marked = revocations::marked(self.ctx.store().db(), self.issuer).await?;
        let settings = &self.ctx.engine().options().publication;
        let is_stale = |list: &&List| {
            let Some(edition) = &list.edition else {
                return true;
            };
            let newest = self.shards(list).iter().filter_map(|shard| marked.get(shard)).max();
            has_aged(edition, settings, self.ctx.now()) || newest.is_some_and(|number| *number > edition.number)
        };
        let stale: Vec<&List> = living.iter().filter(is_stale).collect();
        Ok(if stale.is_empty() { living.iter().collect() } else { stale })
    }

    /// The parts that a list is about.
    fn shards(&self, list: &List) -> Vec<i64> {
        match &list.url {
            Some(_) => vec![list.shard],
            None => self.lists.iter().filter(|other| other.authority_id == list.authority_id).map(|other| other.shard).collect(),
        }
    }

    async fn edition(&self, list: &List, number: i64) -> Result<(Edition, Vec<u8>)> {
        let (ctx, begun) = (self.ctx, Instant::now());
        let now = ctx.now().whole_seconds();
        let internal = |what: &str| format!("the revocation list {}/{} {what}", self.issuer, list.shard);
        let entries = self.entries(list, number).await?;
        let revoked_count = i64::try_from(entries.count()).unwrap_or(i64::MAX);
        let distribution_point = list.url.as_deref().map(UriName::parse).transpose();
        let spec = CrlSpec {
            number: u64::try_from(number).unwrap_or_default(),
            this_update: backdated(now, entries.newest()),
            next_update: now.saturating_add(ctx.engine().options().publication.crl_lifetime),
            distribution_point: distribution_point.map_err(|e| Error::internal(internal("has an impossible address")).because(e))?,
        };
        let ca = self.cas.iter().find(|ca| ca.authority.id == list.authority_id);
        let ca = ca.ok_or_else(|| Error::internal(internal("is of a CA that is gone")))?;
        let signer = ca.signer(ctx).await?;
        let der =
            sign(&spec, entries, &ca.certificate, &signer).await.map_err(|e| Error::internal(internal("was not signed")).because(e))?;
        let edition = Edition {
            number,
            this_update: spec.this_update,
            next_update: spec.next_update,
            generated_at: now,
            duration_ms: i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX),
            revoked_count,
            sha256: hex::encode(digest::digest(&digest::SHA256, &der)),
            bytes: i64::try_from(der.len()).unwrap_or(i64::MAX),
        };
        Ok((edition, der))
    }

    async fn entries(&self, list: &List, number: i64) -> Result<Entries> {
        let shards = self.shards(list);
        let before: Option<(i64, Timestamp)> = list.edition.as_ref().map(|edition| (edition.number, edition.this_update));
        let contents = Contents { issuer_id: self.issuer, shards: &shards, number, before };
        let mut entries = Entries::default();
        let mut after = None;
        loop {
            let page = revocations::page(self.ctx.store().db(), &contents, after.as_ref(), PAGE).await?;
            let full = page.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
            for row in page {
                let entry = Entry { serial: row.serial, revoked_at: row.revoked_at, reason: row.reason };
                entries.push(&entry).map_err(|e| Error::internal("an entry of a revocation list cannot be written").because(e))?;
                after = Some(entry.serial);
            }
            if !full {
                return Ok(entries);
            }
        }
    }

    async fn publish(&self, number: i64, new: Vec<(i64, (Edition, Vec<u8>))>) -> Result<u64> {
        let mut tx = self.ctx.write().await?;
        let shards: Vec<i64> = new.iter().map(|(shard, _)| *shard).collect();
        let revoked = new.iter().map(|(_, (edition, _))| edition.revoked_count).max().unwrap_or_default();
        for (shard, (edition, der)) in new {
            let new = NewEdition { issuer_id: self.issuer, shard, edition: &edition, der };
            if !crls::publish(&mut tx, new).await? {
                // Another replica was faster, with a higher number: it had at least what we have.
                tracing::warn!(issuer.id = %self.issuer, number, "a newer revocation list is published already; this one is dropped");
                return Ok(0);
            }
        }
        tx.wake(Topic::Revocations);
        let audit = Audit::new(AuditCategory::CertLifecycle, "crl.publish", "issuer", self.issuer)
            .with("number", number)
            .with("lists", shards.clone())
            .with("revoked", revoked);
        tx.commit(audit).await?;
        Ok(u64::try_from(shards.len()).unwrap_or(u64::MAX))
    }
}

const PAGE: i64 = 2_000;
