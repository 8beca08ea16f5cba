//! Asks ACME CAs when they suggest renewal (RFC 9773), again and again: a CA that must revoke says so here first.

use certctl_connector_core::Retry;
use certctl_connector_core::registry::Connector as _;
use certctl_domain::certificate::{Certificate, Version};
use certctl_domain::ids::Id as _;
use certctl_domain::issuer::Issuer;
use certctl_domain::renewal::{Window, jitter};
use certctl_domain::time::Timestamp;
use certctl_issuers::{ASK_RENEWAL_INFO_AT, Acme};
use certctl_store::{Topic, acme_renewals, certificates, table};

use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::issue;

/// Asks about every version that is due for it; gives about how many the CA changed its mind.
///
/// # Errors
/// When the database fails.
pub async fn ask_all(ctx: &Ctx) -> Result<u64> {
    let began = ctx.now();
    let mut changed = 0;
    loop {
        // What becomes due meanwhile is for the next run.
        let due = acme_renewals::due(ctx.store().db(), Acme::KIND, began, BATCH).await?;
        let is_last = u64::try_from(due.len()).unwrap_or(0) < BATCH.unsigned_abs();
        let mut held_up = false;
        for id in due {
            let Some(version) = certificates::version(ctx.store().db(), &id).await? else {
                continue;
            };
            match ask(ctx, &version).await {
                Ok(Heard::Change) => changed += 1,
                Ok(Heard::Nothing) => {}
                Ok(Heard::NotNow) => held_up = true,
                // One CA that cannot be asked does not keep the others back.
                Err(error) => {
                    tracing::warn!(version.id = %id, %error, "a CA cannot be asked when it suggests renewal");
                    note(ctx, &version, version.ari, AFTER_FAILURE).await?;
                }
            }
        }
        // Who waits longest is asked about first, also by the next run: nobody is forgotten.
        if is_last || held_up || began.until(ctx.now()) >= LONGEST_RUN {
            return Ok(changed);
        }
    }
}

/// What came of asking about one version.
enum Heard {
    Change,
    Nothing,
    /// The CA, or our budget for it, wants fewer requests.
    NotNow,
}

async fn ask(ctx: &Ctx, version: &Version) -> Result<Heard> {
    let heard = |changed| if changed { Heard::Change } else { Heard::Nothing };
    if let Some(at) = told_at_issuance(version).filter(|at| *at > ctx.now()) {
        return note(ctx, version, version.ari, spread(version, ctx.now().until(at))).await.map(heard);
    }
    let issuer = table::get::<Issuer>(ctx.store().db(), &version.issuer_id).await?;
    let issuer = issuer.ok_or_else(|| Error::not_found("issuer", &version.issuer_id))?;
    let connector = ctx.engine().issuers().get(ctx, &issuer).await?;
    let answer = match connector.renewal_info(&version.pem_chain, ctx.now()).await {
        Ok(answer) => answer,
        Err(error) => match error.retry() {
            Retry::Throttled { retry_after_seconds: Some(seconds) } => {
                let pause = time::Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
                note(ctx, version, version.ari, spread(version, pause)).await?;
                return Ok(Heard::NotNow);
            }
            _ => return Err(crate::connectors::connector_error(error)),
        },
    };
    let pause = answer.and_then(|answer| answer.ask_after).and_then(|pause| time::Duration::try_from(pause).ok()).unwrap_or(USUAL);
    note(ctx, version, answer.map(|answer| answer.window), spread(version, pause)).await.map(heard)
}

/// When the CA wants to be asked again, as it said when it issued (RFC 9773 section 4.3.2).
fn told_at_issuance(version: &Version) -> Option<Timestamp> {
    version.issuer_ref.get(ASK_RENEWAL_INFO_AT)?.as_str()?.parse().ok()
}

/// RFC 9773 section 4.3: what the CA says, from a minute to a day. Spread a little, so that a fleet does not ask in step.
fn spread(version: &Version, pause: time::Duration) -> time::Duration {
    pause.clamp(time::Duration::MINUTE, time::Duration::DAY) * (1.0 + jitter(version.id.as_str()) / 8.0)
}

/// Writes what was heard; a window that changed moves the certificate's renewal.
async fn note(ctx: &Ctx, version: &Version, window: Option<Window>, pause: time::Duration) -> Result<bool> {
    let mut tx = ctx.write().await?;
    acme_renewals::ask_at(&mut tx, &version.id, ctx.now().saturating_add(pause)).await?;
    let changed = window != version.ari;
    if changed {
        acme_renewals::suggest(&mut tx, &version.id, window).await?;
        if let Some(certificate) = table::get_for_update::<Certificate>(&mut tx, &version.certificate_id).await?
            && certificate.status.ended().is_none()
        {
            let settled = issue::settle(&mut tx, &certificate, |_| {}).await?;
            // A window that has begun is not in the future to wait for: it is decided upon now.
            if window.is_some_and(|window| window.start <= ctx.now()) {
                let new = Certificate { next_try_at: Some(ctx.now()), ..settled.clone() };
                certificates::write_state(&mut tx, &settled, new).await?;
            }
            tx.wake(Topic::Due);
        }
    }
    tx.commit_housekeeping("renewal_info").await?;
    Ok(changed)
}

const BATCH: i64 = 200;
/// Shorter than the lease of the task.
const LONGEST_RUN: time::Duration = time::Duration::minutes(10);
/// Where the CA does not say.
const USUAL: time::Duration = time::Duration::hours(6);
const AFTER_FAILURE: time::Duration = time::Duration::hours(1);
