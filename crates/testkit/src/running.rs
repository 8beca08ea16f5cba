//! Programs of others that run beside a test.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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

    /// Holds it still for as long as this takes.
    pub(crate) async fn frozen<T>(&self, during: impl Future<Output = T>) -> T {
        self.signal(Signal::SIGSTOP);
        let done = during.await;
        self.signal(Signal::SIGCONT);
        done
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.0.id()).unwrap_or_else(|_| panic!("no process has the number {}", self.0.id()));
        kill(Pid::from_raw(id), signal).unwrap_or_else(|e| panic!("process {id} cannot be signalled: {e}"));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
