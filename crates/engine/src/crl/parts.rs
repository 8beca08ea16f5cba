//! The parts of a CA's list. The first list of a CA is about all of its certificates. When so many name it that it could become too
//! long, the next ones name a list of their own, which says of itself that it is about them alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::ids::IssuerId;
use certctl_pki::certificate::Certificate;
use certctl_pki::crl::distribution_points;
use certctl_store::authorities::{self, Authority, Purpose};
use certctl_store::crls::{self, List};
use certctl_store::{Topic, revocations};

use crate::ctx::Ctx;
use crate::error::Result;
use crate::publication::{Ca, ROOT};

/// The list that new certificates of an issuer name, opened now if there is none; `None` when no CA of the issuer is kept here.
pub(crate) async fn open_list(ctx: &Ctx, issuer: &IssuerId) -> Result<Option<List>> {
    let Some(authority) = authorities::active(ctx.store().db(), Purpose::Issuing, Some(issuer)).await? else {
        return Ok(None);
    };
    first_list(ctx, &authority, issuer).await?;
    let lists = crls::of_issuer(ctx.store().db(), issuer).await?;
    Ok(lists.into_iter().rfind(|list| list.authority_id == authority.id))
}

/// Sees to it that a CA has a list about all of its certificates.
pub(super) async fn first_list(ctx: &Ctx, authority: &Authority, issuer: &IssuerId) -> Result<()> {
    loop {
        let lists = crls::of_issuer(ctx.store().db(), issuer).await?;
        if lists.iter().any(|list| list.authority_id == authority.id) {
            return Ok(());
        }
        // Another replica may take the number at the same time; then the next one is tried.
        if open(ctx, authority, issuer, &lists, None).await? {
            return Ok(());
        }
    }
}

/// Opens a further list for each CA whose newest one is named by enough certificates, or lies under an address that is no more; gives
/// how many.
///
/// # Errors
/// When the database fails.
pub async fn divide(ctx: &Ctx) -> Result<u64> {
    let settings = &ctx.engine().options().publication;
    let Some(base) = &settings.base else {
        return Ok(0);
    };
    let db = ctx.store().db();
    let all = authorities::list(db).await?;
    let mut opened = 0;
    for authority in all.iter().filter(|authority| authority.purpose == Purpose::Issuing && authority.retired_at.is_none()) {
        let Some(issuer) = &authority.issuer_id else {
            continue;
        };
        let lists = crls::of_issuer(db, issuer).await?;
        let Some(newest) = lists.iter().rfind(|list| list.authority_id == authority.id) else {
            continue;
        };
        let moved = newest.url.as_ref().is_some_and(|url| *url != base.crl(issuer, newest.shard));
        let most = settings.crl_shard_size.max(1);
        if moved || revocations::issued_since(db, issuer, newest.opened_at, most).await? >= most {
            let next = lists.last().map_or(0, |list| list.shard + 1);
            opened += u64::from(open(ctx, authority, issuer, &lists, Some(base.crl(issuer, next))).await?);
        }
    }
    Ok(opened)
}

/// Puts every revocation of an issuer into the part that its certificate names.
pub(super) async fn assign(ctx: &Ctx, issuer: &IssuerId, lists: &[List], cas: &[Arc<Ca>]) -> Result<()> {
    let issuing = |list: &&List| cas.iter().any(|ca| ca.authority.id == list.authority_id && ca.authority.purpose == Purpose::Issuing);
    let mut own = lists.iter().filter(issuing);
    let (Some(first), rest) = (own.next(), own.next()) else {
        return Ok(());
    };
    if rest.is_none() {
        let mut tx = ctx.write().await?;
        if revocations::assign_all(&mut tx, issuer, first.shard).await? > 0 {
            tx.commit_housekeeping("crl.assign").await?;
        }
        return Ok(());
    }
    loop {
        let mut tx = ctx.write().await?;
        let some = revocations::unassigned(&mut tx, issuer, PAGE).await?;
        if some.is_empty() {
            return Ok(());
        }
        let mut by_part: BTreeMap<i64, Vec<_>> = BTreeMap::new();
        for (serial, chain_pem) in some {
            let leaf = Certificate::parse_pem(&chain_pem).ok();
            let part = leaf.and_then(|leaf| part_of(&leaf, issuer, lists, cas)).unwrap_or(first.shard);
            by_part.entry(part).or_default().push(serial);
        }
        for (part, serials) in by_part {
            revocations::assign(&mut tx, issuer, part, &serials).await?;
        }
        tx.commit_housekeeping("crl.assign").await?;
    }
}

/// The part that a certificate names; for one that names none, as one from before anything was published, the list of its CA.
fn part_of(leaf: &Certificate, issuer: &IssuerId, lists: &[List], cas: &[Arc<Ca>]) -> Option<i64> {
    let own = format!("{ROOT}crl/{issuer}/");
    let named = distribution_points(leaf).into_iter().find_map(|url| {
        let (_, number) = url.rsplit_once(&own)?;
        let number: i64 = number.parse().ok()?;
        lists.iter().find(|list| list.shard == number).map(|list| list.shard)
    });
    named.or_else(|| {
        let ca = cas.iter().find(|ca| ca.authority.purpose == Purpose::Issuing && ca.signed(leaf))?;
        lists.iter().find(|list| list.authority_id == ca.authority.id && list.url.is_none()).map(|list| list.shard)
    })
}

async fn open(ctx: &Ctx, authority: &Authority, issuer: &IssuerId, lists: &[List], url: Option<String>) -> Result<bool> {
    let list = List {
        issuer_id: issuer.clone(),
        shard: lists.last().map_or(0, |list| list.shard + 1),
        authority_id: authority.id.clone(),
        url,
        opened_at: ctx.now(),
        edition: None,
    };
    let mut tx = ctx.write().await?;
    if !crls::open(&mut tx, &list).await? {
        return Ok(false);
    }
    tx.wake(Topic::Revocations);
    let audit = Audit::new(AuditCategory::Config, "crl.open", "issuer", issuer)
        .with("list", list.shard)
        .with("authority", authority.id.to_string())
        .with("url", list.url.unwrap_or_default());
    tx.commit(audit).await?;
    Ok(true)
}

const PAGE: i64 = 500;
