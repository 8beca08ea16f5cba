//! One way to both databases: statements are text with `$1` placeholders and typed values, rows are read by column name.
//!
//! Everything that differs between SQLite and PostgreSQL is in this file, as a named method with its reason.

use std::borrow::Cow;
use std::str::FromStr as _;
use std::time::Duration;

use certctl_domain::ids::Id;
use certctl_domain::time::Timestamp;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::types::Json;
use sqlx::{
    Arguments as _, AssertSqlSafe, ColumnIndex, ConnectOptions as _, Connection as _, Decode, Postgres, Row as _, Sqlite, Transaction, Type,
};
use time::OffsetDateTime;

use crate::error::StoreError;

/// A pool of connections to one of the two databases.
#[derive(Debug, Clone)]
pub enum Db {
    /// One writer, several readers.
    Sqlite {
        /// The only connection that writes.
        writer: SqlitePool,
        /// Connections that only read.
        readers: SqlitePool,
    },
    /// A pool of equal connections.
    Postgres(PgPool),
}

/// How to open a database.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// `sqlite:///path/to/file.db` or `postgres://user@host/name`. May hold a password: never printed.
    pub url: certctl_domain::secret::Secret<String>,
    /// Most connections of the pool.
    pub max_connections: u32,
    /// The longest that a statement waits for a connection.
    pub acquire_timeout: Duration,
    /// SQLite only: `false` gives up the last commits on power loss for more speed.
    pub durable: bool,
}

/// An open transaction.
#[derive(Debug)]
pub enum Tx {
    /// On SQLite's writer.
    Sqlite(Transaction<'static, Sqlite>),
    /// On PostgreSQL.
    Postgres(Transaction<'static, Postgres>),
}

/// A statement with its values.
#[derive(Debug, Clone)]
pub struct Sql {
    text: Cow<'static, str>,
    values: Vec<Value>,
    kept: bool,
}

/// A value for a placeholder. `None` is a typed NULL, which PostgreSQL needs.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// text
    Text(Option<String>),
    /// bigint
    Int(Option<i64>),
    /// boolean; 0 and 1 on SQLite
    Bool(Option<bool>),
    /// timestamptz; microseconds on SQLite, so that `<` means the same
    Time(Option<Timestamp>),
    /// jsonb; text on SQLite
    Json(Option<serde_json::Value>),
    /// bytea; BLOB on SQLite
    Bytes(Option<Vec<u8>>),
}

/// A row of either database.
#[derive(Debug)]
pub enum Row {
    /// From SQLite.
    Sqlite(SqliteRow),
    /// From PostgreSQL.
    Postgres(PgRow),
}

/// A statement of fixed text.
pub fn sql(text: impl Into<Cow<'static, str>>) -> Sql {
    Sql { text: text.into(), values: Vec::new(), kept: true }
}

impl Sql {
    /// Adds the value of the next placeholder.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Appends text.
    pub fn push(&mut self, text: &str) -> &mut Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// Appends a placeholder and its value.
    pub fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        let placeholder = format!("${}", self.values.len());
        self.push(&placeholder)
    }

    /// Appends `(v1, v2), (v3, v4)` for rows of values.
    pub fn push_rows(&mut self, rows: impl IntoIterator<Item = Vec<Value>>) -> &mut Self {
        for (i, row) in rows.into_iter().enumerate() {
            self.push(if i == 0 { "(" } else { ", (" });
            for (j, value) in row.into_iter().enumerate() {
                if j > 0 {
                    self.push(", ");
                }
                self.push_bind(value);
            }
            self.push(")");
        }
        self
    }

    /// Appends `(v1, v2, v3)`; an empty list becomes one that matches nothing.
    pub fn push_list(&mut self, values: impl IntoIterator<Item = Value>) -> &mut Self {
        self.push("(");
        let mut any = false;
        for value in values {
            if any {
                self.push(", ");
            }
            any = true;
            self.push_bind(value);
        }
        self.push(if any { ")" } else { "NULL)" })
    }

    /// Says that the text differs from call to call, such as one with many rows: connections do not keep it prepared for the next time.
    #[must_use]
    pub const fn varying(mut self) -> Self {
        self.kept = false;
        self
    }

    /// Puts another text around the same placeholders.
    pub(crate) fn replace_text(&mut self, text: String) {
        self.text = Cow::Owned(text);
    }

    /// The text, for plans and tests.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn sqlite(self) -> Result<(AssertSqlSafe<String>, SqliteArguments), StoreError> {
        let mut arguments = SqliteArguments::default();
        for value in self.values {
            match value {
                Value::Text(v) => arguments.add(v),
                Value::Int(v) => arguments.add(v),
                Value::Bool(v) => arguments.add(v),
                Value::Time(v) => arguments.add(v.map(Timestamp::unix_micros)),
                Value::Json(v) => arguments.add(v.map(Json)),
                Value::Bytes(v) => arguments.add(v),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok((AssertSqlSafe(self.text.into_owned()), arguments))
    }

    fn postgres(self) -> Result<(AssertSqlSafe<String>, PgArguments), StoreError> {
        let mut arguments = PgArguments::default();
        for value in self.values {
            match value {
                Value::Text(v) => arguments.add(v),
                Value::Int(v) => arguments.add(v),
                Value::Bool(v) => arguments.add(v),
                Value::Time(v) => arguments.add(v.map(Timestamp::to_offset)),
                Value::Json(v) => arguments.add(v.map(Json)),
                Value::Bytes(v) => arguments.add(v),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok((AssertSqlSafe(self.text.into_owned()), arguments))
    }
}

macro_rules! values {
    ($($type:ty => $variant:ident),* $(,)?) => { $(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(Some(value.into()))
            }
        }
        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map(Into::into))
            }
        }
    )* };
}
values! { String => Text, &str => Text, i64 => Int, bool => Bool, Timestamp => Time, serde_json::Value => Json, Vec<u8> => Bytes }

impl<I: Id> From<&I> for Value {
    fn from(id: &I) -> Self {
        Self::Text(Some(id.as_str().to_owned()))
    }
}
impl<I: Id> From<Option<&I>> for Value {
    fn from(id: Option<&I>) -> Self {
        Self::Text(id.map(|id| id.as_str().to_owned()))
    }
}

impl Row {
    fn get<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
        for<'c> &'c str: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A text column.
    ///
    /// # Errors
    /// When the column is absent, NULL or of another type; the same for every getter here.
    pub fn text(&self, column: &str) -> Result<String, StoreError> {
        self.get(column)
    }
    /// A text column that may be NULL.
    ///
    /// # Errors
    /// As [`Row::text`].
    pub fn opt_text(&self, column: &str) -> Result<Option<String>, StoreError> {
        self.get(column)
    }
    /// An integer column.
    ///
    /// # Errors
    /// As [`Row::text`].
    pub fn int(&self, column: &str) -> Result<i64, StoreError> {
        self.get(column)
    }
    /// An integer column that may be NULL.
    ///
    /// # Errors
    /// As [`Row::text`].
    pub fn opt_int(&self, column: &str) -> Result<Option<i64>, StoreError> {
        self.get(column)
    }
    /// A boolean column.
    ///
    /// # Errors
    /// As [`Row::text`].
    pub fn bool(&self, column: &str) -> Result<bool, StoreError> {
        self.get(column)
    }
    /// A boolean column that may be NULL.
    ///
    /// # Errors
    /// As [`Row::text`].
    pub fn opt_bool(&self, column: &str) -> Result<Option<bool>, StoreError> {
        self.get(column)
    }
    /// An instant.
    ///
    /// # Errors
    /// As [`Row::text`].
    pub fn time(&self, column: &str) -> Result<Timestamp, StoreError> {
        self.opt_time(column)?.ok_or_else(|| StoreError::corrupt(format!("column {column} is NULL")))
    }
    /// An instant that may be NULL.
    ///
    /// # Errors
    /// As [`Row::text`].
    pub fn opt_time(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        match self {
            Self::Sqlite(row) => row
                .try_get::<Option<i64>, _>(column)?
                .map(|micros| Timestamp::from_unix_micros(micros).ok_or_else(|| StoreError::corrupt(format!("column {column} is no time"))))
                .transpose(),
            Self::Postgres(row) => Ok(row.try_get::<Option<OffsetDateTime>, _>(column)?.map(Timestamp::new)),
        }
    }
    /// A JSON column.
    ///
    /// # Errors
    /// As [`Row::text`].
    pub fn json(&self, column: &str) -> Result<serde_json::Value, StoreError> {
        Ok(self.opt_json(column)?.unwrap_or_default())
    }
    /// A JSON column that may be NULL.
    ///
    /// # Errors
    /// As [`Row::text`].
    pub fn opt_json(&self, column: &str) -> Result<Option<serde_json::Value>, StoreError> {
        Ok(self.get::<Option<Json<serde_json::Value>>>(column)?.map(|json| json.0))
    }
    /// A column of bytes.
    ///
    /// # Errors
    /// As [`Row::text`].
    pub fn bytes(&self, column: &str) -> Result<Vec<u8>, StoreError> {
        self.get(column)
    }
    /// A column of bytes that may be NULL.
    ///
    /// # Errors
    /// As [`Row::text`].
    pub fn opt_bytes(&self, column: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(column)
    }
    /// A text column parsed as an identifier.
    ///
    /// # Errors
    /// As [`Row::text`], and when it is no identifier.
    pub fn id<I: Id>(&self, column: &str) -> Result<I, StoreError> {
        I::parse(&self.text(column)?).map_err(|e| StoreError::corrupt(e.to_string()))
    }
    /// A text column that may be NULL, parsed as an identifier.
    ///
    /// # Errors
    /// As [`Row::id`].
    pub fn opt_id<I: Id>(&self, column: &str) -> Result<Option<I>, StoreError> {
        self.opt_text(column)?.map(|text| I::parse(&text).map_err(|e| StoreError::corrupt(e.to_string()))).transpose()
    }
}

impl Db {
    /// Opens the database; on SQLite the file is made when it is absent.
    ///
    /// # Errors
    /// When the URL is not understood or the database cannot be reached within ten seconds.
    pub async fn open(options: &OpenOptions) -> Result<Self, StoreError> {
        let url = options.url.expose();
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            // A pooler such as pgbouncer refuses parameters that it does not know: they are set when the connection is there.
            let connect =
                PgConnectOptions::from_str(url).map_err(|_| StoreError::Url)?.application_name("certctl").extra_float_digits(None);
            let pool = PgPoolOptions::new()
                .after_connect(|connection, _| Box::pin(async move { sqlx::raw_sql(SESSION).execute(connection).await.map(drop) }))
                .max_connections(options.max_connections.max(2))
                .acquire_timeout(options.acquire_timeout)
                // Asked when it was given back: to ask again makes a round trip of its own before every statement.
                .test_before_acquire(false)
                .before_acquire(|connection, known| {
                    Box::pin(async move {
                        if known.idle_for > RESTED {
                            connection.ping().await?;
                        }
                        Ok(true)
                    })
                })
                .connect_with(connect)
                .await?;
            return Ok(Self::Postgres(pool));
        }
        if !url.starts_with("sqlite:") {
            return Err(StoreError::Url);
        }
        let synchronous = if options.durable { SqliteSynchronous::Full } else { SqliteSynchronous::Normal };
        let connect = SqliteConnectOptions::from_str(url)
            .map_err(|_| StoreError::Url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("wal_autocheckpoint", "1000");
        let pool = || {
            let pool = SqlitePoolOptions::new().acquire_timeout(options.acquire_timeout).idle_timeout(None).max_lifetime(None);
            pool.test_before_acquire(false)
        };
        // The writer first: connections that only read cannot make the file.
        // A full disk has SQLite end a transaction by itself, after which the driver counts it as open for ever: such a connection is closed.
        let writer = pool().max_connections(1).after_release(|connection, _| {
            Box::pin(async move {
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        });
        let writer = writer.connect_with(connect.clone()).await?;
        let readers = pool().max_connections(options.max_connections.clamp(1, 32)).connect_with(connect.read_only(true)).await?;
        Ok(Self::Sqlite { writer, readers })
    }

    /// Begins a transaction that will write. On SQLite it takes the writer's lock at once: one that upgrades later fails without waiting.
    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// Opens a database that may not be there yet: tries again until the time has passed, and tells why it waits.
    ///
    /// # Errors
    /// At once when waiting does not help, such as with a wrong password; otherwise [`StoreError::Silent`] or [`StoreError::Busy`].
    pub async fn open_within(options: &OpenOptions, patience: Duration) -> Result<Self, StoreError> {
        let until = tokio::time::Instant::now() + patience;
        let mut told = false;
        loop {
            let error = match Self::reach(options).await {
                Ok(()) => match Self::open(options).await {
                    Err(StoreError::Database(error)) if may_come_back(&error) || is_busy(&error) => error,
                    other => return other,
                },
                Err(StoreError::Database(error)) if may_come_back(&error) => error,
                Err(error) => return Err(error),
            };
            let now = tokio::time::Instant::now();
            if now >= until {
                let seconds = patience.as_secs();
                return Err(if is_busy(&error) { StoreError::Busy { seconds } } else { StoreError::Silent { seconds, source: error } });
            }
            if !told {
                tracing::warn!(why = %error, left_s = until.duration_since(now).as_secs(), "the database does not answer; waiting");
                told = true;
            }
            tokio::time::sleep(TRY_AGAIN.min(until.duration_since(now))).await;
        }
    }

    /// Makes one connection to PostgreSQL and ends it again: a pool that cannot connect does not say why.
    async fn reach(options: &OpenOptions) -> Result<(), StoreError> {
        let url = options.url.expose();
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Ok(());
        }
        let connect = PgConnectOptions::from_str(url).map_err(|_| StoreError::Url)?.application_name("certctl").extra_float_digits(None);
        let made = tokio::time::timeout(options.acquire_timeout, connect.connect()).await;
        made.map_err(|_| sqlx::Error::PoolTimedOut)??.close().await?;
        Ok(())
    }

    /// Begins a transaction that will write, unless somebody else writes to the SQLite file for as long as this.
    pub(crate) async fn begin_or_busy(&self, wait: Duration) -> Result<Option<Tx>, StoreError> {
        let Self::Sqlite { writer, .. } = self else { return self.begin().await.map(Some) };
        let patience = |time: Duration| sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA busy_timeout = {}", time.as_millis()))).execute(writer);
        patience(wait).await?;
        let begun = writer.begin_with("BEGIN IMMEDIATE").await;
        match begun {
            Ok(mut tx) => {
                sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA busy_timeout = {}", BUSY_TIMEOUT.as_millis()))).execute(&mut *tx).await?;
                Ok(Some(Tx::Sqlite(tx)))
            }
            Err(error) => {
                patience(BUSY_TIMEOUT).await?;
                if is_busy(&error) { Ok(None) } else { Err(error.into()) }
            }
        }
    }

    /// Reads rows outside a transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fetch_all(&self, statement: Sql) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite { readers, .. } => {
                let (kept, (text, arguments)) = (statement.kept, statement.sqlite()?);
                Ok(sqlx::query_with(text, arguments).persistent(kept).fetch_all(readers).await?.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(pool) => {
                let (kept, (text, arguments)) = (statement.kept, statement.postgres()?);
                Ok(sqlx::query_with(text, arguments).persistent(kept).fetch_all(pool).await?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Reads at most one row outside a transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fetch_optional(&self, statement: Sql) -> Result<Option<Row>, StoreError> {
        match self {
            Self::Sqlite { readers, .. } => {
                let (kept, (text, arguments)) = (statement.kept, statement.sqlite()?);
                Ok(sqlx::query_with(text, arguments).persistent(kept).fetch_optional(readers).await?.map(Row::Sqlite))
            }
            Self::Postgres(pool) => {
                let (kept, (text, arguments)) = (statement.kept, statement.postgres()?);
                Ok(sqlx::query_with(text, arguments).persistent(kept).fetch_optional(pool).await?.map(Row::Postgres))
            }
        }
    }

    /// Whether this is PostgreSQL, where other processes may share the database.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Connections in use and connections open, for metrics.
    #[must_use]
    pub fn pool_size(&self) -> (usize, usize) {
        let size = |open: u32, idle: usize| {
            let open = usize::try_from(open).unwrap_or(usize::MAX);
            (open.saturating_sub(idle), open)
        };
        match self {
            Self::Sqlite { readers, .. } => size(readers.size(), readers.num_idle()),
            Self::Postgres(pool) => size(pool.size(), pool.num_idle()),
        }
    }

    /// How many of them there may be.
    #[must_use]
    pub fn pool_limit(&self) -> u32 {
        match self {
            Self::Sqlite { readers, .. } => readers.options().get_max_connections(),
            Self::Postgres(pool) => pool.options().get_max_connections(),
        }
    }

    /// Closes all connections and waits for them.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Reads rows inside the transaction; also for statements with RETURNING.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fetch_all(&mut self, statement: Sql) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(tx) => {
                let (kept, (text, arguments)) = (statement.kept, statement.sqlite()?);
                Ok(sqlx::query_with(text, arguments).persistent(kept).fetch_all(&mut **tx).await?.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(tx) => {
                let (kept, (text, arguments)) = (statement.kept, statement.postgres()?);
                Ok(sqlx::query_with(text, arguments).persistent(kept).fetch_all(&mut **tx).await?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Reads at most one row inside the transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fetch_optional(&mut self, statement: Sql) -> Result<Option<Row>, StoreError> {
        Ok(self.fetch_all(statement).await?.into_iter().next())
    }

    /// Runs a statement and says how many rows it touched.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn execute(&mut self, statement: Sql) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(tx) => {
                let (kept, (text, arguments)) = (statement.kept, statement.sqlite()?);
                Ok(sqlx::query_with(text, arguments).persistent(kept).execute(&mut **tx).await?.rows_affected())
            }
            Self::Postgres(tx) => {
                let (kept, (text, arguments)) = (statement.kept, statement.postgres()?);
                Ok(sqlx::query_with(text, arguments).persistent(kept).execute(&mut **tx).await?.rows_affected())
            }
        }
    }

    /// The clause that lets several workers claim rows without waiting for one another. SQLite's single writer needs none.
    #[must_use]
    pub const fn skip_locked(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "",
            Self::Postgres(_) => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// The clause that makes a row that was read stay as it is until the commit. SQLite's single writer needs none.
    #[must_use]
    pub const fn for_update(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "",
            Self::Postgres(_) => " FOR UPDATE",
        }
    }

    /// Runs statements that give nothing and take no values.
    pub(crate) async fn run_script(&mut self, text: String) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(tx) => sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **tx).await.map(drop),
            Self::Postgres(tx) => sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **tx).await.map(drop),
        }
    }

    /// Ends it without a trace.
    pub(crate) async fn rollback(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.rollback().await?,
            Self::Postgres(tx) => tx.rollback().await?,
        }
        Ok(())
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

/// Whether a PostgreSQL that gave this error may take the next try: it is not there yet, starts, stops, or is full (appendix A of its
/// manual: classes 08 and 57P, 53300).
pub(crate) fn may_come_back(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(database) => {
            database.code().is_some_and(|code| code.starts_with("08") || matches!(code.as_ref(), "57P01" | "57P02" | "57P03" | "53300"))
        }
        _ => false,
    }
}

/// Whether SQLite says that somebody else writes (`SQLITE_BUSY`, with what it says further in the upper bits).
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

/// A connection that rested longer is asked whether it is still there before it is used.
const RESTED: Duration = Duration::from_secs(1);
/// How long a statement waits for whoever writes to the SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before a database that did not answer is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// What every session on PostgreSQL begins with: nobody waits for ever.
const SESSION: &str = "SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '60s'; SET lock_timeout = '30s'";
