//! The openssl command line in a directory of its own.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A directory in which openssl works.
pub(crate) struct Openssl(TempDir);

impl Openssl {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// Writes a file and returns its name.
    pub(crate) fn put<'a>(&self, name: &'a str, content: &str) -> &'a str {
        std::fs::File::create(self.path(name)).unwrap().write_all(content.as_bytes()).unwrap();
        name
    }

    pub(crate) fn get(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn put_bytes(&self, name: &str, content: &[u8]) {
        std::fs::File::create(self.path(name)).unwrap().write_all(content).unwrap();
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs `openssl` with the words of the line; both outputs together when it succeeds.
    pub(crate) fn run(&self, line: &str) -> String {
        let (success, output) = self.attempt(line);
        assert!(success, "openssl {line}: {output}");
        output
    }

    /// Runs `openssl` and says whether it succeeded.
    #[expect(clippy::disallowed_methods, reason = "a judge from outside, in a test; exec::run lives above this crate")]
    pub(crate) fn attempt(&self, line: &str) -> (bool, String) {
        let done = Command::new("openssl").args(line.split_whitespace()).current_dir(self.0.path()).output();
        let done = done.unwrap_or_else(|error| panic!("openssl cannot be run ({error}); install it with `apt-get install openssl`"));
        let text = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
