//! The key that signs checkpoints of the audit chain: made once, kept sealed, the same on every replica.

use certctl_store::audit::CheckpointKey;
use certctl_store::{meta, secrets};

use crate::ctx::Ctx;
use crate::error::Result;

/// The key, made now if there is none.
///
/// # Errors
/// When the database fails or the key cannot be unsealed.
pub async fn key(ctx: &Ctx) -> Result<CheckpointKey> {
    let found = match meta::get(ctx.store().db(), NAME).await? {
        Some(found) => found,
        None => {
            let (_, der) = CheckpointKey::generate()?;
            let mut tx = ctx.write().await?;
            let id = secrets::seal(&mut tx, "audit checkpoint key", der.expose()).await?;
            let kept = meta::set_if_absent(&mut tx, NAME, &id.to_string()).await?;
            if kept == id.to_string() {
                tx.commit_housekeeping("audit_checkpoint_key").await?;
            }
            kept
        }
    };
    let id = certctl_domain::ids::Id::parse(&found).map_err(|e| crate::Error::internal(e.to_string()))?;
    let der = secrets::open(ctx.store(), &id).await?;
    Ok(CheckpointKey::from_pkcs8(der.expose())?)
}

const NAME: &str = "audit.checkpoint_key";
