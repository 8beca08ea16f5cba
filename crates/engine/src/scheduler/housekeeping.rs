//! The small tasks: each a few lines over one function that does the work.

use std::collections::BTreeSet;

use certctl_connector_core::Retry;
use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::certificate::Version;
use certctl_domain::ids::AgentId;
use certctl_domain::issuer::Issuer;
use certctl_domain::x509::RevocationReason;
use certctl_issuers::Revocation;
use certctl_store::certificates::Waiting;
use certctl_store::{agents, audit, certificates, counters, retention, table};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::{deploy, jobs};

/// Puts back jobs whose holder died.
pub(super) fn reap_jobs(ctx: &Ctx) -> BoxFuture<'_, Result<u64>> {
    async move { Ok(u64::try_from(jobs::reap(ctx).await?).unwrap_or(u64::MAX)) }.boxed()
}

/// Asks CAs when they suggest renewal.
pub(super) fn renewal_info(ctx: &Ctx) -> BoxFuture<'_, Result<u64>> {
    crate::renewal_info::ask_all(ctx).boxed()
}

/// Marks agents that were not heard of as offline.
pub(super) fn agent_health(ctx: &Ctx) -> BoxFuture<'_, Result<u64>> {
    async move {
        let before = ctx.now().saturating_sub(ctx.engine().options().offline_after);
        let mut tx = ctx.write().await?;
        let lost = agents::mark_offline(&mut tx, before, 500).await?;
        let Some(((last, last_name), others)) = lost.split_last() else {
            return Ok(0);
        };
        let entry = |id: &AgentId, name: &str| Audit::new(AuditCategory::Config, "agent.offline", "agent", id).with("name", name);
        for (id, name) in others {
            tx.audit(entry(id, name));
        }
        tracing::warn!(n_agents = lost.len(), agent.id = %last, agent.name = %last_name, "agents were not heard of and are offline now");
        tx.commit(entry(last, last_name)).await?;
        Ok(u64::try_from(lost.len()).unwrap_or(u64::MAX))
    }
    .boxed()
}

/// Numbers and chains audit events.
pub(super) fn seal_audit(ctx: &Ctx) -> BoxFuture<'_, Result<u64>> {
    async move {
        let mut sealed = 0;
        loop {
            let n = audit::seal_batch(ctx.store(), ctx.now(), 1_000).await?;
            sealed += n;
            if n < 1_000 {
                return Ok(sealed);
            }
        }
    }
    .boxed()
}

/// Signs the head of the audit chain.
pub(super) fn checkpoint_audit(ctx: &Ctx) -> BoxFuture<'_, Result<u64>> {
    async move {
        let key = crate::seal::key(ctx).await?;
        Ok(u64::from(audit::checkpoint(ctx.store(), &key, ctx.now()).await?.is_some()))
    }
    .boxed()
}

/// Folds counter deltas into totals.
pub(super) fn fold_counters(ctx: &Ctx) -> BoxFuture<'_, Result<u64>> {
    async move { Ok(counters::fold(ctx.store(), ctx.now()).await?) }.boxed()
}

/// Tells CAs of revocations; one that cannot be told now is told later, and keeps no other back.
pub(super) fn tell_revocations(ctx: &Ctx) -> BoxFuture<'_, Result<u64>> {
    async move {
        let mut told = 0;
        let mut deaf = BTreeSet::new();
        for (id, version, reason) in certificates::revocations_to_tell(ctx.store().db(), ctx.now(), 100).await? {
            let Some(version) = certificates::version(ctx.store().db(), &version).await? else {
                continue;
            };
            if deaf.contains(&version.issuer_id) {
                continue;
            }
            match tell(ctx, &version, reason).await {
                Ok(()) => {
                    let mut tx = ctx.write().await?;
                    certificates::revocation_told(&mut tx, &id).await?;
                    let audit = Audit::new(AuditCategory::CertLifecycle, "revocation.tell", "certificate", &version.certificate_id)
                        .with("serial_number", version.serial_number.as_str())
                        .with("issuer", version.issuer_id.to_string());
                    tx.commit(audit).await?;
                    told += 1;
                }
                Err(Untold { refused, error }) => {
                    tracing::warn!(issuer.id = %version.issuer_id, error, "an issuer did not take a revocation; it is told again");
                    let mut tx = ctx.write().await?;
                    let attempts = certificates::revocation_not_told(&mut tx, &id).await?;
                    let at = ctx.now().saturating_add(deploy::wait_after(attempts, deploy::Retrying::Helps));
                    // What is refused concerns this one; a CA that does not answer is asked nothing more for a while.
                    let which = if refused { Waiting::One(&id) } else { Waiting::AllOf(&version.issuer_id) };
                    certificates::tell_later(&mut tx, which, at).await?;
                    tx.commit_housekeeping("revocation.tell").await?;
                    if !refused {
                        deaf.insert(version.issuer_id);
                    }
                }
            }
        }
        Ok(told)
    }
    .boxed()
}

/// Why a CA was not told.
struct Untold {
    /// Whether it answered, and does not want this one.
    refused: bool,
    error: String,
}

async fn tell(ctx: &Ctx, version: &Version, reason: RevocationReason) -> Result<(), Untold> {
    let here = |error: Error| Untold { refused: false, error: error.to_string() };
    let issuer = table::get::<Issuer>(ctx.store().db(), &version.issuer_id).await.map_err(|error| here(error.into()))?;
    let issuer = issuer.ok_or_else(|| here(Error::not_found("issuer", &version.issuer_id)))?;
    let connector = ctx.engine().issuers().get(ctx, &issuer).await.map_err(here)?;
    let revocation = Revocation {
        serial: version.serial_number.clone(),
        issuer_ref: version.issuer_ref.clone(),
        chain_pem: version.pem_chain.clone(),
        reason,
    };
    match connector.revoke(&revocation).await {
        Err(error) if !matches!(error.retry(), Retry::Unsupported) => {
            Err(Untold { refused: matches!(error.retry(), Retry::Permanent), error: error.explain() })
        }
        _ => Ok(()),
    }
}

/// Prunes what is older than it need be kept.
pub(super) fn prune(ctx: &Ctx) -> BoxFuture<'_, Result<u64>> {
    async move {
        let pruned = retention::prune_all(ctx.store(), ctx.now(), &ctx.engine().options().retention).await?;
        Ok(pruned.values().sum())
    }
    .boxed()
}

/// Writes what agents and keys did since the last time.
pub(super) fn flush_heartbeats(ctx: &Ctx) -> BoxFuture<'_, Result<u64>> {
    async move {
        let flushed = ctx.engine().heartbeats().flush(ctx.store(), ctx.now()).await?;
        Ok(flushed.agents + flushed.keys)
    }
    .boxed()
}
