//! Looks at every certificate about which something is to be decided, page by page through the index on its next look.

use certctl_store::certificates;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};

use crate::ctx::Ctx;
use crate::error::Result;
use crate::renewal;

pub(super) fn run(ctx: &Ctx) -> BoxFuture<'_, Result<u64>> {
    async move {
        let now = ctx.now();
        let mut after = None;
        let mut started = 0;
        loop {
            let due = certificates::due(ctx.store().db(), now, after.clone(), PAGE).await?;
            // Each is a transaction of its own, which mostly waits for the database.
            let mut waiting = Vec::with_capacity(due.len());
            for (_, id) in &due {
                waiting.push(async move { (id, renewal::look(ctx, id).await) });
            }
            let mut looks = stream::iter(waiting).buffer_unordered(AT_ONCE);
            while let Some((id, looked)) = looks.next().await {
                match looked {
                    Ok(true) => started += 1,
                    Ok(false) => {}
                    // One certificate that cannot be looked at does not keep the others back.
                    Err(error) => tracing::error!(cert.id = %id, error = %error, "a certificate cannot be looked at"),
                }
            }
            drop(looks);
            if due.len() < usize::try_from(PAGE).unwrap_or(usize::MAX) {
                return Ok(started);
            }
            after = due.last().cloned();
        }
    }
    .boxed()
}

const PAGE: i64 = 200;
/// Fewer than a replica has connections to the database.
const AT_ONCE: usize = 6;
