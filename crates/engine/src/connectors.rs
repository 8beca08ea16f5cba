//! Settings of connectors: checked against their own types, secrets kept apart, and issuers ready to be asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use certctl_connector_core::ConnectorError;
use certctl_domain::audit::{Audit, AuditCategory};
use certctl_domain::ids::{IssuerId, SecretId};
use certctl_domain::issuer::Issuer;
use certctl_domain::noun::Refusal;
use certctl_domain::secret::Secret;
use certctl_issuers::{Held, ISSUERS, Surroundings};
use certctl_pki::certificate::Certificate;
use certctl_store::authorities::{self, Authority, Purpose};
use certctl_store::{StoreError, WriteTx, issuers, secrets};
use schemars::Schema;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use crate::ctx::Ctx;
use crate::error::{Error, ErrorKind, Result};
use crate::vault::StoredVault;

/// What stands in place of a secret wherever settings are shown.
pub const REDACTED: &str = "[redacted]";

/// Issuers that are ready, by id; a changed revision makes a new one.
#[derive(Debug, Default)]
pub struct IssuerCache {
    ready: Mutex<HashMap<IssuerId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    revision: i64,
    connector: Arc<dyn certctl_issuers::Issuer>,
}

impl IssuerCache {
    /// For how long this process leaves the CA of each issuer alone, of those that it does. While an issuer is being made ready, of none: who
    /// only looks does not wait for that.
    #[must_use]
    pub fn left_alone(&self) -> HashMap<IssuerId, Duration> {
        let Ok(ready) = self.ready.try_lock() else {
            return HashMap::new();
        };
        ready.iter().filter_map(|(id, entry)| Some((id.clone(), entry.connector.left_alone()?))).collect()
    }

    /// The issuer, ready to be asked. One that keeps its CA here has it founded on first use.
    ///
    /// # Errors
    /// When its settings are wrong, or its CA cannot be founded or opened.
    pub async fn get(&self, ctx: &Ctx, issuer: &Issuer) -> Result<Arc<dyn certctl_issuers::Issuer>> {
        let mut ready = self.ready.lock().await;
        if let Some(entry) = ready.get(&issuer.id).filter(|entry| entry.revision == issuer.revision) {
            return Ok(Arc::clone(&entry.connector));
        }
        let config = whole_config(ctx, &issuer.config, issuers::secret_of(ctx.store().db(), &issuer.id).await?.as_ref()).await?;
        let mut connector = ISSUERS.build(&issuer.kind, config).map_err(connector_error)?;
        let engine = ctx.engine();
        let vault = StoredVault::new(ctx.store().clone(), Arc::clone(engine.clock()), issuer.id.clone());
        connector.settle_in(Surroundings { vault: Arc::new(vault), commands: engine.options().commands.clone() });
        if connector.keeps_authority() {
            let held = authority(ctx, issuer, connector.as_ref()).await?;
            connector.hold(&held).map_err(connector_error)?;
        }
        let connector: Arc<dyn certctl_issuers::Issuer> = Arc::from(connector);
        ready.insert(issuer.id.clone(), Entry { revision: issuer.revision, connector: Arc::clone(&connector) });
        Ok(connector)
    }
}

/// The CA of an issuer: the one that is kept, or one founded now. Replicas that found at the same time agree on one.
async fn authority(ctx: &Ctx, issuer: &Issuer, connector: &dyn certctl_issuers::Issuer) -> Result<Held> {
    if let Some(held) = open_authority(ctx, Purpose::Issuing, Some(&issuer.id)).await? {
        return Ok(held);
    }
    let founded = connector.found(ctx.now()).await.map_err(connector_error)?;
    let mut tx = ctx.write().await?;
    check_is_kept_once(&mut tx, Some(&issuer.id), &founded.issuing.chain_pem).await?;
    if insert_authority(&mut tx, Purpose::Issuing, Some(&issuer.id), &founded.issuing).await? {
        if let Some(root) = &founded.root {
            insert_authority(&mut tx, Purpose::Root, Some(&issuer.id), root).await?;
        }
        tx.commit(Audit::new(AuditCategory::Config, "issuer.found", "issuer", &issuer.id).with("name", issuer.name.as_str())).await?;
        return Ok(founded.issuing);
    }
    drop(tx);
    let other = open_authority(ctx, Purpose::Issuing, Some(&issuer.id)).await?;
    other.ok_or_else(|| Error::internal("an authority that another replica founded is gone"))
}

/// A CA is kept for one issuer alone: of two, each would list only what it revoked itself, under the name of both (RFC 5280 section 5).
///
/// # Errors
/// When another issuer has it, or the database fails.
pub async fn check_is_kept_once(tx: &mut WriteTx, own: Option<&IssuerId>, chain_pem: &str) -> Result<()> {
    let name_and_key = |pem: &str| Certificate::parse_pem(pem).ok().map(|ca| (ca.subject_der().to_vec(), ca.spki().to_vec()));
    // What cannot be read is refused by the connector.
    let Some(wanted) = name_and_key(chain_pem) else {
        return Ok(());
    };
    for kept in authorities::list_in(tx).await? {
        if let Some(other) = kept.issuer_id.as_ref().filter(|other| Some(*other) != own)
            && name_and_key(&kept.chain_pem).as_ref() == Some(&wanted)
        {
            let mut refusal = Refusal::field("config.ca_certificate_pem", format!("is the CA of issuer `{other}` already"));
            refusal.hint = Some("give that issuer to the certificates: two would each publish a part of what the CA revoked".to_owned());
            return Err(refusal.into());
        }
    }
    Ok(())
}

/// Opens the authority of a purpose, with its key.
///
/// # Errors
/// When the database fails, or the key cannot be unsealed.
pub async fn open_authority(ctx: &Ctx, purpose: Purpose, issuer: Option<&IssuerId>) -> Result<Option<Held>> {
    let Some(authority) = authorities::active(ctx.store().db(), purpose, issuer).await? else {
        return Ok(None);
    };
    let key = secrets::open(ctx.store(), &authority.secret_id).await?;
    let key_pem = String::from_utf8(key.expose().clone()).map_err(|_| Error::internal("a CA key that is kept is not PEM"))?;
    Ok(Some(Held { chain_pem: authority.chain_pem, key_pem: Secret::new(key_pem) }))
}

/// Writes an authority with its sealed key; `false` when there is an active one already, and nothing may be committed.
///
/// # Errors
/// When the database fails.
pub async fn insert_authority(tx: &mut WriteTx, purpose: Purpose, issuer: Option<&IssuerId>, held: &Held) -> Result<bool> {
    let chain =
        certctl_pki::chain::Chain::parse_pem(&held.chain_pem).map_err(|e| Error::internal("a CA certificate cannot be read").because(e))?;
    let created_at = tx.now();
    let authority = Authority {
        id: tx.store().new_id(created_at)?,
        issuer_id: issuer.cloned(),
        purpose,
        chain_pem: held.chain_pem.clone(),
        secret_id: secrets::seal(tx, "authority", held.key_pem.expose().as_bytes()).await?,
        not_after: chain.leaf().not_after(),
        retired_at: None,
        created_at,
    };
    Ok(authorities::insert(tx, &authority).await?)
}

/// Settings as somebody gave them, with what the connector says about them.
#[derive(Debug)]
pub struct Settings<'a> {
    /// The connector's schema; `x-secret` marks secrets.
    pub schema: Schema,
    /// What was given; `[redacted]` keeps a secret that is there.
    pub given: &'a Map<String, Value>,
    /// The secrets that are there.
    pub kept: Option<&'a SecretId>,
}

impl Settings<'_> {
    /// The settings with every secret in place, to be checked.
    ///
    /// # Errors
    /// When a secret is said to stay that is not there, or cannot be unsealed.
    pub async fn whole(&self, tx: &mut WriteTx) -> Result<Value> {
        let mut config = self.given.clone();
        config.extend(self.secrets(tx).await?);
        Ok(Value::Object(config))
    }

    /// Seals the secrets; gives what may be shown and where the secrets are.
    ///
    /// # Errors
    /// When a secret is said to stay that is not there, or the database fails.
    pub async fn keep(&self, tx: &mut WriteTx) -> Result<(Map<String, Value>, Option<SecretId>)> {
        let secrets = self.secrets(tx).await?;
        let mut shown = self.given.clone();
        for name in secrets.keys() {
            shown.insert(name.clone(), Value::from(REDACTED));
        }
        if secrets.is_empty() {
            return Ok((shown, None));
        }
        let bytes = serde_json::to_vec(&secrets).map_err(|e| Error::internal("secrets cannot be written").because(e))?;
        Ok((shown, Some(secrets::seal(tx, "config", &bytes).await?)))
    }

    async fn secrets(&self, tx: &mut WriteTx) -> Result<Map<String, Value>> {
        let old = match self.kept {
            Some(id) => parsed(&secrets::open_in(tx, id).await?)?,
            None => Map::new(),
        };
        let mut secrets = Map::new();
        let fields = self.schema.as_value().get("properties").and_then(Value::as_object);
        for (name, field) in fields.into_iter().flatten() {
            let is_secret = field.get("x-secret").and_then(Value::as_bool).unwrap_or(false);
            match self.given.get(name).filter(|value| is_secret && !value.is_null()) {
                Some(value) if value == REDACTED => {
                    let kept = old
                        .get(name)
                        .ok_or_else(|| Refusal::field(format!("config.{name}"), "must be given: there is no secret to keep"))?;
                    secrets.insert(name.clone(), kept.clone());
                }
                Some(value) => {
                    secrets.insert(name.clone(), value.clone());
                }
                None => {}
            }
        }
        Ok(secrets)
    }
}

/// Settings with their secrets in place.
///
/// # Errors
/// When the database fails, or a secret cannot be unsealed.
pub async fn whole_config(ctx: &Ctx, shown: &Map<String, Value>, secret: Option<&SecretId>) -> Result<Value> {
    let mut config = shown.clone();
    if let Some(id) = secret {
        config.extend(parsed(&secrets::open(ctx.store(), id).await?)?);
    }
    Ok(Value::Object(config))
}

fn parsed(bytes: &Secret<Vec<u8>>) -> Result<Map<String, Value>> {
    serde_json::from_slice(bytes.expose()).map_err(|e| StoreError::Corrupt(format!("secrets of settings: {e}")).into())
}

/// What a connector says of settings that are wrong, as a refusal of `config`.
pub fn config_error(error: &ConnectorError) -> Error {
    let mut refusal = Refusal::field("config", error.to_string());
    refusal.hint = error.advice().map(str::to_owned);
    refusal.into()
}

/// What a connector says when it was asked.
pub fn connector_error(error: ConnectorError) -> Error {
    let hint = error.advice().map(str::to_owned);
    let mut out = Error::new(ErrorKind::Unavailable, "connector", error.explain()).because(error);
    out.hint = hint;
    out
}
