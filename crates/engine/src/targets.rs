//! Targets: their settings, checked by the connector that the agent will run.

use std::collections::BTreeSet;

use certctl_domain::certificate::Certificate;
use certctl_domain::ids::TargetId;
use certctl_domain::noun::Refusal;
use certctl_domain::target::Target;
use certctl_store::{Topic, WriteTx, certificates, table, targets};
use certctl_targets::TARGETS;
use serde_json::Value;

use crate::connectors::{Settings, config_error};
use crate::crud::{Actions, Hidden, Managed};
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::{deploy, holders, issue};

impl Managed for Target {
    const ACTIONS: Actions = crate::actions!("target");
    const TOPIC: Option<Topic> = Some(Topic::Progress);

    async fn before_write(_ctx: &Ctx, tx: &mut WriteTx, old: Option<&Self>, new: &mut Self) -> Result<Hidden> {
        let entry = TARGETS.find(&new.kind).map_err(|e| {
            let mut refusal = Refusal::field("type", e.to_string());
            refusal.hint = e.advice().map(str::to_owned);
            refusal
        })?;
        entry.kind.clone_into(&mut new.kind);
        let agent = certctl_store::agents::get_in(tx, &new.agent_id).await?;
        match agent {
            None => {
                return Err(Refusal::field("agent_id", format!("there is no agent `{}`", new.agent_id))
                    .hint("`certctl agents list` shows them")
                    .into());
            }
            Some(agent) if agent.retired_at.is_some() && new.enabled => {
                return Err(Refusal::field("agent_id", format!("agent `{}` is retired", agent.name)).into());
            }
            Some(_) => {}
        }
        let kept = match old {
            Some(old) => targets::secret_in(tx, &old.id).await?,
            None => None,
        };
        let settings =
            Settings { schema: TARGETS.schema(&new.kind).map_err(|e| config_error(&e))?, given: &new.config, kept: kept.as_ref() };
        TARGETS.build(&new.kind, settings.whole(tx).await?).map_err(|e| config_error(&e))?;
        let (shown, secret) = settings.keep(tx).await?;
        new.config = shown;
        Ok(vec![("secret_id", secret.as_ref().into())])
    }

    async fn after_write(ctx: &Ctx, tx: &mut WriteTx, old: Option<&Self>, new: &Self) -> Result<()> {
        if old.is_none_or(|old| old.enabled == new.enabled && old.agent_id == new.agent_id) {
            return Ok(());
        }
        let only = BTreeSet::from([new.id.clone()]);
        for id in certificates::on_target(tx, &new.id).await? {
            let Some(certificate) = table::get_for_update::<Certificate>(tx, &id).await?.filter(|found| found.status.ended().is_none())
            else {
                continue;
            };
            let certificate = holders::changed(ctx, tx, &certificate, "the target was changed").await?;
            deploy::start_on(ctx, tx, &certificate, Some(&only), "the target was changed").await?;
            let certificate = issue::start_where_missing(ctx, tx, &certificate, "a target was changed, and its agent holds no key").await?;
            // What was due while nobody could be asked is looked at now.
            issue::settle(tx, &certificate, |_| {}).await?;
        }
        Ok(())
    }
}

/// The target's whole settings, for the agent beside it and for nobody else.
///
/// # Errors
/// When there is no such target, or a secret cannot be unsealed.
pub async fn whole(ctx: &Ctx, id: &TargetId) -> Result<(Target, serde_json::Map<String, Value>)> {
    let target = certctl_store::table::get::<Target>(ctx.store().db(), id).await?.ok_or_else(|| Error::not_found("target", id))?;
    let secret = targets::secret_of(ctx.store().db(), id).await?;
    match crate::connectors::whole_config(ctx, &target.config, secret.as_ref()).await? {
        Value::Object(config) => Ok((target, config)),
        _ => Err(Error::internal("settings are not an object")),
    }
}

/// The kinds of targets: name, what it is, and the JSON schema of its settings.
pub fn kinds() -> impl Iterator<Item = (&'static str, &'static str, Value)> {
    TARGETS.entries().iter().map(|entry| (entry.kind, entry.summary, (entry.schema)().to_value()))
}
