//! A PostgreSQL cluster of our own with default durability: every commit reaches the disk, as in production.

use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, User};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::failure::{Context as _, Failure, Result};
use crate::files;
use crate::process::{Process, capture, command, cpu_of_family};

/// The running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    home: PathBuf,
    process: Process,
    counts_statements: bool,
}

impl Cluster {
    /// Makes one in `home` and starts it.
    pub(crate) async fn start(home: &Path) -> Result<Self> {
        let programs = programs()?;
        let other_user = other_user()?;
        std::fs::DirBuilder::new().mode(0o700).create(home).context("cannot make the folder of the cluster")?;
        if let Some((uid, gid)) = other_user {
            chown(home, Some(uid.as_raw()), Some(gid.as_raw())).context("cannot give the folder of the cluster away")?;
        }
        let as_user = |command: &mut Command| {
            command.current_dir(home);
            if let Some((uid, gid)) = other_user {
                command.uid(uid.as_raw()).gid(gid.as_raw());
            }
        };
        let data = home.join("data");
        let mut initdb = command(programs.join("initdb"));
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--pgdata"]).arg(&data);
        as_user(&mut initdb);
        capture(&mut initdb)?;
        let counter = programs.parent().map(|folder| folder.join("lib/pg_stat_statements.so"));
        let counts_statements = counter.is_some_and(|library| library.is_file());
        let conf = data.join("postgresql.conf");
        let mut settings = files::read(&conf)?;
        settings.push_str(&format!("\nport = {PORT}\nunix_socket_directories = '{}'\n{SETTINGS}", home.display()));
        if counts_statements {
            settings.push_str("shared_preload_libraries = 'pg_stat_statements'\npg_stat_statements.save = off\n");
        }
        files::write(&conf, settings)?;
        let (server, data) = (programs.join("postgres").display().to_string(), data.display().to_string());
        let process = Process::start("PostgreSQL", &[&server, "-D", &data], &home.with_extension("log"), Signal::SIGINT, as_user)?;
        let mut cluster = Self { home: home.to_owned(), process, counts_statements };
        cluster.wait().await?;
        let mut sql = cluster.connect("postgres").await?;
        sql.execute("CREATE ROLE certctl LOGIN; CREATE ROLE bare LOGIN IN ROLE pg_read_all_data").await.context("cannot make the roles")?;
        if counts_statements {
            sql.execute("CREATE EXTENSION pg_stat_statements").await.context("cannot count statements")?;
        }
        Ok(cluster)
    }

    /// The address of a database for a role.
    pub(crate) fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@localhost:{PORT}/{database}?host={}", self.home.display())
    }

    /// Makes an empty database that belongs to the product.
    pub(crate) async fn create(&self, database: &str) -> Result<()> {
        let mut sql = self.connect("postgres").await?;
        let statement = AssertSqlSafe(format!("CREATE DATABASE {database} OWNER certctl"));
        sql.execute(statement).await.context(format_args!("cannot make the database {database}"))?;
        Ok(())
    }

    /// A connection that may do everything.
    pub(crate) async fn connect(&self, database: &str) -> Result<PgConnection> {
        let options: PgConnectOptions = self.url("postgres", database).parse().context("the address of the cluster")?;
        PgConnection::connect_with(&options).await.context("cannot reach PostgreSQL")
    }

    /// The processor time of all its processes up to now.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu_of_family(self.process.pid())
    }

    /// How many statements a role has sent to a database up to now; `None` where the extension is not installed.
    pub(crate) async fn statements(&self, role: &str, database: &str) -> Result<Option<f64>> {
        if !self.counts_statements {
            return Ok(None);
        }
        let mut sql = self.connect("postgres").await?;
        let count = sqlx::query_scalar::<_, f64>(
            "SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements s
             JOIN pg_roles r ON r.oid = s.userid JOIN pg_database d ON d.oid = s.dbid WHERE rolname = $1 AND datname = $2",
        )
        .bind(role)
        .bind(database)
        .fetch_one(&mut sql)
        .await;
        count.map(Some).context("cannot count statements")
    }

    async fn wait(&mut self) -> Result<()> {
        let socket = self.home.join(format!(".s.PGSQL.{PORT}"));
        for _ in 0..600 {
            self.process.must_run()?;
            if UnixStream::connect(&socket).is_ok() && self.connect("postgres").await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(Failure::new("PostgreSQL does not answer within a minute"))
    }
}

/// The folder with the server programs: Debian keeps them out of `PATH`, in a folder per major version.
fn programs() -> Result<PathBuf> {
    let majors = std::fs::read_dir(DEBIAN).into_iter().flatten().filter_map(std::result::Result::ok);
    let majors = majors.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).filter(|major| *major >= OLDEST);
    let folders = majors.map(|major| (major, Path::new(DEBIAN).join(major.to_string()).join("bin")));
    let newest = folders.filter(|(_, folder)| folder.join("initdb").is_file()).max_by_key(|(major, _)| *major);
    if let Some((_, folder)) = newest {
        return Ok(folder);
    }
    let said = capture(command("pg_config").arg("--bindir")).context("PostgreSQL 15 or later is not installed; run: cargo xtask setup")?;
    Ok(PathBuf::from(String::from_utf8_lossy(&said).trim()))
}

/// PostgreSQL refuses to run as root.
fn other_user() -> Result<Option<(Uid, Gid)>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
    let user = user.context("PostgreSQL refuses to run as root, and there is no user named postgres or nobody")?;
    Ok(Some((user.uid, user.gid)))
}

const DEBIAN: &str = "/usr/lib/postgresql";
const OLDEST: u32 = 15;
/// The number in the name of the socket; nothing listens on a network.
const PORT: u16 = 5432;

/// What an operator of a database of this size would set; everything about durability is as it comes.
const SETTINGS: &str = "
listen_addresses = ''
max_connections = 100
shared_buffers = 1GB
effective_cache_size = 4GB
maintenance_work_mem = 512MB
max_wal_size = 8GB
checkpoint_timeout = 15min
";
