//! What is published about the certificates of the CAs that are kept here.

use certctl_domain::ids::{AuthorityId, IssuerId};
use certctl_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The revocation lists that are published.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CrlCache {
    /// One for each list.
    pub cache_rows: Vec<CrlCacheRow>,
    /// How many there are.
    pub row_count: i64,
    /// When this was looked at.
    pub generated_at: Timestamp,
}

/// One revocation list. What is said of an edition is absent until the first one is published.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CrlCacheRow {
    /// The issuer.
    pub issuer_id: IssuerId,
    /// Its number among the lists of the issuer, as in its address.
    pub list: i64,
    /// The CA that signs it.
    pub authority_id: AuthorityId,
    /// The distribution point, for a list about the certificates that name it; absent for one about all certificates of its CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution_point: Option<String>,
    /// Since when certificates name it.
    pub opened_at: Timestamp,
    /// The number of the edition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl_number: Option<i64>,
    /// As of when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub this_update: Option<Timestamp>,
    /// By when there is a newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_update: Option<Timestamp>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated_at: Option<Timestamp>,
    /// How long that took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_duration_ms: Option<i64>,
    /// How many certificates it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_count: Option<i64>,
    /// How long it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    /// SHA-256 of its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}
