//! A database as another program than the server sees it: another release, an operator at `psql`.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

/// A connection to it.
pub(crate) enum Tables {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Tables {
    /// Connects to the database of these settings, under this name.
    pub(crate) async fn of(setup: &super::Setup, name: &str) -> Self {
        match setup.variables.get("CERTCTL_DATABASE_URL") {
            Some(url) => Self::at(url, name).await,
            None => Self::at(&format!("sqlite://{}", setup.data.join("certctl.db").display()), name).await,
        }
    }

    /// Connects to a database.
    pub(crate) async fn at(url: &str, name: &str) -> Self {
        if url.starts_with("sqlite:") {
            return Self::Sqlite(url.parse::<SqliteConnectOptions>().unwrap().create_if_missing(true).connect().await.unwrap());
        }
        Self::Postgres(url.parse::<PgConnectOptions>().unwrap().application_name(name).connect().await.unwrap())
    }

    /// Runs statements.
    pub(crate) async fn run(&mut self, statements: &str) {
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        match self {
            Self::Sqlite(connection) => statements.execute(connection).await.map(drop),
            Self::Postgres(connection) => statements.execute(connection).await.map(drop),
        }
        .unwrap();
    }

    /// The first column of every row, as text.
    pub(crate) async fn texts(&mut self, statement: &str) -> Vec<String> {
        let statement = AssertSqlSafe(statement.to_owned());
        match self {
            Self::Sqlite(connection) => sqlx::query(statement).fetch_all(connection).await.unwrap().iter().map(|row| row.get(0)).collect(),
            Self::Postgres(connection) => {
                sqlx::query(statement).fetch_all(connection).await.unwrap().iter().map(|row| row.get(0)).collect()
            }
        }
    }

    /// The number that a statement gives.
    pub(crate) async fn number(&mut self, statement: &str) -> i64 {
        let statement = AssertSqlSafe(statement.to_owned());
        match self {
            Self::Sqlite(connection) => sqlx::query(statement).fetch_one(connection).await.unwrap().get(0),
            Self::Postgres(connection) => sqlx::query(statement).fetch_one(connection).await.unwrap().get(0),
        }
    }

    /// The newest migration in it; 0 when there is none.
    pub(crate) async fn schema(&mut self) -> i64 {
        let exists = match self {
            Self::Sqlite(_) => "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'",
            Self::Postgres(_) => "SELECT count(*) FROM pg_tables WHERE tablename = '_sqlx_migrations'",
        };
        match self.number(exists).await {
            0 => 0,
            _ => self.number("SELECT COALESCE(max(version), 0) FROM _sqlx_migrations").await,
        }
    }
}
