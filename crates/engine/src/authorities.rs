//! The CAs that are kept here have ends of their own: they are renewed in time, and people are told of those that must be renewed
//! elsewhere.

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::ids::IssuerId;
use certctl_domain::issuer::Issuer;
use certctl_domain::notification::NotificationKind;
use certctl_issuers::Renewed;
use certctl_pki::certificate::Certificate;
use certctl_store::authorities::{self, Authority, Purpose};
use certctl_store::{WriteTx, issuers, outbox, table};
use serde_json::{Map, json};

use crate::connectors::{connector_error, open_authority};
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::platform;

/// Renews the CAs that are due, and warns of those that end and were not; gives how many were renewed.
///
/// # Errors
/// When the database fails, or a CA cannot be renewed; the others are by then.
pub async fn keep(ctx: &Ctx) -> Result<u64> {
    let mut renewed = u64::from(platform::renew_ca(ctx).await?);
    let mut failed = None;
    for ca in authorities::list(ctx.store().db()).await? {
        let Some(issuer) = ca.issuer_id.as_ref().filter(|_| ca.purpose == Purpose::Issuing && ca.retired_at.is_none()) else {
            continue;
        };
        match renew(ctx, issuer, &ca).await {
            Ok(true) => {
                renewed += 1;
                continue;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::error!(issuer.id = %issuer, error = %error, "the CA of an issuer cannot be renewed; it is tried again");
                failed = Some(error);
            }
        }
        warn(ctx, issuer, &ca).await?;
    }
    failed.map_or(Ok(renewed), Err)
}

/// Renews the CA of an issuer if that is due; whether it was.
async fn renew(ctx: &Ctx, id: &IssuerId, ca: &Authority) -> Result<bool> {
    let Some(issuer) = table::get::<Issuer>(ctx.store().db(), id).await? else {
        return Ok(false);
    };
    let connector = ctx.engine().issuers().get(ctx, &issuer).await?;
    let root = authorities::active(ctx.store().db(), Purpose::Root, Some(id)).await?;
    let held = open_authority(ctx, Purpose::Root, Some(id)).await?;
    let Some(renewed) = connector.renew_authority(held.as_ref(), ctx.now()).await.map_err(connector_error)? else {
        return Ok(false);
    };
    let mut tx = ctx.write().await?;
    if !take_up(&mut tx, &renewed, ca, root.as_ref()).await? {
        // It is not any more as it was read: somebody else renewed it.
        return Ok(false);
    }
    issuers::recertified(&mut tx, id).await?;
    let ends = read(&renewed.issuing)?.not_after();
    let root_too = renewed.root.is_some();
    let whole = if root_too { ", with its root: relying parties need the new root before the old one ends" } else { "" };
    let message = format!("the CA of issuer {} was renewed until {ends}{whole}", issuer.name);
    let payload =
        Map::from_iter([("issuer_id".to_owned(), json!(id)), ("not_after".to_owned(), json!(ends)), ("root".to_owned(), json!(root_too))]);
    let dedup_key = format!("ca-renewed:{}:{ends}", ca.id);
    let news =
        outbox::Message { kind: NotificationKind::RenewalSuccess, certificate: None, dedup_key: &dedup_key, text: &message, payload };
    outbox::put(&mut tx, news).await?;
    tracing::info!(issuer.id = %id, until = %ends, root = root_too, "the CA of an issuer was renewed");
    let audit = Audit::new(AuditCategory::Config, "issuer.ca_renewed", "issuer", id)
        .with("name", issuer.name.as_str())
        .with("from", ca.not_after.to_string())
        .with("until", ends.to_string())
        .with("root_too", root_too);
    tx.commit(audit).await?;
    Ok(true)
}

async fn take_up(tx: &mut WriteTx, renewed: &Renewed, ca: &Authority, root: Option<&Authority>) -> Result<bool> {
    if let Some((root, chain_pem)) = root.zip(renewed.root.as_ref())
        && !recertify(tx, root, chain_pem).await?
    {
        return Ok(false);
    }
    recertify(tx, ca, &renewed.issuing).await
}

/// Gives an authority that is kept another certificate of its key; `false` when it is not any more as it was read.
///
/// # Errors
/// When the certificate cannot be read, or the database fails.
pub async fn recertify(tx: &mut WriteTx, old: &Authority, chain_pem: &str) -> Result<bool> {
    Ok(authorities::recertify(tx, old, chain_pem, read(chain_pem)?.not_after()).await?)
}

/// Tells once at each threshold that a CA ends which nothing renewed: one from elsewhere, or one whose renewal fails.
async fn warn(ctx: &Ctx, issuer: &IssuerId, ca: &Authority) -> Result<()> {
    let left = ctx.now().until(ca.not_after);
    let certificate = read(&ca.chain_pem)?;
    let life = certificate.not_before().until(ca.not_after);
    let Some(days) = THRESHOLDS.into_iter().find(|days| left <= time::Duration::days(*days)).filter(|_| left <= life / 2) else {
        return Ok(());
    };
    let dedup_key = format!("ca-ends:{}:{}:{days}", ca.id, ca.not_after);
    let (subject, ends) = (certificate.subject(), ca.not_after);
    let message = if left > time::Duration::ZERO {
        format!(
            "the CA {subject} of issuer {issuer} ends at {ends}; give the issuer a new certificate of the same CA, or its certificates another issuer"
        )
    } else {
        format!("the CA {subject} of issuer {issuer} ended at {ends}: it issues nothing, and what it issued is refused")
    };
    let payload = Map::from_iter([("issuer_id".to_owned(), json!(issuer)), ("not_after".to_owned(), json!(ends))]);
    let mut tx = ctx.write().await?;
    let news =
        outbox::Message { kind: NotificationKind::ExpirationWarning, certificate: None, dedup_key: &dedup_key, text: &message, payload };
    if outbox::put(&mut tx, news).await? {
        tracing::warn!(issuer.id = %issuer, ends = %ends, "the CA of an issuer nears its end and is not renewed here");
        tx.commit_housekeeping("authority.warn").await?;
    }
    Ok(())
}

fn read(chain_pem: &str) -> Result<Certificate> {
    Certificate::parse_pem(chain_pem).map_err(|e| Error::internal("a CA certificate cannot be read").because(e))
}

/// At how many days before the end of a CA people are told of it; 0 is the end.
const THRESHOLDS: [i64; 8] = [0, 1, 7, 14, 30, 60, 90, 180];
