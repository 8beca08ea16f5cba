//! The tasks of publishing: lists and responders are made by one replica, what is in memory is kept fresh by each.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::ctx::Ctx;
use crate::error::Result;
use crate::{crl, ocsp};

/// Renews the CAs that are kept here.
pub(super) fn authorities(ctx: &Ctx) -> BoxFuture<'_, Result<u64>> {
    crate::authorities::keep(ctx).boxed()
}

/// Makes the revocation lists that are due.
pub(super) fn lists(ctx: &Ctx) -> BoxFuture<'_, Result<u64>> {
    crl::keep(ctx).boxed()
}

/// Opens further lists where one is named by many certificates.
pub(super) fn divide(ctx: &Ctx) -> BoxFuture<'_, Result<u64>> {
    crl::divide(ctx).boxed()
}

/// Makes and replaces OCSP responders.
pub(super) fn responders(ctx: &Ctx) -> BoxFuture<'_, Result<u64>> {
    ocsp::keep(ctx).boxed()
}

/// Forgets what this replica has in memory and is stale.
pub(super) fn refresh(ctx: &Ctx) -> BoxFuture<'_, Result<u64>> {
    async move { ctx.engine().shelf().look(ctx).await }.boxed()
}
