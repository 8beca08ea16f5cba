//! Databases that a test has for itself.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::path::PathBuf;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tempfile::TempDir;

use crate::postgres::cluster;

/// One of the two databases that the product runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A file.
    Sqlite,
    /// A real server.
    Postgres,
}

/// An address of a database that nobody else has. The database ends with this value, whoever is still connected.
#[derive(Debug)]
pub struct Database {
    url: String,
    engine: Engine,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Folder(TempDir),
    Server { name: String },
}

/// An empty SQLite database: a file that is not there yet.
///
/// # Panics
/// When no temporary folder can be made.
#[must_use]
pub fn sqlite() -> Database {
    let folder = tempfile::Builder::new().prefix("certctl-test-").tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
    let url = format!("sqlite://{}", folder.path().join("certctl.db").display());
    Database { url, engine: Engine::Sqlite, place: Place::Folder(folder) }
}

/// An empty PostgreSQL database.
///
/// # Panics
/// When PostgreSQL is not installed or cannot be started.
pub async fn postgres() -> Database {
    create("").await
}

impl Database {
    /// An empty database.
    pub async fn empty(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => sqlite(),
            Engine::Postgres => postgres().await,
        }
    }

    /// A database with what `fill` puts into it. On PostgreSQL it is filled once for all test programs and copied from then on; `key` tells
    /// one content from another.
    ///
    /// # Panics
    /// As [`postgres`], or when `fill` does.
    pub async fn filled(engine: Engine, key: &str, fill: impl AsyncFnOnce(String)) -> Self {
        match engine {
            Engine::Sqlite => {
                let database = sqlite();
                fill(database.url.clone()).await;
                database
            }
            Engine::Postgres => {
                let template = format!("template_{key}");
                if !exists(&template).await {
                    make_template(&template, fill).await;
                }
                create(&format!(" TEMPLATE \"{template}\"")).await
            }
        }
    }

    /// Its address, as the product takes it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its address for the superuser of the cluster, who may do what the product may not.
    ///
    /// # Panics
    /// On SQLite, which has none.
    #[must_use]
    pub fn superuser_url(&self) -> String {
        match &self.place {
            Place::Server { name } => cluster().superuser_url(name),
            Place::Folder(_) => panic!("SQLite has no superuser"),
        }
    }

    /// Which kind it is.
    #[must_use]
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// Has every connection that is made from now on tell how each statement was carried out: a notice with its plan in JSON
    /// (`auto_explain` of PostgreSQL). Does nothing on SQLite.
    ///
    /// # Panics
    /// When the cluster refuses.
    pub async fn tell_plans(&self) {
        let Place::Server { name } = &self.place else { return };
        let settings = [
            ("session_preload_libraries", "auto_explain"),
            ("auto_explain.log_min_duration", "0"),
            ("auto_explain.log_analyze", "on"),
            ("auto_explain.log_format", "json"),
            ("auto_explain.log_level", "notice"),
        ];
        let mut connection = must(PgConnection::connect(&cluster().superuser_url("postgres")).await);
        for (setting, value) in settings {
            must(connection.execute(AssertSqlSafe(format!("ALTER DATABASE \"{name}\" SET {setting} = '{value}'"))).await);
        }
        must(connection.close().await);
    }

    /// The file of an SQLite database.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        match &self.place {
            Place::Folder(folder) => Some(folder.path().join("certctl.db")),
            Place::Server { .. } => None,
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Place::Server { name } = &self.place else { return };
        let statement = format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)");
        // Dropping cannot wait inside the test's runtime, so it has a thread with a runtime of its own.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { administer(&statement).await.map_err(std::io::Error::other) })
        });
        // What stays behind goes with the cluster.
        drop(thread.join());
    }
}

async fn create(like: &str) -> Database {
    let name = format!("test_{:016x}", RandomState::new().hash_one(std::process::id()));
    must(administer(&format!("CREATE DATABASE \"{name}\"{like}")).await);
    Database { url: cluster().url(&name), engine: Engine::Postgres, place: Place::Server { name } }
}

async fn make_template(template: &str, fill: impl AsyncFnOnce(String)) {
    let _one_at_a_time = cluster().lock("template").unwrap_or_else(|error| panic!("the lock of the templates: {error}"));
    if exists(template).await {
        return;
    }
    // Under another name until it is complete: who is killed while filling leaves nothing that looks like a template.
    let unfinished = format!("unfinished_{template}");
    must(administer(&format!("DROP DATABASE IF EXISTS \"{unfinished}\" WITH (FORCE)")).await);
    must(administer(&format!("CREATE DATABASE \"{unfinished}\"")).await);
    fill(cluster().url(&unfinished)).await;
    must(administer(&format!("ALTER DATABASE \"{unfinished}\" RENAME TO \"{template}\"")).await);
}

async fn exists(name: &str) -> bool {
    let mut connection = must(connect().await);
    let row = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(name).fetch_optional(&mut connection).await;
    must(row).is_some()
}

async fn administer(statement: &str) -> sqlx::Result<()> {
    let mut connection = connect().await?;
    connection.execute(AssertSqlSafe(statement.to_owned())).await?;
    connection.close().await
}

async fn connect() -> sqlx::Result<PgConnection> {
    PgConnection::connect(&cluster().url("postgres")).await
}

fn must<T>(result: sqlx::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("the test cluster of PostgreSQL refused: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    async fn count(database: &Database) -> i64 {
        let mut connection = PgConnection::connect(database.url()).await.unwrap();
        let row: (i64,) = sqlx::query_as("SELECT count(*) FROM things").fetch_one(&mut connection).await.unwrap();
        row.0
    }

    #[tokio::test]
    async fn a_copy_has_the_content_and_is_nobody_elses() {
        let fills = AtomicUsize::new(0);
        let key = format!("{:x}", RandomState::new().hash_one(0));
        let fill = async |url: String| {
            fills.fetch_add(1, Ordering::SeqCst);
            let mut connection = PgConnection::connect(&url).await.unwrap();
            connection.execute("CREATE TABLE things (id bigint); INSERT INTO things VALUES (1)").await.unwrap();
            connection.close().await.unwrap();
        };
        let one = Database::filled(Engine::Postgres, &key, fill).await;
        let other = Database::filled(Engine::Postgres, &key, fill).await;
        assert_eq!(fills.load(Ordering::SeqCst), 1);
        let mut connection = PgConnection::connect(one.url()).await.unwrap();
        connection.execute("INSERT INTO things VALUES (2)").await.unwrap();
        assert_eq!((count(&one).await, count(&other).await), (2, 1));
        must(administer(&format!("DROP DATABASE \"template_{key}\"")).await);
    }

    #[tokio::test]
    async fn a_database_ends_with_its_value_even_while_used() {
        let database = postgres().await;
        let Place::Server { name } = &database.place else { panic!("not on the server") };
        let name = name.clone();
        let connection = PgConnection::connect(database.url()).await.unwrap();
        assert!(exists(&name).await);
        drop(database);
        assert!(!exists(&name).await);
        drop(connection);
    }

    #[tokio::test]
    async fn the_role_of_the_tests_is_no_superuser() {
        let database = postgres().await;
        let mut connection = PgConnection::connect(database.url()).await.unwrap();
        let row: (bool,) =
            sqlx::query_as("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetch_one(&mut connection).await.unwrap();
        assert!(!row.0);
    }

    #[test]
    fn a_sqlite_database_begins_empty_and_ends_with_its_value() {
        let database = sqlite();
        let file = database.file().unwrap();
        assert!(!file.exists());
        std::fs::File::create(&file).unwrap();
        drop(database);
        assert!(!file.exists());
    }
}
