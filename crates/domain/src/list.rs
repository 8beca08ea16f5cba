//! How lists are asked for and answered: the same for every noun.

use serde::Serialize;
use utoipa::ToSchema;

/// What is asked of a list. Names of filters and sort fields are checked against the noun's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Free text, searched in the noun's search fields.
    pub q: Option<String>,
    /// `field=value` pairs that must all hold.
    pub filters: Vec<(String, String)>,
    /// `field` or `-field`.
    pub sort: Option<String>,
    /// Rows per page, 1 to 500.
    pub per_page: i64,
    /// Where to go on, from `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Page number for callers that count pages; 1 is the first.
    pub page: i64,
}

impl Default for ListQuery {
    fn default() -> Self {
        Self { q: None, filters: Vec::new(), sort: None, per_page: 50, cursor: None, page: 1 }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// How many rows there are over all pages.
    pub total: i64,
    /// Whether `total` is an estimate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub total_is_estimate: bool,
    /// The page's number; 1 when a cursor is used.
    pub page: i64,
    /// Rows per page.
    pub per_page: i64,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
