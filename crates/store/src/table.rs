//! One description per table, one implementation of create, read, list, replace and delete for all nouns.
//!
//! A column has the name and the value of the noun's JSON field; so a noun is stored as it is shown.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certctl_domain::auth::Reach;
use certctl_domain::list::{ListQuery, Page};
use certctl_domain::noun::Noun;
use certctl_domain::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::db::{Db, Row, Sql, Tx, Value, sql};
use crate::error::StoreError;

/// A table of a noun.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns, each a field of the noun.
    pub columns: &'static [(&'static str, Kind)],
    /// Columns in which `q` is searched; an entry with `$q` is an SQL condition, in which that stands for the lowered pattern.
    pub search: &'static [&'static str],
    /// Filters beside equality on text columns of the same name.
    pub filters: &'static [Filter],
    /// Columns that a list can be sorted by; each has an index together with `id`. The first is the default. A `?` at the end marks one that
    /// may be NULL; such rows come last, whatever the order.
    pub sorts: &'static [&'static str],
    /// Columns with the profile and the issuer, if scoped grants reach this noun.
    pub scope: Scoped,
    /// The counter with the number of rows, if one is kept.
    pub counter: Option<&'static str>,
}

impl Table {
    /// The names that a list can be sorted by.
    pub fn sort_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.sorts.iter().map(|sort| sort.trim_end_matches('?'))
    }
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Int,
    /// A truth value.
    Bool,
    /// An instant.
    Time,
    /// Anything nested.
    Json,
}

/// A filter of a list.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    /// The query parameter.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// The condition; `$?` stands for the value.
    pub condition: &'static str,
    /// The only values, where there are no others.
    pub words: &'static [&'static str],
}

/// How scoped grants reach a noun: SQL expressions that give the profile's and the issuer's id.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scoped {
    /// The profile.
    pub profile: Option<&'static str>,
    /// The issuer.
    pub issuer: Option<&'static str>,
}

/// A noun with a table.
pub trait Stored: Noun {
    /// Its table.
    const TABLE: Table;
}

/// A filter by equality on a column.
#[must_use]
pub const fn equals(name: &'static str, kind: Kind, condition: &'static str) -> Filter {
    Filter { name, kind, condition, words: &[] }
}

/// A filter by equality on a column that holds the words of an enum; another word is refused instead of finding nothing.
macro_rules! one_of {
    ($name:literal, $words:ty, $condition:literal) => {{
        #[expect(clippy::indexing_slicing, reason = "in a constant a panic is an error of the build")]
        const WORDS: [&str; <$words>::ALL.len()] = {
            let mut words = [""; <$words>::ALL.len()];
            let mut n = 0;
            while n < words.len() {
                words[n] = <$words>::ALL[n].as_str();
                n += 1;
            }
            words
        };
        $crate::table::Filter { name: $name, kind: $crate::table::Kind::Text, condition: $condition, words: &WORDS }
    }};
}
pub(crate) use one_of;

/// Reads one by id.
///
/// # Errors
/// When the database fails.
pub async fn get<N: Stored>(db: &Db, id: &N::Id) -> Result<Option<N>, StoreError> {
    let row = db.fetch_optional(select_by_id::<N>(id)).await?;
    row.map(|row| from_row(&N::TABLE, &row)).transpose()
}

/// Reads one by id inside a transaction and keeps others from changing it until the commit.
///
/// # Errors
/// When the database fails.
pub async fn get_for_update<N: Stored>(tx: &mut Tx, id: &N::Id) -> Result<Option<N>, StoreError> {
    let mut statement = select_by_id::<N>(id);
    statement.push(tx.for_update());
    let row = tx.fetch_optional(statement).await?;
    row.map(|row| from_row(&N::TABLE, &row)).transpose()
}

/// Reads one by id inside a transaction, as it is there.
///
/// # Errors
/// When the database fails.
pub async fn get_in<N: Stored>(tx: &mut Tx, id: &N::Id) -> Result<Option<N>, StoreError> {
    let row = tx.fetch_optional(select_by_id::<N>(id)).await?;
    row.map(|row| from_row(&N::TABLE, &row)).transpose()
}

/// Finds the id of what is named so: an id or a unique name.
///
/// # Errors
/// When the database fails.
pub async fn resolve<N: Stored>(db: &Db, id_or_name: &str) -> Result<Option<N::Id>, StoreError> {
    let statement =
        sql(format!("SELECT id FROM {} WHERE id = $1 OR name = $1 ORDER BY CASE WHEN id = $1 THEN 0 ELSE 1 END LIMIT 1", N::TABLE.name))
            .bind(id_or_name);
    db.fetch_optional(statement).await?.map(|row| row.id("id")).transpose()
}

/// Writes a new one.
///
/// # Errors
/// [`StoreError::Duplicate`] when id or name is taken, [`StoreError::Reference`] when something it refers to is absent.
pub async fn insert<N: Stored>(tx: &mut Tx, noun: &N) -> Result<(), StoreError> {
    insert_with(tx, noun, &[]).await
}

/// Writes a new one with columns beside its fields.
///
/// # Errors
/// As [`insert`].
pub async fn insert_with<N: Stored>(tx: &mut Tx, noun: &N, more: &[(&'static str, Value)]) -> Result<(), StoreError> {
    let table = &N::TABLE;
    let fields = fields_of(noun)?;
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).chain(more.iter().map(|(name, _)| *name)).collect();
    let mut statement = sql(format!("INSERT INTO {} ({}) VALUES ", table.name, names.join(", ")));
    let mut values = values_of(table, &fields)?;
    values.extend(more.iter().map(|(_, value)| value.clone()));
    statement.push_rows([values]);
    tx.execute(statement).await.map_err(|error| named(error, N::KIND))?;
    Ok(())
}

/// Writes a changed one; `noun.revision()` must be one more than what was read.
///
/// # Errors
/// [`StoreError::Stale`] when somebody else changed it since; otherwise as [`insert`].
pub async fn update<N: Stored>(tx: &mut Tx, noun: &N) -> Result<(), StoreError> {
    update_with(tx, noun, &[]).await
}

/// Writes a changed one with columns beside its fields.
///
/// # Errors
/// As [`update`].
pub async fn update_with<N: Stored>(tx: &mut Tx, noun: &N, more: &[(&'static str, Value)]) -> Result<(), StoreError> {
    let table = &N::TABLE;
    let fields = fields_of(noun)?;
    let mut statement = sql(format!("UPDATE {} SET ", table.name));
    let mut first = true;
    let own = table.columns.iter().map(|(name, _)| *name).zip(values_of(table, &fields)?);
    for (name, value) in own.chain(more.iter().cloned()) {
        if name == "id" {
            continue;
        }
        statement.push(if first { "" } else { ", " }).push(name).push(" = ").push_bind(value);
        first = false;
    }
    statement.push(" WHERE id = ").push_bind(noun.id());
    statement.push(" AND revision = ").push_bind(noun.revision() - 1);
    let touched = tx.execute(statement).await.map_err(|error| named(error, N::KIND))?;
    if touched == 0 { Err(StoreError::Stale) } else { Ok(()) }
}

/// Deletes one.
///
/// # Errors
/// [`StoreError::Reference`] when something still refers to it.
pub async fn delete<N: Stored>(tx: &mut Tx, id: &N::Id) -> Result<bool, StoreError> {
    let touched =
        tx.execute(sql(format!("DELETE FROM {} WHERE id = $1", N::TABLE.name)).bind(id)).await.map_err(|error| named(error, N::KIND))?;
    Ok(touched > 0)
}

/// Reads one page of what `reach` allows to see.
///
/// # Errors
/// [`StoreError::Query`] when a filter, the sort field or the cursor is not one of this table.
pub async fn list<N: Stored>(db: &Db, query: &ListQuery, reach: &Reach) -> Result<Page<N>, StoreError> {
    list_rows(db, &N::TABLE, query, reach, from_row::<N>).await
}

/// As [`list`], for rows that are not nouns.
///
/// # Errors
/// As [`list`].
pub async fn list_rows<T>(
    db: &Db,
    table: &Table,
    query: &ListQuery,
    reach: &Reach,
    read: impl Fn(&Table, &Row) -> Result<T, StoreError>,
) -> Result<Page<T>, StoreError> {
    if !(1..=500).contains(&query.per_page) {
        return Err(StoreError::Query { field: "per_page".into(), message: "is from 1 to 500".into() });
    }
    if query.page < 1 || query.page > 10_000 {
        return Err(StoreError::Query { field: "page".into(), message: "is from 1 to 10000; go further with cursor".into() });
    }
    let sort = sort_of(table, query)?;
    let mut select = Select { statement: sql(format!("SELECT {} FROM {}", column_names(table), table.name)), filtered: false };
    conditions(table, query, reach, &mut select)?;
    let mut counting = Counting::of(table, query, reach, &select);
    let rows = page_of(db, table, query, sort, (select, &mut counting)).await?;
    let limit = usize::try_from(query.per_page).unwrap_or(usize::MAX);
    let next_cursor = match rows.get(limit.saturating_sub(1)) {
        Some(last) if rows.len() > limit => Some(write_cursor(table, sort.column, last)?),
        _ => None,
    };
    let data = rows.iter().take(limit).map(|row| read(table, row)).collect::<Result<Vec<_>, _>>()?;
    let total = counting.total(db, rows.first()).await?;
    let total_is_estimate = counting.limited && total > COUNTED;
    let page = if query.cursor.is_some() { 1 } else { query.page };
    Ok(Page { data, total, total_is_estimate, page, per_page: query.per_page, next_cursor })
}

/// The columns of a table, for a SELECT.
#[must_use]
pub fn column_names(table: &Table) -> String {
    table.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Makes a value of the columns of a row.
///
/// # Errors
/// When the row holds what the type cannot.
pub fn from_row<T: DeserializeOwned>(table: &Table, row: &Row) -> Result<T, StoreError> {
    let mut fields = Map::new();
    for (name, kind) in table.columns {
        let value = match kind {
            Kind::Text => row.opt_text(name)?.map(Json::from),
            Kind::Int => row.opt_int(name)?.map(Json::from),
            Kind::Bool => row.opt_bool(name)?.map(Json::from),
            Kind::Time => row.opt_time(name)?.map(|at| Json::from(at.to_string())),
            Kind::Json => row.opt_json(name)?,
        };
        fields.insert((*name).to_owned(), value.unwrap_or(Json::Null));
    }
    serde_json::from_value(Json::Object(fields)).map_err(|e| StoreError::corrupt(format!("a row of {}: {e}", table.name)))
}

/// The values of a row, in the order of the columns.
///
/// # Errors
/// When a field has not the type of its column.
pub fn values_of(table: &Table, fields: &Map<String, Json>) -> Result<Vec<Value>, StoreError> {
    table.columns.iter().map(|(name, kind)| value_of(name, *kind, fields.get(*name).unwrap_or(&Json::Null))).collect()
}

fn value_of(name: &str, kind: Kind, json: &Json) -> Result<Value, StoreError> {
    let wrong = || StoreError::corrupt(format!("field {name} has not the type of its column"));
    Ok(match (kind, json) {
        (Kind::Text, Json::Null) => Value::Text(None),
        (Kind::Text, Json::String(text)) => Value::Text(Some(text.clone())),
        (Kind::Int, Json::Null) => Value::Int(None),
        (Kind::Int, json) => Value::Int(Some(json.as_i64().ok_or_else(wrong)?)),
        (Kind::Bool, Json::Null) => Value::Bool(None),
        (Kind::Bool, json) => Value::Bool(Some(json.as_bool().ok_or_else(wrong)?)),
        (Kind::Time, Json::Null) => Value::Time(None),
        (Kind::Time, json) => Value::Time(Some(json.as_str().and_then(|text| text.parse().ok()).ok_or_else(wrong)?)),
        (Kind::Json, Json::Null) => Value::Json(None),
        (Kind::Json, json) => Value::Json(Some(json.clone())),
        (Kind::Text, _) => return Err(wrong()),
    })
}

/// The fields of something that is shown, by name.
///
/// # Errors
/// When it is not an object in JSON.
pub fn fields_of(shown: &impl Serialize) -> Result<Map<String, Json>, StoreError> {
    match serde_json::to_value(shown) {
        Ok(Json::Object(fields)) => Ok(fields),
        _ => Err(StoreError::corrupt("what is written is not an object")),
    }
}

fn select_by_id<N: Stored>(id: &N::Id) -> Sql {
    sql(format!("SELECT {} FROM {} WHERE id = $1", column_names(&N::TABLE), N::TABLE.name)).bind(id)
}

/// A SELECT that gets conditions.
#[derive(Debug, Clone)]
struct Select {
    statement: Sql,
    filtered: bool,
}

impl Select {
    fn and(&mut self) -> &mut Sql {
        self.statement.push(if self.filtered { " AND " } else { " WHERE " });
        self.filtered = true;
        &mut self.statement
    }
}

/// How many rows a list has: counted by the statement that reads its page, so that a list is one round trip.
#[derive(Debug)]
struct Counting {
    /// Gives the number.
    expression: Sql,
    /// Whether it stops counting at some number.
    limited: bool,
    /// Whether values decide which rows there are.
    filtered: bool,
    /// Whether a row has it.
    placed: bool,
}

impl Counting {
    fn of(table: &Table, query: &ListQuery, reach: &Reach, select: &Select) -> Self {
        let unfiltered = query.q.is_none() && query.filters.is_empty() && reach.everywhere;
        let counter = table.counter.filter(|_| unfiltered);
        let mut expression = select.statement.clone();
        expression.replace_text(match counter {
            Some(counter) => crate::counters::expression(counter),
            // Counted to 10 000 at the most: past that the total is an estimate, and says so.
            None => format!("(SELECT count(*) FROM (SELECT 1{} LIMIT {}) AS counted)", tail(table, &select.statement), COUNTED + 1),
        });
        Self { expression, limited: counter.is_none(), filtered: select.filtered, placed: false }
    }

    /// Has a statement count, unless one before it did.
    fn place(&mut self, table: &Table, statement: &mut Sql) {
        if self.placed {
            return;
        }
        self.placed = true;
        let text = format!("SELECT {}, {} AS {TOTAL}{}", column_names(table), self.expression.text(), tail(table, statement));
        statement.replace_text(text);
    }

    /// The number, from a row that has it, or by a statement of its own where there is no row.
    async fn total(&self, db: &Db, first: Option<&Row>) -> Result<i64, StoreError> {
        if let Some(first) = first {
            return first.int(TOTAL);
        }
        let mut statement = self.expression.clone();
        statement.replace_text(format!("SELECT {} AS {TOTAL}", self.expression.text()));
        db.fetch_optional(statement.varying()).await?.map_or(Ok(0), |row| row.int(TOTAL))
    }
}

/// ` FROM table WHERE ...` of a statement that reads a page.
fn tail(table: &Table, statement: &Sql) -> String {
    let head = format!("SELECT {}", column_names(table));
    statement.text().strip_prefix(&head).unwrap_or_default().to_owned()
}

/// The column with the number of rows.
const TOTAL: &str = "page_total";
/// Past this many, rows are not counted.
const COUNTED: i64 = 10_000;

/// How a list is sorted.
#[derive(Debug, Clone, Copy)]
struct Sort<'t> {
    column: &'t str,
    descending: bool,
    nullable: bool,
}

/// The rows of the page, and one more if there is one.
async fn page_of(
    db: &Db,
    table: &Table,
    query: &ListQuery,
    sort: Sort<'_>,
    (mut select, counting): (Select, &mut Counting),
) -> Result<Vec<Row>, StoreError> {
    let column = sort.column;
    let (order, beyond) = if sort.descending { ("DESC", "<") } else { ("ASC", ">") };
    let wanted = query.per_page + 1;
    let cursor = query.cursor.as_deref().map(|cursor| read_cursor(table, sort, cursor)).transpose()?;
    if cursor.is_none() && query.page > 1 {
        let nulls_last = if sort.nullable { format!("CASE WHEN {column} IS NULL THEN 1 ELSE 0 END, ") } else { String::new() };
        select.statement.push(&format!(" ORDER BY {nulls_last}{column} {order}, id {order} LIMIT ")).push_bind(wanted);
        select.statement.push(" OFFSET ").push_bind((query.page - 1) * query.per_page);
        return fetch(db, table, select, counting).await;
    }
    // Rows without a value come last, by a statement of their own: so each statement can follow an index, and both databases agree.
    let (value, id) = cursor.map_or((None, None), |(value, id)| (value, Some(id)));
    let without_value = id.is_some() && value.is_none();
    let mut rows = Vec::new();
    if !without_value {
        let mut select = select.clone();
        match (value, &id) {
            (Some(value), Some(id)) => {
                let statement = select.and();
                statement.push(&format!("({column}, id) {beyond} ("));
                statement.push_bind(value).push(", ").push_bind(id.as_str()).push(")");
            }
            _ if sort.nullable => {
                select.and().push(column).push(" IS NOT NULL");
            }
            _ => {}
        }
        select.statement.push(&format!(" ORDER BY {column} {order}, id {order} LIMIT ")).push_bind(wanted);
        rows = fetch(db, table, select, counting).await?;
    }
    let missing = wanted - i64::try_from(rows.len()).unwrap_or(wanted);
    if sort.nullable && missing > 0 {
        select.and().push(column).push(" IS NULL");
        if let Some(id) = id.filter(|_| without_value) {
            select.and().push("id ").push(beyond).push(" ").push_bind(id);
        }
        select.statement.push(&format!(" ORDER BY id {order} LIMIT ")).push_bind(missing);
        rows.extend(fetch(db, table, select, counting).await?);
    }
    Ok(rows)
}

async fn fetch(db: &Db, table: &Table, mut select: Select, counting: &mut Counting) -> Result<Vec<Row>, StoreError> {
    counting.place(table, &mut select.statement);
    // Planned for these very values: a plan for any value takes every status for a frequent one, and reads the whole table.
    let statement = if counting.filtered { select.statement.varying() } else { select.statement };
    let rows = db.fetch_all(statement).await?;
    // A statement without a row gives no number either: the next one counts again.
    counting.placed &= !rows.is_empty();
    Ok(rows)
}

fn conditions(table: &Table, query: &ListQuery, reach: &Reach, select: &mut Select) -> Result<(), StoreError> {
    if !reach.everywhere {
        let statement = select.and();
        statement.push("(1 = 0");
        for (expression, ids) in [(table.scope.profile, &reach.profiles), (table.scope.issuer, &reach.issuers)] {
            if let Some(expression) = expression.filter(|_| !ids.is_empty()) {
                statement.push(" OR ").push(expression).push(" IN ").push_list(ids.iter().map(|id| Value::from(id.as_str())));
            }
        }
        statement.push(")");
    }
    if let Some(q) = query.q.as_deref().map(str::trim).filter(|q| !q.is_empty()) {
        if q.chars().count() > 200 {
            return Err(StoreError::Query { field: "q".into(), message: "has at most 200 characters".into() });
        }
        refuse_nul("q", q)?;
        if table.search.is_empty() {
            return Err(StoreError::Query { field: "q".into(), message: "this list cannot be searched".into() });
        }
        // The database lowers both sides: SQLite knows ASCII only, and a pattern that knows more would not match what it left as it is.
        let pattern = format!("%{}%", q.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
        let statement = select.and();
        statement.push("(");
        for (i, column) in table.search.iter().enumerate() {
            statement.push(if i > 0 { " OR " } else { "" });
            match column.split_once("$q") {
                Some((before, after)) => statement.push(before).push("lower(").push_bind(pattern.as_str()).push(")").push(after),
                None => statement.push("lower(").push(column).push(") LIKE lower(").push_bind(pattern.as_str()).push(") ESCAPE '\\'"),
            };
        }
        statement.push(")");
    }
    for (name, text) in &query.filters {
        let Some(filter) = table.filters.iter().find(|filter| filter.name == name) else {
            let known: Vec<_> = table.filters.iter().map(|filter| filter.name).collect();
            return Err(StoreError::Query {
                field: name.clone(),
                message: format!("is not a filter of this list; there are: {}", known.join(", ")),
            });
        };
        refuse_nul(name, text)?;
        let wrong = |what: &str| StoreError::Query { field: name.clone(), message: format!("is not {what}") };
        let values: Vec<Value> = match filter.kind {
            // `status=Active,Expiring` means either.
            Kind::Text => {
                let unknown = |word: &&str| !filter.words.is_empty() && !filter.words.contains(word);
                if let Some(word) = text.split(',').find(unknown) {
                    return Err(StoreError::Query {
                        field: name.clone(),
                        message: format!("`{word}` is not one of: {}", filter.words.join(", ")),
                    });
                }
                text.split(',').map(Value::from).collect()
            }
            Kind::Int => vec![Value::from(text.parse::<i64>().map_err(|_| wrong("a whole number"))?)],
            Kind::Bool => vec![Value::from(text.parse::<bool>().map_err(|_| wrong("true or false"))?)],
            Kind::Time => vec![Value::from(text.parse::<Timestamp>().map_err(|_| wrong("an RFC 3339 time"))?)],
            Kind::Json => return Err(wrong("something to filter by")),
        };
        if values.len() > MOST_VALUES {
            return Err(StoreError::Query { field: name.clone(), message: format!("has more than {MOST_VALUES} values") });
        }
        let statement = select.and();
        statement.push("(");
        for (i, value) in values.into_iter().enumerate() {
            statement.push(if i > 0 { " OR " } else { "" });
            let (before, after) = filter.condition.split_once("$?").unwrap_or((filter.condition, ""));
            statement.push(before).push_bind(value).push(after);
        }
        statement.push(")");
    }
    Ok(())
}

fn sort_of<'t>(table: &'t Table, query: &ListQuery) -> Result<Sort<'t>, StoreError> {
    let sort = |known: &'t str, descending| Sort { column: known.trim_end_matches('?'), descending, nullable: known.ends_with('?') };
    let Some(asked) = &query.sort else {
        let default = table.sorts.first().copied().unwrap_or("id");
        return Ok(sort(default, matches!(default, "created_at" | "timestamp" | "registered_at")));
    };
    let (name, descending) = asked.strip_prefix('-').map_or((asked.as_str(), false), |name| (name, true));
    let known = table.sorts.iter().find(|known| known.trim_end_matches('?') == name);
    known.map(|known| sort(known, descending)).ok_or_else(|| {
        let names = table.sort_names().collect::<Vec<_>>().join(", ");
        StoreError::Query { field: "sort".into(), message: format!("`{name}` is not one of: {names}") }
    })
}

/// PostgreSQL has no text with NUL in it, so nothing can match.
fn refuse_nul(field: &str, text: &str) -> Result<(), StoreError> {
    if text.contains('\0') {
        return Err(StoreError::Query { field: field.to_owned(), message: "must not contain NUL".into() });
    }
    Ok(())
}

fn kind_of(table: &Table, column: &str) -> Kind {
    table.columns.iter().find(|(name, _)| *name == column).map_or(Kind::Text, |(_, kind)| *kind)
}

/// A cursor holds the sort column, its value and the id of the last row, so that it cannot be used with another order.
fn write_cursor(table: &Table, column: &str, row: &Row) -> Result<String, StoreError> {
    let value = match kind_of(table, column) {
        Kind::Time => row.opt_time(column)?.map(|at| Json::from(at.unix_micros())),
        Kind::Int => row.opt_int(column)?.map(Json::from),
        _ => row.opt_text(column)?.map(Json::from),
    };
    let cursor = serde_json::json!([column, value, row.text("id")?]);
    Ok(URL_SAFE_NO_PAD.encode(cursor.to_string()))
}

/// The value of the sort column, if the last row had one, and its id.
fn read_cursor(table: &Table, sort: Sort<'_>, cursor: &str) -> Result<(Option<Value>, String), StoreError> {
    let wrong = || StoreError::Query {
        field: "cursor".into(),
        message: "is not a cursor of this list in this order; begin again without it".into(),
    };
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
    let (of, value, id): (String, Json, String) = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    if of != sort.column || id.contains('\0') {
        return Err(wrong());
    }
    if value.is_null() && sort.nullable {
        return Ok((None, id));
    }
    let value = match kind_of(table, sort.column) {
        Kind::Time => Value::Time(Some(value.as_i64().and_then(Timestamp::from_unix_micros).ok_or_else(wrong)?)),
        Kind::Int => Value::Int(Some(value.as_i64().ok_or_else(wrong)?)),
        _ => Value::Text(Some(value.as_str().filter(|text| !text.contains('\0')).ok_or_else(wrong)?.to_owned())),
    };
    Ok((Some(value), id))
}

/// Says which noun a violated constraint belongs to.
fn named(error: StoreError, kind: &str) -> StoreError {
    match error {
        StoreError::Duplicate(what) => {
            StoreError::Duplicate(format!("the {} of this {kind}", if what.contains("name") { "name" } else { "id" }))
        }
        other => other,
    }
}

/// The most values of one filter; each is a condition of its own.
const MOST_VALUES: usize = 100;
