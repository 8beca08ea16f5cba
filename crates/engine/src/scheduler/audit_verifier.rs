//! Verifies the chain of audit events by itself: every few minutes what is new, once a day all of it.

use certctl_store::audit::{self, Verify, VerifyReport, Watch};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::ctx::Ctx;
use crate::error::Result;
use crate::seal;

/// Gives how many events were checked.
pub(super) fn run(ctx: &Ctx) -> BoxFuture<'_, Result<u64>> {
    async move {
        let now = ctx.now();
        let before = audit::watched(ctx.store().db()).await?;
        let keys = [seal::key(ctx).await?.public_key()];
        let after = match before {
            Some(known) if known.broken.is_some() && now < known.verified_at.saturating_add(BROKEN_AGAIN) => return Ok(0),
            Some(Watch { broken: None, through: Some(through), whole_at, .. }) if now < whole_at.saturating_add(WHOLE_EVERY) => {
                let report = audit::verify_since(ctx.store().db(), &through, &keys).await?;
                (
                    report.checked,
                    Watch { through: report.head.clone().or(Some(through)), verified_at: now, whole_at, broken: report.first_break },
                )
            }
            before => {
                let report: VerifyReport = audit::verify(ctx.store().db(), &Verify { from: None, trusted_keys: &keys }, |_| ()).await?;
                let through = report.head.or_else(|| before.and_then(|before| before.through));
                // What came to its end now was begun at `now`: what was written meanwhile is seen the next time.
                (report.checked, Watch { through, verified_at: now, whole_at: now, broken: report.first_break })
            }
        };
        let (checked, watch) = after;
        if let Some(broken) = &watch.broken {
            tracing::error!(audit.sequence = broken.sequence, "the chain of audit events does not hold: {broken}");
        }
        audit::remember(ctx.store(), ctx.now(), &watch).await?;
        Ok(u64::try_from(checked).unwrap_or(0))
    }
    .boxed()
}

/// How often all of it is verified.
const WHOLE_EVERY: time::Duration = time::Duration::DAY;

/// How often all of it is verified while it does not hold: somebody may put it right.
const BROKEN_AGAIN: time::Duration = time::Duration::HOUR;
