//! zlint, the linter for certificates: no Debian package has it, so Go builds it from its module.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::files;
use crate::process::{capture, command, find_program};

/// The version in `tools`, if it is there.
pub(super) fn installed(tools: &Path) -> Option<String> {
    let stamp = files::read(&tools.join(STAMP)).ok()?;
    let version = stamp.trim().to_owned();
    (tools.join("zlint").is_file() && VERSIONS.contains(&version.as_str())).then_some(version)
}

/// The Go command, if there is one.
pub(super) fn go() -> Option<PathBuf> {
    find_program("go").or_else(|| Some(PathBuf::from("/usr/local/go/bin/go")).filter(|path| path.is_file()))
}

/// Builds the newest version that this Go can, and says which.
pub(super) fn install(tools: &Path) -> Result<String, Failure> {
    let go = go().ok_or_else(|| Failure::new("zlint needs Go to be built").hint("as root: apt-get install -y golang-go"))?;
    let mut last = Failure::new("no version of zlint could be built");
    for version in VERSIONS {
        let module = format!("github.com/zmap/zlint/v3/cmd/zlint@{version}");
        match capture(command(&go).args(["install", &module]).env("GOBIN", tools)) {
            Ok(_) => {
                files::write(&tools.join(STAMP), version)?;
                return Ok(version.to_owned());
            }
            Err(error) => last = last.because(error),
        }
    }
    Err(last.hint("the Go module proxy must be reachable (`go env GOPROXY`)"))
}

/// Newest first. 3.7 needs Go 1.25; 3.6 builds with the Go 1.19 of Debian 12.
const VERSIONS: [&str; 2] = ["v3.7.3", "v3.6.1"];

/// The installed version, since the program built by `go install` does not know its own.
const STAMP: &str = ".zlint-version";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_without_the_program_or_of_another_version_does_not_count() {
        let tools = tempfile::tempdir().unwrap();
        assert_eq!(installed(tools.path()), None);
        files::write(&tools.path().join(STAMP), "v3.7.3\n").unwrap();
        assert_eq!(installed(tools.path()), None);
        files::write(&tools.path().join("zlint"), "").unwrap();
        assert_eq!(installed(tools.path()), Some("v3.7.3".to_owned()));
        files::write(&tools.path().join(STAMP), "v2.0.0").unwrap();
        assert_eq!(installed(tools.path()), None);
    }
}
