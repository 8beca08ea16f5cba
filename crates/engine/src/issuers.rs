//! Issuers: their settings, their CA certificates, and whether they would answer.

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::ids::IssuerId;
use certctl_domain::issuer::Issuer;
use certctl_issuers::ISSUERS;
use certctl_store::authorities::{self, Purpose};
use certctl_store::{Topic, WriteTx, issuers};

use crate::Engine;
use crate::authorities::recertify;
use crate::connectors::{Settings, check_is_kept_once, config_error};
use crate::crud::{self, Actions, Hidden, Managed};
use crate::ctx::Ctx;
use crate::error::Result;

impl Managed for Issuer {
    const ACTIONS: Actions = crate::actions!("issuer");
    const TOPIC: Option<Topic> = Some(Topic::Issuers);

    fn is_within(&self, ctx: &Ctx) -> bool {
        ctx.reach().includes(None, Some(self.id.to_string().as_str()))
    }

    async fn before_write(ctx: &Ctx, tx: &mut WriteTx, old: Option<&Self>, new: &mut Self) -> Result<Hidden> {
        let entry = ISSUERS.find(&new.kind).map_err(|e| {
            let mut refusal = certctl_domain::noun::Refusal::field("type", e.to_string());
            refusal.hint = e.advice().map(str::to_owned);
            refusal
        })?;
        entry.kind.clone_into(&mut new.kind);
        let kept = match old {
            Some(old) => issuers::secret_in(tx, &old.id).await?,
            None => None,
        };
        let settings =
            Settings { schema: ISSUERS.schema(&new.kind).map_err(|e| config_error(&e))?, given: &new.config, kept: kept.as_ref() };
        let connector = ISSUERS.build(&new.kind, settings.whole(tx).await?).map_err(|e| config_error(&e))?;
        let held = match old {
            Some(old) => authorities::active_in(tx, Purpose::Issuing, Some(&old.id)).await?,
            None => None,
        };
        connector.check(held.as_ref().map(|held| held.chain_pem.as_str()), ctx.now()).map_err(|e| config_error(&e))?;
        match (connector.imports(), &held) {
            (Some(chain_pem), None) => check_is_kept_once(tx, old.map(|old| &old.id), chain_pem).await?,
            // The connector has seen that it is the same CA.
            (Some(chain_pem), Some(held)) if chain_pem != held.chain_pem => {
                recertify(tx, held, chain_pem).await?;
            }
            _ => {}
        }
        let (shown, secret) = settings.keep(tx).await?;
        new.config = shown;
        Ok(vec![("secret_id", secret.as_ref().into())])
    }
}

/// Asks the issuer whether it would answer, and notes that.
///
/// # Errors
/// When it would not.
pub async fn test(ctx: &Ctx, id: &IssuerId) -> Result<String> {
    let issuer: Issuer = crud::load(ctx, id).await?;
    let outcome = match ctx.engine().issuers().get(ctx, &issuer).await {
        Ok(connector) => connector.test(ctx.now()).await.map_err(crate::connectors::connector_error),
        Err(error) => Err(error),
    };
    let status = if outcome.is_ok() { "ok" } else { "failed" };
    let mut tx = ctx.write().await?;
    issuers::tested(&mut tx, id, status, ctx.now()).await?;
    tx.commit(Audit::new(AuditCategory::Config, "issuer.test", "issuer", id).with("outcome", status)).await?;
    outcome
}

/// Puts a new key in the place of the one by which the issuer's CA knows this installation.
///
/// # Errors
/// When the issuer has no such key, or its CA refuses or cannot be reached; it can then be tried again.
pub async fn roll_account_key(ctx: &Ctx, id: &IssuerId) -> Result<()> {
    let issuer: Issuer = crud::load(ctx, id).await?;
    let connector = ctx.engine().issuers().get(ctx, &issuer).await?;
    connector.roll_account_key(ctx.now()).await.map_err(crate::connectors::connector_error)
}

/// What an ACME CA that asks over plain HTTP for this token is to be answered (RFC 8555 section 8.3).
///
/// # Errors
/// When the database fails.
pub async fn http_challenge(engine: &Engine, token: &str) -> Result<Option<String>> {
    Ok(certctl_store::acme_challenges::answer(engine.store().db(), token, engine.now()).await?)
}

/// The key authorization that a TLS handshake for a name is to prove to an ACME CA (RFC 8737 section 3).
///
/// # Errors
/// When the database fails.
pub async fn tls_challenge(engine: &Engine, server_name: &str) -> Result<Option<String>> {
    Ok(certctl_store::acme_challenges::of_server_name(engine.store().db(), server_name, engine.now()).await?)
}

/// The issuer's CA certificate and those above it, in PEM.
///
/// # Errors
/// When they are not known.
pub async fn authorities(ctx: &Ctx, id: &IssuerId) -> Result<String> {
    let issuer: Issuer = crud::load(ctx, id).await?;
    let connector = ctx.engine().issuers().get(ctx, &issuer).await?;
    connector.authorities().await.map_err(crate::connectors::connector_error)
}

/// The kinds of issuers: name, what it is, and the JSON schema of its settings.
pub fn kinds() -> impl Iterator<Item = (&'static str, &'static str, serde_json::Value)> {
    ISSUERS.entries().iter().map(|entry| (entry.kind, entry.summary, (entry.schema)().to_value()))
}
