//! Looks at every certificate about which something is to be decided, page by page through the index on its next look.

use certctl_domain::ids::CertificateId;
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
            let ids: Vec<CertificateId> = due.iter().map(|(_, id)| id.clone()).collect();
            let mut waiting = Vec::new();
            for batch in ids.chunks(AT_ONCE) {
                waiting.push(look(ctx, batch));
            }
            let mut looks = stream::iter(waiting).buffer_unordered(BATCHES);
            while let Some(begun) = looks.next().await {
                started += begun;
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

/// A batch in one transaction; of one that cannot be looked at, each certificate in its own.
async fn look(ctx: &Ctx, ids: &[CertificateId]) -> u64 {
    let error = match renewal::look(ctx, ids).await {
        Ok(started) => return started,
        Err(error) => error,
    };
    tracing::warn!(error = %error, n_certificates = ids.len(), "certificates cannot be looked at together; each is looked at by itself");
    let mut started = 0;
    for id in ids {
        match renewal::look(ctx, std::slice::from_ref(id)).await {
            Ok(begun) => started += begun,
            Err(error) => tracing::error!(cert.id = %id, error = %error, "a certificate cannot be looked at"),
        }
    }
    started
}

const PAGE: i64 = 400;
/// How many are locked and written together.
const AT_ONCE: usize = 100;
/// Fewer than a replica has connections to the database.
const BATCHES: usize = 2;
