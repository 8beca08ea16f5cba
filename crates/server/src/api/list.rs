//! What is asked of a list: the same parameters for every one, and the filters of its table.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use certctl_domain::list::{ListQuery, Page};
use certctl_engine::Error;
use certctl_store::StoreError;
use certctl_store::table::{Kind, Stored, Table};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::operation::{Operation, Part};
use super::reply::Listing;
use crate::problem::Answer;
use crate::state::AppState;

/// What is asked of a list of nouns.
#[derive(Debug)]
pub struct ListParams<N> {
    /// The query.
    pub query: ListQuery,
    fields: Option<Vec<String>>,
    noun: PhantomData<N>,
}

/// What is asked of a list of rows that are not nouns.
#[derive(Debug)]
pub struct RowsParams<T> {
    /// The query.
    pub query: ListQuery,
    fields: Option<Vec<String>>,
    rows: PhantomData<T>,
}

/// Rows that are listed but are not nouns.
pub trait Rows {
    /// Their table.
    const TABLE: Table;
}

impl<N> ListParams<N> {
    /// The answer.
    pub fn answer<T>(self, page: Page<T>) -> Listing<T> {
        Listing::new(page, self.fields)
    }
}

impl<R> RowsParams<R> {
    /// The answer.
    pub fn answer<T>(self, page: Page<T>) -> Listing<T> {
        Listing::new(page, self.fields)
    }
}

impl<N: Stored> FromRequestParts<AppState> for ListParams<N> {
    type Rejection = crate::problem::Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Answer<Self> {
        let (query, fields) = parse(&N::TABLE, parts.uri.query().unwrap_or_default())?;
        Ok(Self { query, fields, noun: PhantomData })
    }
}

impl<T: Rows> FromRequestParts<AppState> for RowsParams<T> {
    type Rejection = crate::problem::Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Answer<Self> {
        let (query, fields) = parse(&T::TABLE, parts.uri.query().unwrap_or_default())?;
        Ok(Self { query, fields, rows: PhantomData })
    }
}

impl<N: Stored> Part for ListParams<N> {
    fn describe(operation: &mut Operation) {
        describe(&N::TABLE, operation);
    }
}

impl<T: Rows> Part for RowsParams<T> {
    fn describe(operation: &mut Operation) {
        describe(&T::TABLE, operation);
    }
}

fn parse(table: &Table, text: &str) -> Result<(ListQuery, Option<Vec<String>>), Error> {
    let mut query = ListQuery::default();
    let mut fields = None;
    let mut descending = None;
    for (n, (name, value)) in form_urlencoded::parse(text.as_bytes()).enumerate() {
        if n >= MOST_PARAMETERS {
            return Err(wrong("query", format_args!("has more than {MOST_PARAMETERS} parameters")));
        }
        match &*name {
            "q" => query.q = Some(value.into_owned()),
            "sort" => query.sort = Some(value.into_owned()).filter(|sort| !sort.is_empty()),
            "sort_desc" => descending = Some(value.parse::<bool>().map_err(|_| wrong("sort_desc", "is not true or false"))?),
            "cursor" => query.cursor = Some(value.into_owned()),
            "page" => query.page = number("page", &value)?,
            "per_page" => query.per_page = number("per_page", &value)?,
            "fields" => fields = Some(some_of(table, &value)?),
            _ => query.filters.push((name.into_owned(), value.into_owned())),
        }
    }
    if let (Some(true), Some(sort)) = (descending, &mut query.sort) {
        *sort = sort.strip_prefix('-').map_or_else(|| format!("-{sort}"), str::to_owned);
    }
    Ok((query, fields))
}

fn number(field: &str, value: &str) -> Result<i64, Error> {
    value.parse().map_err(|_| wrong(field, "is not a whole number"))
}

/// The fields that are asked for, and the id, without which a row is of no use.
fn some_of(table: &Table, value: &str) -> Result<Vec<String>, Error> {
    let mut fields = vec!["id".to_owned()];
    for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if !table.columns.iter().any(|(column, _)| *column == name) {
            let known: Vec<_> = table.columns.iter().map(|(column, _)| *column).collect();
            return Err(wrong("fields", format_args!("`{name}` is not one of: {}", known.join(", "))));
        }
        fields.push(name.to_owned());
    }
    Ok(fields)
}

fn wrong(field: &str, message: impl std::fmt::Display) -> Error {
    StoreError::Query { field: field.to_owned(), message: message.to_string() }.into()
}

fn describe(table: &Table, operation: &mut Operation) {
    let text = || json!({"type": "string"});
    operation.query("page", "Number of the page", json!({"type": "integer", "minimum": 1, "maximum": 10_000, "default": 1}));
    operation.query("per_page", "Rows of a page", json!({"type": "integer", "minimum": 1, "maximum": 500, "default": 50}));
    operation.query("cursor", "Where to go on: next_cursor of the page before", text());
    if !table.search.is_empty() {
        operation.query("q", "Searches names and what else identifies a row", json!({"type": "string", "maxLength": 200}));
    }
    let sorts: Vec<String> = table.sort_names().flat_map(|sort| [sort.to_owned(), format!("-{sort}")]).collect();
    operation.query("sort", "Order; a minus turns it around", json!({"type": "string", "enum": sorts}));
    operation.query("sort_desc", "Turns the order around; kept for existing scripts", json!({"type": "boolean"}));
    operation.query("fields", "Fields to give, separated by commas; the id always comes", text());
    for filter in table.filters {
        let (description, schema) = match filter.kind {
            Kind::Text => {
                let mut description = format!("Only rows whose {} is this, or one of these, separated by commas", words(filter.name));
                if !filter.words.is_empty() {
                    description.push_str(": ");
                    description.push_str(&filter.words.join(", "));
                }
                (description, text())
            }
            Kind::Int => (format!("Only rows by {}", words(filter.name)), json!({"type": "integer"})),
            Kind::Bool => (format!("Only rows that are {}, or are not", words(filter.name)), json!({"type": "boolean"})),
            Kind::Time => (format!("Only rows by {}", words(filter.name)), json!({"type": "string", "format": "date-time"})),
            Kind::Json => (words(filter.name), Value::Object(serde_json::Map::new())),
        };
        operation.query(filter.name, &description, schema);
    }
    operation.problem(400);
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

const MOST_PARAMETERS: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use certctl_domain::owner::Owner;

    fn owners(text: &str) -> Result<(ListQuery, Option<Vec<String>>), Error> {
        parse(&Owner::TABLE, text)
    }

    #[test]
    fn everything_that_a_list_can_be_asked_is_read() {
        let (query, fields) = owners("q=a%20b&sort=name&sort_desc=true&per_page=7&page=2&fields=name,email&team_id=t-1").unwrap();
        assert_eq!((query.q.as_deref(), query.sort.as_deref(), query.per_page, query.page), (Some("a b"), Some("-name"), 7, 2));
        assert_eq!(query.filters, [("team_id".to_owned(), "t-1".to_owned())]);
        assert_eq!(fields.unwrap(), ["id", "name", "email"]);
        assert_eq!(owners("sort=-name&sort_desc=true").unwrap().0.sort.as_deref(), Some("name"));
    }

    #[test]
    fn what_is_wrong_is_told_by_the_parameters_name() {
        for (text, field) in [("per_page=x", "per_page"), ("page=1.5", "page"), ("sort_desc=2", "sort_desc"), ("fields=secret", "fields")] {
            assert_eq!(owners(text).unwrap_err().fields[0].field, field, "{text}");
        }
        let many = "a=1&".repeat(60);
        assert_eq!(owners(&many).unwrap_err().fields[0].field, "query");
    }
}
