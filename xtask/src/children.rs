//! The processes of a command: each in a process group of its own, each with a log, and none left when the command is gone.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::failure::Failure;
use crate::process::{command, find_program, shown};
use crate::{files, say};

/// A command for [`Children::start`]: the kernel ends the process when the thread that started it is gone (prctl(2), `PR_SET_PDEATHSIG`), by way of
/// setpriv(1) where there is one, so that not even a killed command leaves it behind.
pub(crate) fn bound(program: &Path) -> Command {
    let Some(setpriv) = find_program("setpriv") else { return command(program) };
    let mut bound = command(setpriv);
    bound.args(["--pdeathsig", "TERM", "--"]).arg(program);
    bound
}

/// The running processes, in the order in which they were started.
pub(crate) struct Children {
    logs: PathBuf,
    running: Vec<Running>,
}

struct Running {
    name: &'static str,
    group: Pid,
    log: PathBuf,
    ended: Receiver<ExitStatus>,
}

impl Children {
    /// None yet; their output will go into files in `logs`.
    pub(crate) fn new(logs: PathBuf) -> Self {
        Self { logs, running: Vec::new() }
    }

    /// Starts one. It does not see a Ctrl-C of the terminal, since the order in which all end matters.
    pub(crate) fn start(&mut self, name: &'static str, mut program: Command) -> Result<(), Failure> {
        let log = self.logs.join(format!("{name}.log"));
        let opened = File::create(&log).and_then(|file| Ok((file.try_clone()?, file)));
        let (out, err) = opened.map_err(|error| Failure::new(format!("cannot make {}", log.display())).because(error))?;
        let spawned = program.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).spawn();
        let mut child = spawned.map_err(|error| Failure::new(format!("cannot start `{}`", shown(&program))).because(error))?;
        let group =
            i32::try_from(child.id()).map(Pid::from_raw).map_err(|error| Failure::new("an impossible process id").because(error))?;
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || child.wait().map(|status| sender.send(status)));
        self.running.push(Running { name, group, log, ended });
        Ok(())
    }

    /// Fails if one has ended although nobody asked it to.
    pub(crate) fn all_alive(&self) -> Result<(), Failure> {
        for child in &self.running {
            match child.ended.try_recv() {
                Err(TryRecvError::Empty) => {}
                Ok(status) => {
                    return Err(Failure::new(format!("{} ended with {status}", child.name)).hint(format!("see {}", child.log.display())));
                }
                Err(TryRecvError::Disconnected) => return Err(Failure::new(format!("{} has ended", child.name))),
            }
        }
        Ok(())
    }

    /// Prints the end of every log.
    pub(crate) fn show_last_words(&self) {
        for child in &self.running {
            let text = files::read(&child.log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            say::line(format_args!("\n  the end of {}", child.log.display()));
            for line in lines.iter().skip(lines.len().saturating_sub(LAST_LINES)) {
                say::detail(line);
            }
        }
    }

    /// Ends all, the last started first, each with time to finish what it is doing. Fails if one had to be killed.
    pub(crate) fn stop(&mut self) -> Result<(), Failure> {
        let mut stubborn = Vec::new();
        while let Some(child) = self.running.pop() {
            // A group that is gone already is what we want.
            killpg(child.group, Signal::SIGTERM).ok();
            if matches!(child.ended.recv_timeout(PATIENCE), Err(RecvTimeoutError::Timeout)) {
                stubborn.push(child.name);
            }
            // Also whatever the child itself started and left behind.
            killpg(child.group, Signal::SIGKILL).ok();
        }
        if stubborn.is_empty() {
            return Ok(());
        }
        Err(Failure::new(format!("{} did not end within {} s of SIGTERM and had to be killed", stubborn.join(", "), PATIENCE.as_secs())))
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        if let Err(failure) = self.stop() {
            say::failure(&failure);
        }
    }
}

/// An address on this machine that nobody uses now.
pub(crate) fn free_address() -> Result<SocketAddr, Failure> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    free.map_err(|error| Failure::new("no free port on this machine").because(error))
}

const LAST_LINES: usize = 15;

/// A little more than the server's own budget for a graceful stop.
const PATIENCE: Duration = Duration::from_secs(40);

#[cfg(test)]
mod tests {
    use nix::sys::signal::kill;

    use super::*;
    use crate::interrupt::Interrupt;

    fn shell(script: &str) -> Command {
        let mut shell = bound(Path::new("/bin/sh"));
        shell.args(["-c", script]);
        shell
    }

    fn eventually<T>(ready: impl FnMut() -> Result<T, Failure>) -> T {
        let (_sender, interrupt) = Interrupt::deaf();
        interrupt.until(Duration::from_secs(20), || Ok(()), ready).unwrap()
    }

    #[test]
    fn stop_ends_a_child_and_what_it_started() {
        let logs = tempfile::tempdir().unwrap();
        let mut children = Children::new(logs.path().to_path_buf());
        children.start("family", shell("sleep 600 & echo $! ; wait")).unwrap();
        let log = logs.path().join("family.log");
        let grandchild: i32 = eventually(|| files::read(&log)?.trim().parse().map_err(|_| Failure::new("no id yet")));
        children.all_alive().unwrap();
        children.stop().unwrap();
        eventually(|| match kill(Pid::from_raw(grandchild), None) {
            Err(nix::errno::Errno::ESRCH) => Ok(()),
            _ if files::read(format!("/proc/{grandchild}/stat").as_ref()).is_ok_and(|stat| stat.contains(") Z ")) => Ok(()),
            _ => Err(Failure::new("still there")),
        });
    }

    #[test]
    fn a_child_that_ends_by_itself_is_noticed() {
        let logs = tempfile::tempdir().unwrap();
        let mut children = Children::new(logs.path().to_path_buf());
        children.start("short", shell("echo gone; exit 3")).unwrap();
        let failure = eventually(|| children.all_alive().err().ok_or_else(|| Failure::new("still alive")));
        assert_eq!(failure.chain(), "short ended with exit status: 3");
        assert_eq!(files::read(&logs.path().join("short.log")).unwrap(), "gone\n");
    }

    #[test]
    fn only_the_given_environment_reaches_the_child() {
        let logs = tempfile::tempdir().unwrap();
        let mut children = Children::new(logs.path().to_path_buf());
        let mut program = shell("echo \"$COLOR, home [$HOME]\"");
        program.env_clear().env("COLOR", "red");
        children.start("echo", program).unwrap();
        eventually(|| children.all_alive().err().ok_or_else(|| Failure::new("still alive")));
        assert_eq!(files::read(&logs.path().join("echo.log")).unwrap(), "red, home []\n");
    }
}
