//! Issuers: what is asked of them beside create, read, list, replace and delete.

use certctl_domain::auth::perm;
use certctl_domain::issuer::Issuer;
use certctl_engine::issuers;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::{Authorized, Json, Named, Plain, Text};
use crate::problem::Answer;

/// How a test went.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tested {
    /// `ok` or `failed`
    pub status: String,
    /// What was seen.
    pub message: String,
}

/// A kind of connector.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConnectorKind {
    /// Its name.
    pub kind: String,
    /// What it is.
    pub summary: String,
    /// The JSON schema of its settings.
    #[schema(value_type = Object)]
    pub schema: serde_json::Value,
}

impl From<(&str, &str, serde_json::Value)> for ConnectorKind {
    fn from((kind, summary, schema): (&str, &str, serde_json::Value)) -> Self {
        Self { kind: kind.to_owned(), summary: summary.to_owned(), schema }
    }
}

/// Asks an issuer whether it would answer.
///
/// # Errors
/// When it would not; the same for every function here.
pub async fn test(ctx: Authorized<perm::IssuerEdit>, Named(id): Named<Issuer>) -> Answer<Json<Tested>> {
    let message = issuers::test(&ctx, &id).await?;
    Ok(Json(Tested { status: "ok".to_owned(), message }))
}

/// Puts a new key in the place of the one by which the issuer's CA knows this installation.
///
/// # Errors
/// As [`test`].
pub async fn roll_account_key(ctx: Authorized<perm::IssuerEdit>, Named(id): Named<Issuer>) -> Answer<Json<Tested>> {
    issuers::roll_account_key(&ctx, &id).await?;
    Ok(Json(Tested { status: "ok".to_owned(), message: "the CA knows the new key".to_owned() }))
}

/// The CA certificates of an issuer, in PEM.
///
/// # Errors
/// As [`test`].
pub async fn authorities(ctx: Authorized<perm::IssuerRead>, Named(id): Named<Issuer>) -> Answer<Text<Plain>> {
    Ok(Text::new(issuers::authorities(&ctx, &id).await?))
}

/// The kinds of issuers with the schemas of their settings.
///
/// # Errors
/// None.
pub async fn kinds(_ctx: Authorized<perm::IssuerRead>) -> Answer<Json<Vec<ConnectorKind>>> {
    Ok(Json(issuers::kinds().map(ConnectorKind::from).collect()))
}
