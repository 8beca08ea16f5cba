//! API keys.

use std::time::Duration;

use certctl_api::auth::{ApiKeyRequest, MintedApiKey, RotateApiKeyRequest, RotatedApiKey};
use certctl_api::duration::DurationText;
use certctl_domain::auth::ApiKey;
use certctl_domain::auth::perm::{AuthKeyCreate, AuthKeyDelete, AuthKeyList, AuthKeyRotate};
use certctl_domain::ids::ApiKeyId;
use certctl_domain::noun::Refusal;
use certctl_domain::time::Timestamp;
use certctl_engine::auth::{NewKey, Rotation, keys};
use certctl_store::api_keys::TABLE;
use certctl_store::table::Table;

use crate::api::{Authorized, Body, Created, Json, Listing, NoContent, OptionalBody, Path, Rows, RowsParams};
use crate::problem::Answer;

impl Rows for ApiKey {
    const TABLE: Table = TABLE;
}

/// Lists keys, never with a value.
pub async fn list(ctx: Authorized<AuthKeyList>, params: RowsParams<ApiKey>) -> Answer<Listing<ApiKey>> {
    let page = keys::list(&ctx, &params.query).await?;
    Ok(params.answer(page))
}

/// Makes a key, whose value is shown this once.
pub async fn create(ctx: Authorized<AuthKeyCreate>, Body(body): Body<ApiKeyRequest>) -> Answer<Created<MintedApiKey>> {
    let actor = body.actor_id.unwrap_or_else(|| ctx.actor().clone());
    let name = body.name.unwrap_or_else(|| actor.to_string());
    let expires_at = end(body.expires_at, body.expires_in, ctx.now())?;
    let minted = keys::mint(&ctx, NewKey { actor, name, expires_at }).await?;
    let location = format!("{PATH}/{}", minted.key.id);
    Ok(Created::at(MintedApiKey { key: minted.key, key_value: minted.value.expose().clone() }, location))
}

/// Reads a key.
pub async fn get(ctx: Authorized<AuthKeyList>, Path(id): Path<ApiKeyId>) -> Answer<Json<ApiKey>> {
    Ok(Json(keys::get(&ctx, &id).await?))
}

/// Takes a key back.
pub async fn delete(ctx: Authorized<AuthKeyDelete>, Path(id): Path<ApiKeyId>) -> Answer<NoContent> {
    keys::revoke(&ctx, &id).await?;
    Ok(NoContent)
}

/// Replaces a key by a new one, while the old one stays in force for an overlap.
pub async fn rotate(
    ctx: Authorized<AuthKeyRotate>,
    Path(id): Path<ApiKeyId>,
    OptionalBody(body): OptionalBody<RotateApiKeyRequest>,
) -> Answer<Created<RotatedApiKey>> {
    let overlap = body.overlap.map_or(DEFAULT_OVERLAP, DurationText::get);
    let overlap = time::Duration::try_from(overlap).map_err(|_| Refusal::field("overlap", "is too long"))?;
    let expires_at = end(body.expires_at, body.expires_in, ctx.now())?;
    let rotated = keys::rotate(&ctx, &id, Rotation { overlap, expires_at }).await?;
    let location = format!("{PATH}/{}", rotated.minted.key.id);
    let response = RotatedApiKey {
        key: rotated.minted.key,
        key_value: rotated.minted.value.expose().clone(),
        replaces: id,
        replaced_ends_at: rotated.old_ends_at,
    };
    Ok(Created::at(response, location))
}

fn end(at: Option<Timestamp>, within: Option<DurationText>, now: Timestamp) -> Answer<Option<Timestamp>> {
    match (at, within) {
        (Some(_), Some(_)) => Err(Refusal::field("expires_in", "cannot stand beside expires_at").into()),
        (at, None) => Ok(at),
        (None, Some(within)) => {
            let within = time::Duration::try_from(within.get()).map_err(|_| Refusal::field("expires_in", "is too long"))?;
            Ok(Some(now.saturating_add(within)))
        }
    }
}

const PATH: &str = "/api/v1/auth/apikeys";
const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);
