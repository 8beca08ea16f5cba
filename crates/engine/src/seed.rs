//! What a fresh installation has: one issuer, one profile, one renewal policy, the system roles.

use std::sync::Arc;

use certctl_domain::certificate::{DEFAULT_ISSUER, DEFAULT_POLICY, DEFAULT_PROFILE};
use certctl_domain::issuer::Issuer;
use certctl_domain::profile::Profile;
use certctl_domain::renewal::RenewalPolicy;
use certctl_store::{meta, table};
use serde_json::json;

use crate::crud::{self, Managed};
use crate::ctx::Ctx;
use crate::error::{Error, ErrorKind, Result};
use crate::{Engine, auth};

/// Makes what is missing of it, once in the life of an installation: what somebody deleted later stays deleted. The roles are kept
/// as this release has them. The built-in CA is founded here, so that a start which succeeds can issue.
///
/// # Errors
/// When the database fails, or the built-in CA cannot be opened.
pub async fn seed(engine: &Arc<Engine>) -> Result<()> {
    auth::seed_roles(engine).await?;
    let ctx = Ctx::system(engine, "seed");
    if meta::get(ctx.store().db(), SEEDED).await?.is_none() {
        make::<Profile>(
            &ctx,
            json!({"id": DEFAULT_PROFILE, "name": "default", "description": "TLS servers", "allowed_ekus": ["serverAuth"]}),
        )
        .await?;
        make::<RenewalPolicy>(&ctx, json!({"id": DEFAULT_POLICY, "name": "default"})).await?;
        make::<Issuer>(&ctx, json!({"id": DEFAULT_ISSUER, "name": "local", "type": "GenericCA", "config": {}})).await?;
        let mut tx = ctx.write().await?;
        meta::set_if_absent(&mut tx, SEEDED, &ctx.now().to_string()).await?;
        tx.commit_housekeeping("seed").await?;
    }
    let id = certctl_domain::ids::Id::parse(DEFAULT_ISSUER).map_err(|e| Error::internal(e.to_string()))?;
    if let Some(issuer) = table::get::<Issuer>(ctx.store().db(), &id).await?.filter(|issuer| issuer.enabled) {
        ctx.engine().issuers().get(&ctx, &issuer).await?;
    }
    Ok(())
}

async fn make<N: Managed>(ctx: &Ctx, draft: serde_json::Value) -> Result<()> {
    let draft = serde_json::from_value(draft).map_err(|e| Error::internal(format!("a seed is not as it should be: {e}")))?;
    match crud::create::<N>(ctx, draft).await {
        Ok(noun) => {
            tracing::info!(kind = N::KIND, id = %noun.id(), "made for the fresh installation");
            Ok(())
        }
        // Another replica was faster.
        Err(Error { kind: ErrorKind::Conflict, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

const SEEDED: &str = "seeded_at";
