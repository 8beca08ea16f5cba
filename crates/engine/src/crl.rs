//! Revocation lists: made by one replica, numbered in the database, served by all of them from memory.

mod due;
mod make;
mod parts;

use std::sync::Arc;

use certctl_domain::ids::IssuerId;
use certctl_store::crls::{self, Edition};

use crate::ctx::Ctx;
use crate::error::{Error, ErrorKind, Result};

pub use make::keep;
pub use parts::divide;
pub(crate) use parts::open_list;

/// A published edition with its bytes.
#[derive(Debug)]
pub struct Served {
    /// What is known of it.
    pub edition: Edition,
    /// Its bytes.
    pub der: Arc<[u8]>,
}

/// A list of an issuer: the one of this number, or the one about all certificates of the CA that issues.
///
/// # Errors
/// When there is no such list, none was made yet, or the database fails.
pub async fn fetch(ctx: &Ctx, issuer: &IssuerId, shard: Option<i64>) -> Result<Arc<Served>> {
    let shelf = ctx.engine().shelf();
    let published = shelf.issuer(ctx, issuer).await?;
    let shard = published.list(shard)?.shard;
    if let Some(served) = shelf.served(issuer, shard) {
        return Ok(served);
    }
    let (edition, der) = crls::der(ctx.store().db(), issuer, shard).await?.ok_or_else(|| {
        Error::new(ErrorKind::Unavailable, "not_published_yet", format!("no edition of the list {issuer}/{shard} was made yet"))
    })?;
    let served = Arc::new(Served { edition, der: Arc::from(der) });
    shelf.serve(issuer, shard, Arc::clone(&served));
    Ok(served)
}

/// All lists as they stand in the database.
///
/// # Errors
/// When the database fails.
pub async fn list(ctx: &Ctx) -> Result<Vec<crls::List>> {
    Ok(crls::list(ctx.store().db()).await?)
}
