//! PostgreSQL's own programs: which of them fit a server, a dump as it is written, and a dump that is read.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::{self, JoinHandle};

use certctl_domain::secret::Secret;
use url::Url;

use crate::BackupError;

/// `pg_dump` and `pg_restore` of one version.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
    version: String,
    major: u32,
}

/// A database as these programs take it: a URL without its password, and the password, which goes where nobody sees it.
#[derive(Debug, Clone)]
pub struct Address {
    url: String,
    password: Option<Secret<String>>,
}

/// A program that runs. Dropped, it is ended.
struct Running {
    name: &'static str,
    child: Option<Child>,
    said: Option<JoinHandle<String>>,
}

/// A dump that is being written.
pub struct Dump {
    running: Running,
    output: Box<dyn Read + Send>,
}

/// A dump that is being read: every row of it is looked at, and nothing is kept.
pub struct Reading {
    running: Running,
    input: Option<ChildStdin>,
    tables: JoinHandle<std::io::Result<BTreeMap<String, i64>>>,
}

/// A dump that is being put into a database, in one transaction: it ends when all of the dump is there, or has never been.
pub struct Restoring {
    running: Running,
    input: Option<ChildStdin>,
}

impl Programs {
    /// The programs that fit a server of this major version: the same, or the next later that is there.
    ///
    /// # Errors
    /// When there are none; says which were found.
    pub fn find(folder: Option<&Path>, server: u32) -> Result<Self, BackupError> {
        let found = Self::all(folder);
        if let Some(fits) = found.iter().filter(|one| one.major >= server).min_by_key(|one| one.major) {
            return Ok(fits.clone());
        }
        let there: Vec<String> = found.iter().map(|one| format!("{} in {}", one.major, one.folder.display())).collect();
        let there = if there.is_empty() { "none was found".to_owned() } else { format!("there is {}", there.join(", ")) };
        Err(BackupError::new(format!("the server is PostgreSQL {server}, which an older pg_dump does not dump: {there}"))
            .hint(format!("install the package postgresql-client-{server}, or name its folder as backup.postgres_bin")))
    }

    /// Programs of any version.
    ///
    /// # Errors
    /// When there are none.
    pub fn newest(folder: Option<&Path>) -> Result<Self, BackupError> {
        Self::all(folder).into_iter().max_by_key(|one| one.major).ok_or_else(|| {
            BackupError::new("pg_restore was not found")
                .hint("install the package postgresql-client, or name its folder as backup.postgres_bin")
        })
    }

    fn all(folder: Option<&Path>) -> Vec<Self> {
        let folders = match folder {
            Some(folder) => vec![folder.to_owned()],
            None => {
                let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
                versions.map(|entry| entry.path().join("bin")).chain(USUAL.map(PathBuf::from)).collect()
            }
        };
        folders.into_iter().filter_map(Self::at).collect()
    }

    fn at(folder: PathBuf) -> Option<Self> {
        let program = folder.join("pg_dump");
        if !program.is_file() || !folder.join("pg_restore").is_file() {
            return None;
        }
        let output = command(&program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        let version = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        let major = version.split(' ').find_map(|word| word.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())?;
        Some(Self { folder, version, major })
    }

    /// `pg_dump (PostgreSQL) 15.18`
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Begins a dump of the snapshot that a transaction of ours exported, and keeps open.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn dump(&self, database: &Address, snapshot: &str) -> Result<Dump, BackupError> {
        let mut pg_dump = command(self.folder.join("pg_dump"));
        pg_dump.args(["--format=custom", "--no-owner", "--no-acl", "--no-password"]).arg(format!("--snapshot={snapshot}"));
        database.apply(&mut pg_dump);
        let mut running = Running::start("pg_dump", pg_dump.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let output =
            running.child.as_mut().and_then(|child| child.stdout.take()).ok_or_else(|| BackupError::new("pg_dump has no output"))?;
        Ok(Dump { running, output: Box::new(output) })
    }

    /// Begins to read a dump.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn read(&self) -> Result<Reading, BackupError> {
        let mut pg_restore = command(self.folder.join("pg_restore"));
        let mut running = Running::start(
            "pg_restore",
            pg_restore.args(["--no-owner", "--no-acl", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()),
        )?;
        let no_pipe = || BackupError::new("pg_restore has no pipes");
        let child = running.child.as_mut().ok_or_else(no_pipe)?;
        let (input, output) = (child.stdin.take(), child.stdout.take().ok_or_else(no_pipe)?);
        Ok(Reading { running, input, tables: thread::spawn(move || count_rows(output)) })
    }

    /// Begins to put a dump into an empty database.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn restore(&self, database: &Address) -> Result<Restoring, BackupError> {
        let mut pg_restore = command(self.folder.join("pg_restore"));
        pg_restore.args(["--single-transaction", "--exit-on-error", "--no-owner", "--no-acl", "--no-password"]);
        database.apply(&mut pg_restore);
        let mut running = Running::start("pg_restore", pg_restore.stdin(Stdio::piped()).stdout(Stdio::null()))?;
        let input = running.child.as_mut().and_then(|child| child.stdin.take());
        Ok(Restoring { running, input })
    }
}

impl Address {
    /// From the URL of the configuration.
    ///
    /// # Errors
    /// When it is no URL.
    pub fn new(url: &Secret<String>) -> Result<Self, BackupError> {
        let mut url = Url::parse(url.expose()).map_err(|_| BackupError::new("the database URL cannot be read"))?;
        let mut password = url.password().map(percent_decoded);
        if password.is_some() {
            url.set_password(None).map_err(|()| BackupError::new("the database URL cannot be read"))?;
        }
        let pairs: Vec<(String, String)> = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        url.set_query(None);
        for (name, value) in pairs {
            match name.as_str() {
                "password" => password = Some(value),
                // Of the driver that the server uses, unknown to these programs.
                "statement-cache-capacity" | "application_name" => {}
                _ => {
                    let name = RENAMED.iter().find(|(ours, _)| *ours == name).map_or(name.as_str(), |(_, theirs)| *theirs);
                    url.query_pairs_mut().append_pair(name, &value);
                }
            }
        }
        Ok(Self { url: url.into(), password: password.map(Secret::new) })
    }

    /// The same server and user, another database.
    ///
    /// # Errors
    /// When the URL names its database elsewhere than in its path.
    pub fn of_database(url: &Secret<String>, name: &str) -> Result<Secret<String>, BackupError> {
        let mut url = Url::parse(url.expose()).map_err(|_| BackupError::new("the database URL cannot be read"))?;
        if url.query_pairs().any(|(name, _)| name == "dbname") {
            return Err(BackupError::new("the database URL names its database as `dbname`")
                .hint("name it in the path: postgres://user@host/database"));
        }
        url.set_path(name);
        Ok(Secret::new(url.into()))
    }

    fn apply(&self, command: &mut Command) {
        command.arg(format!("--dbname={}", self.url));
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password.expose());
        }
    }
}

impl Dump {
    /// Reads what the program wrote.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        crate::stream::fill(&mut self.output, buffer)
    }

    /// Waits for the end; a dump is whole only when this says so.
    ///
    /// # Errors
    /// With what the program said, when it failed.
    pub fn end(self) -> Result<(), BackupError> {
        self.running.end("the database cannot be dumped")
    }
}

impl Reading {
    /// Hands on the next part of the dump.
    ///
    /// # Errors
    /// With what the program said, when it will not go on.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        feed(&mut self.input, &mut self.running, bytes)
    }

    /// Waits for the end, and gives the rows of each table.
    ///
    /// # Errors
    /// With what the program said, when the dump is not whole.
    pub fn end(mut self) -> Result<BTreeMap<String, i64>, BackupError> {
        drop(self.input.take());
        let tables = self.tables.join().map_err(|_| BackupError::new("the rows of the dump could not be counted"))?;
        self.running.end(NOT_WHOLE)?;
        tables.map_err(|e| BackupError::from_io("the rows of the dump could not be counted", e))
    }
}

impl Restoring {
    /// Hands on the next part of the dump.
    ///
    /// # Errors
    /// With what the program said, when it will not go on.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        feed(&mut self.input, &mut self.running, bytes)
    }

    /// Waits for the end; the database holds the dump only when this says so.
    ///
    /// # Errors
    /// With what the program said, when it failed. Nothing was changed then.
    pub fn end(mut self) -> Result<(), BackupError> {
        drop(self.input.take());
        self.running.end("the dump cannot be put into the database, which was not changed")
    }
}

fn feed(input: &mut Option<ChildStdin>, running: &mut Running, bytes: &[u8]) -> Result<(), BackupError> {
    let Some(pipe) = input else { return Ok(()) };
    let Err(error) = pipe.write_all(bytes) else { return Ok(()) };
    drop(input.take());
    // It ended before it had read everything; why, it has said.
    match std::mem::replace(running, Running { name: running.name, child: None, said: None }).end(NOT_WHOLE) {
        Err(said) => Err(said),
        Ok(()) => Err(BackupError::from_io("pg_restore stopped reading", error)),
    }
}

impl Running {
    fn start(name: &'static str, command: &mut Command) -> Result<Self, BackupError> {
        let spawned = command.stderr(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|e| BackupError::from_io(&format!("{name} cannot be started"), e))?;
        let said = child.stderr.take().map(|stderr| thread::spawn(move || last_words(stderr)));
        Ok(Self { name, child: Some(child), said })
    }

    fn end(mut self, what: &str) -> Result<(), BackupError> {
        let Some(mut child) = self.child.take() else { return Err(BackupError::new(what)) };
        let status = child.wait().map_err(|e| BackupError::from_io(&format!("{} cannot be waited for", self.name), e))?;
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        Err(BackupError::new(format!("{what}: {} ended with {status} and said: {said}", self.name)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Counts the rows in the script that a dump becomes: they stand between `COPY table (...) FROM stdin;` and `\.`.
fn count_rows(script: impl Read) -> std::io::Result<BTreeMap<String, i64>> {
    let mut script = BufReader::with_capacity(1 << 16, script);
    let mut tables = BTreeMap::new();
    let mut inside: Option<(String, i64)> = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        if script.read_until(b'\n', &mut line)? == 0 {
            return Ok(tables);
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        match inside.take() {
            None => inside = copied_table(text).map(|table| (table, 0)),
            Some((table, rows)) if text == b"\\." => {
                tables.insert(table, rows);
            }
            Some((table, rows)) => inside = Some((table, rows + 1)),
        }
    }
}

/// `COPY public.jobs (id, ...) FROM stdin;`
fn copied_table(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix("COPY ")?.strip_suffix(" FROM stdin;")?;
    let name = rest.split_once(" (").map_or(rest, |(name, _)| name);
    let table = name.rsplit_once('.').map_or(name, |(_, table)| table);
    Some(table.trim_matches('"').to_owned())
}

/// The end of what a program said; all of it is read, so that it never waits for us.
fn last_words(said: impl Read) -> String {
    let mut lines: std::collections::VecDeque<String> = std::collections::VecDeque::new();
    for line in BufReader::new(said).split(b'\n').map_while(Result::ok) {
        if lines.len() == MOST_LINES {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(&line).chars().take(MOST_LETTERS).collect());
    }
    lines.make_contiguous().join("; ")
}

#[expect(
    clippy::disallowed_methods,
    reason = "streams of any length and no time-out; the program is chosen by us, not by whoever uses the API"
)]
fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").env("PGAPPNAME", "certctl-backup").current_dir("/");
    command
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let pair = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%').and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Parameters that the server's driver and libpq call by different names.
const RENAMED: [(&str, &str); 5] =
    [("ssl-mode", "sslmode"), ("ssl-root-cert", "sslrootcert"), ("ssl-ca", "sslrootcert"), ("ssl-cert", "sslcert"), ("ssl-key", "sslkey")];
const USUAL: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/usr/pgsql/bin"];
const NOT_WHOLE: &str = "the dump cannot be read";
const MOST_LINES: usize = 5;
const MOST_LETTERS: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Address {
        Address::new(&Secret::new(url.to_owned())).unwrap()
    }

    #[test]
    fn the_password_is_in_no_argument() {
        for (given, url) in [
            ("postgres://c:a%2Fb+c%40d%3Ae%25f%3F@db:5433/c?sslmode=require", "postgres://c@db:5433/c?sslmode=require"),
            (
                "postgres://c@db/c?password=a/b%2Bc@d:e%25f?&ssl-ca=/ca.pem&statement-cache-capacity=0",
                "postgres://c@db/c?sslrootcert=%2Fca.pem",
            ),
        ] {
            let address = address(given);
            assert_eq!(address.url, url);
            assert_eq!(address.password.unwrap().expose(), "a/b+c@d:e%f?");
        }
        let bare = address("postgres:///c?host=/run/postgresql");
        assert_eq!((bare.url.as_str(), bare.password.is_none()), ("postgres:///c?host=%2Frun%2Fpostgresql", true));
    }

    #[test]
    fn rows_are_counted_as_they_stand_in_a_script() {
        let script = b"SET x;\nCOPY public.jobs (id, \"type\") FROM stdin;\n1\ta\n2\tCOPY x FROM stdin;\n\\.\n\nCOPY public.\"Odd\" (id) FROM stdin;\n\\.\n";
        let tables = count_rows(script.as_slice()).unwrap();
        assert_eq!(tables, BTreeMap::from([("jobs".to_owned(), 2), ("Odd".to_owned(), 0)]));
    }

    #[test]
    fn a_server_newer_than_every_program_is_told_of_before_anything_starts() {
        let refused = Programs::find(None, 99).unwrap_err();
        assert!(refused.to_string().contains("PostgreSQL 99") && refused.advice().unwrap().contains("postgresql-client-99"), "{refused}");
        assert!(Programs::find(Some(Path::new("/nowhere")), 15).unwrap_err().to_string().contains("none was found"));
        assert!(Programs::find(None, 15).unwrap().version().starts_with("pg_dump (PostgreSQL) 1"));
    }
}
