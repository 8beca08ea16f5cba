//! The programs of other people that the tests and the demo run against.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::find_program;

/// One program, and how to get it.
pub(super) struct Need {
    /// What a person calls it.
    pub(super) name: &'static str,
    /// The Debian package that brings it.
    pub(super) package: &'static str,
    /// Completes "needed ...".
    pub(super) why: &'static str,
    /// What to do where Debian's package is not enough.
    pub(super) elsewhere: &'static str,
    /// How to see whether it is there.
    pub(super) search: Search,
}

/// How to see whether a program is there.
pub(super) enum Search {
    /// In `PATH` or in the folders for system programs.
    Program(&'static str),
    /// PostgreSQL keeps its server programs out of `PATH`, in a folder per major version.
    PostgresServer,
    /// A file.
    File(&'static str),
}

/// Everything that comes as a Debian package.
pub(super) const ALL: [Need; 18] = [
    Need {
        name: "PostgreSQL 15 or later",
        package: "postgresql",
        why: "because every store test runs on SQLite and on PostgreSQL",
        elsewhere: "this Debian's PostgreSQL is older than 15; install postgresql-15 or later from apt.postgresql.org",
        search: Search::PostgresServer,
    },
    Need {
        name: "nginx",
        package: "nginx-light",
        why: "as the web server that certificates are deployed to",
        elsewhere: "install nginx by hand; the demo also runs with --without-nginx",
        search: Search::Program("nginx"),
    },
    Need {
        name: "HAProxy 2.6 or later",
        package: "haproxy",
        why: "as the load balancer that certificates are deployed to while it runs",
        elsewhere: "install HAProxy by hand",
        search: Search::Program("haproxy"),
    },
    Need {
        name: "BIND",
        package: "bind9",
        why: "as the name server that takes signed updates for dns-01",
        elsewhere: "install the name server `named` of BIND 9",
        search: Search::Program("named"),
    },
    Need {
        name: "pgbouncer",
        package: "pgbouncer",
        why: "as the pooler that a server may find before its PostgreSQL",
        elsewhere: "install pgbouncer by hand",
        search: Search::Program("pgbouncer"),
    },
    Need {
        name: "faketime",
        package: "faketime",
        why: "to run an agent whose clock is wrong",
        elsewhere: "install libfaketime by hand",
        search: Search::Program("faketime"),
    },
    Need {
        name: "age",
        package: "age",
        why: "as another program that opens encrypted backups",
        elsewhere: "install age 1.0 or later by hand",
        search: Search::Program("age-keygen"),
    },
    Need {
        name: "Python",
        package: "python3-venv",
        why: "for moto, an S3 that backups are kept in",
        elsewhere: "install Python 3.9 or later with its venv module",
        search: Search::Program("python3"),
    },
    Need {
        name: "openssl",
        package: "openssl",
        why: "as a second judge of what is issued and served",
        elsewhere: "install OpenSSL 3",
        search: Search::Program("openssl"),
    },
    Need {
        name: "curl",
        package: "curl",
        why: "to call the API as the runbooks do",
        elsewhere: "install curl",
        search: Search::Program("curl"),
    },
    Need { name: "jq", package: "jq", why: "to read answers as the runbooks do", elsewhere: "install jq", search: Search::Program("jq") },
    Need {
        name: "Docker Compose",
        package: "docker-compose",
        why: "to read the compose files as it would before it starts them",
        elsewhere: "install Docker Compose 1.29 or later, so that `docker-compose config` works; no engine is needed",
        search: Search::Program("docker-compose"),
    },
    Need {
        name: "ShellCheck",
        package: "shellcheck",
        why: "as a judge of the scripts that operators run",
        elsewhere: "install ShellCheck",
        search: Search::Program("shellcheck"),
    },
    Need {
        name: "lintian",
        package: "lintian",
        why: "as a judge of the Debian packages",
        elsewhere: "install lintian; it comes with Debian",
        search: Search::Program("lintian"),
    },
    Need {
        name: "systemd-analyze",
        package: "systemd",
        why: "as a judge of the systemd units",
        elsewhere: "install systemd 252 or later; it need not run",
        search: Search::Program("systemd-analyze"),
    },
    Need {
        name: "SQLite's command",
        package: "sqlite3",
        why: "to count by hand what the metrics count",
        elsewhere: "install the program `sqlite3`",
        search: Search::Program("sqlite3"),
    },
    Need {
        name: "promtool",
        package: "prometheus",
        why: "to test the alerts",
        elsewhere: "install promtool of Prometheus 2.42 or later",
        search: Search::Program("promtool"),
    },
    Need {
        name: "CA certificates",
        package: "ca-certificates",
        why: "to fetch what is built from source",
        elsewhere: "install your system's bundle of CA certificates",
        search: Search::File("/etc/ssl/certs/ca-certificates.crt"),
    },
];

impl Need {
    /// Where it is, if it is there.
    pub(super) fn find(&self) -> Option<PathBuf> {
        match self.search {
            Search::Program(name) => find_program(name),
            Search::PostgresServer => newest_postgres(Path::new("/usr/lib/postgresql")),
            Search::File(path) => Some(PathBuf::from(path)).filter(|path| path.is_file()),
        }
    }
}

/// The nginx program, if it is installed.
pub(crate) fn nginx() -> Option<PathBuf> {
    find_program("nginx")
}

/// The newest folder of server programs below `base` whose major version we support.
fn newest_postgres(base: &Path) -> Option<PathBuf> {
    let majors = fs::read_dir(base).ok()?.filter_map(Result::ok).filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let usable = majors.filter(|major| *major >= OLDEST_POSTGRES).map(|major| (major, base.join(major.to_string()).join("bin")));
    usable.filter(|(_, folder)| folder.join("initdb").is_file()).max_by_key(|(major, _)| *major).map(|(_, folder)| folder)
}

const OLDEST_POSTGRES: u32 = 15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    #[test]
    fn the_newest_complete_postgres_is_taken_and_an_old_one_refused() {
        let base = tempfile::tempdir().unwrap();
        assert_eq!(newest_postgres(base.path()), None);
        for major in ["9", "13", "15", "16"] {
            files::write(&base.path().join(major).join("bin/initdb"), "").unwrap();
        }
        files::make_dir(&base.path().join("17/bin")).unwrap();
        assert_eq!(newest_postgres(base.path()), Some(base.path().join("16/bin")));
        std::fs::remove_dir_all(base.path().join("15")).unwrap();
        std::fs::remove_dir_all(base.path().join("16")).unwrap();
        assert_eq!(newest_postgres(base.path()), None);
    }

    #[test]
    fn a_shell_is_found_and_a_missing_file_is_not() {
        let mut need = Need { name: "sh", package: "dash", why: "", elsewhere: "", search: Search::Program("sh") };
        assert!(need.find().is_some());
        need.search = Search::File("/no/such/file");
        assert!(need.find().is_none());
    }
}
