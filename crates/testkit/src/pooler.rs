//! pgbouncer between the product and a database.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::database::Database;
use crate::ports::free_port;
use crate::postgres::{Failure, instead_of_root};
use crate::programs::require_program;
use crate::running::Running;
use crate::wait::wait_until;

/// A pgbouncer in session mode; it runs until it is dropped.
#[derive(Debug)]
pub struct Pooler {
    url: String,
    _pgbouncer: Running,
    _folder: tempfile::TempDir,
}

impl Pooler {
    /// Starts one before a database on PostgreSQL.
    ///
    /// # Panics
    /// When it is not installed or does not start, or the database is no PostgreSQL.
    pub async fn before(database: &Database) -> Self {
        let (this, port) = Self::start(database.url()).unwrap_or_else(|error| panic!("pgbouncer cannot be started: {error}"));
        wait_until("pgbouncer to listen", PATIENCE, async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        this
    }

    /// The address of the database behind it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    fn start(url: &str) -> Result<(Self, u16), Failure> {
        let parts = (|| {
            let (role, rest) = url.strip_prefix("postgres://")?.split_once('@')?;
            let (place, socket) = rest.split_once("?host=")?;
            let (host, name) = place.split_once('/')?;
            Some((role, host.split_once(':')?.1, name, socket))
        })();
        let (role, their_port, name, socket) = parts.ok_or("the database has no address of the test kit's PostgreSQL")?;
        let folder = tempfile::Builder::new().prefix("certctl-pgbouncer-").tempdir()?;
        let (here, port) = (folder.path(), free_port());
        let config = format!(
            "[databases]\n{name} = host={socket} port={their_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}/users\npool_mode = session\ndefault_pool_size = 100\nmax_client_conn = 300\n",
            here.display()
        );
        write(&here.join("pgbouncer.ini"), &config)?;
        write(&here.join("users"), &format!("\"{role}\" \"\"\n"))?;
        let mut pgbouncer = command(here);
        if let Some((uid, gid)) = instead_of_root()? {
            std::fs::set_permissions(here, std::fs::Permissions::from_mode(0o711))?;
            chown(here, Some(uid.as_raw()), Some(gid.as_raw()))?;
            pgbouncer.uid(uid.as_raw()).gid(gid.as_raw());
        }
        let running = Running::start(&mut pgbouncer, &here.join("log"));
        Ok((Self { url: format!("postgres://{role}@127.0.0.1:{port}/{name}"), _pgbouncer: running, _folder: folder }, port))
    }
}

#[expect(clippy::disallowed_methods, reason = "a fixture starts the programs of others")]
fn command(folder: &Path) -> Command {
    let mut command = Command::new(require_program("pgbouncer"));
    command.arg(folder.join("pgbouncer.ini")).current_dir(folder).stdin(Stdio::null());
    command
}

#[expect(clippy::disallowed_methods, reason = "a fixture's file is gone with the test")]
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)
}

const PATIENCE: Duration = Duration::from_secs(20);
