//! pebble, the small ACME CA for tests, and its name server: no Debian package has them, so Go builds them from their module.

use std::path::Path;

use crate::failure::Failure;
use crate::files;
use crate::process::{capture, command};

use super::zlint::go;

/// The version in `tools`, if both programs are there.
pub(super) fn installed(tools: &Path) -> Option<String> {
    let stamp = files::read(&tools.join(STAMP)).ok()?;
    (PROGRAMS.iter().all(|program| tools.join(program).is_file()) && stamp.trim() == VERSION).then(|| VERSION.to_owned())
}

/// Builds both, and says which version.
pub(super) fn install(tools: &Path) -> Result<String, Failure> {
    let go = go().ok_or_else(|| Failure::new("pebble needs Go to be built").hint("as root: apt-get install -y golang-go"))?;
    for program in PROGRAMS {
        let module = format!("github.com/letsencrypt/pebble/v2/cmd/{program}@{VERSION}");
        capture(command(&go).args(["install", &module]).env("GOBIN", tools)).map_err(|error| {
            error.hint("the Go module proxy must be reachable (`go env GOPROXY`), and Go be at least as new as pebble wants")
        })?;
    }
    files::write(&tools.join(STAMP), VERSION)?;
    Ok(VERSION.to_owned())
}

const PROGRAMS: [&str; 2] = ["pebble", "pebble-challtestsrv"];
const VERSION: &str = "v2.10.1";

/// The installed version, since programs built by `go install` do not know their own.
const STAMP: &str = ".pebble-version";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_programs_and_the_right_version_must_be_there() {
        let tools = tempfile::tempdir().unwrap();
        files::write(&tools.path().join(STAMP), VERSION).unwrap();
        files::write(&tools.path().join("pebble"), "").unwrap();
        assert_eq!(installed(tools.path()), None);
        files::write(&tools.path().join("pebble-challtestsrv"), "").unwrap();
        assert_eq!(installed(tools.path()), Some(VERSION.to_owned()));
        files::write(&tools.path().join(STAMP), "v1.0.0").unwrap();
        assert_eq!(installed(tools.path()), None);
    }
}
