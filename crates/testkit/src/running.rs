//! Programs of others that run beside a test.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

/// A program of others that is stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    /// Starts it; what it says goes to a file.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::create(log).and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) = log.unwrap_or_else(|e| panic!("no log file: {e}"));
        Self(command.stdout(out).stderr(err).spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
