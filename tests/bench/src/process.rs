//! Programs that run beside the bench and end with it, programs that run to their end, and what the kernel says of processes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::failure::{Context as _, Failure, Result};
use crate::files::read;

/// A program that runs beside the bench. It is killed when the value is dropped, and by the kernel when the bench itself is killed.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `words` with everything that it writes in `log`. The kernel sends `last` when the bench is gone (prctl(2), `PR_SET_PDEATHSIG`).
    pub(crate) fn start(name: &str, words: &[&str], log: &Path, last: Signal, setting: impl FnOnce(&mut Command)) -> Result<Self> {
        let file = File::create(log).context(format_args!("cannot make {}", log.display()))?;
        let errors = file.try_clone().context("cannot share a log file")?;
        let mut command = command("setpriv");
        command.args(["--pdeathsig", last.as_str().trim_start_matches("SIG"), "--"]).args(words);
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        setting(&mut command);
        let child = command.spawn().context(format_args!("cannot start {name}; it needs setpriv of util-linux"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails when it has ended, with the end of what it wrote.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        match self.child.try_wait().context("cannot look after a process")? {
            None => Ok(()),
            Some(status) => {
                let log = read(&self.log).unwrap_or_default();
                let from = log.len().saturating_sub(2_000);
                Err(Failure::new(format!("{} ended with {status}: {}", self.name, log.get(from..).unwrap_or(&log).trim())))
            }
        }
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        self.child.wait().context(format_args!("cannot wait for {}", self.name))?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("a process id out of range")?;
        kill(Pid::from_raw(pid), signal).context(format_args!("cannot signal {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A command to be filled in.
#[expect(clippy::disallowed_methods, reason = "the bench starts the real programs, PostgreSQL and openssl; it links no product crate")]
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

/// Runs it to its end and gives what it wrote to standard output; fails unless it exits with status 0.
pub(crate) fn capture(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().context(format_args!("cannot start {name}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::new(format!("{name} ended with {}: {said}", output.status)))
}

/// The processor time that a process has used, in all of its threads.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    Ok(Stat::read(pid)?.own)
}

/// The processor time that a process and its children have used, those that have ended included.
pub(crate) fn cpu_of_family(pid: u32) -> Result<Duration> {
    let parent = Stat::read(pid)?;
    let mut all = parent.own + parent.ended_children;
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let Some(child) = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse().ok()) else { continue };
        // One that ended meanwhile is counted with its parent the next time.
        if let Ok(stat) = Stat::read(child)
            && stat.parent == pid
        {
            all += stat.own;
        }
    }
    Ok(all)
}

/// The memory of a process that is in use now, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    status(pid, "VmRSS:")
}

/// The part of that which is pages of files, above all of the program itself, in bytes: the kernel can take them back at any time.
pub(crate) fn resident_of_files(pid: u32) -> Result<u64> {
    status(pid, "RssFile:")
}

/// The most memory that was in use since [`forget_peak`], in bytes.
pub(crate) fn peak(pid: u32) -> Result<u64> {
    status(pid, "VmHWM:")
}

/// Lets the peak begin anew (proc(5), `clear_refs`).
pub(crate) fn forget_peak(pid: u32) -> Result<()> {
    crate::files::write(Path::new(&format!("/proc/{pid}/clear_refs")), "5")
}

fn status(pid: u32, field: &str) -> Result<u64> {
    let text = read(format!("/proc/{pid}/status"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context(format_args!("/proc/{pid}/status has no {field}"))? * 1024)
}

struct Stat {
    parent: u32,
    own: Duration,
    ended_children: Duration,
}

impl Stat {
    fn read(pid: u32) -> Result<Self> {
        Self::parse(&read(format!("/proc/{pid}/stat"))?).context(format_args!("/proc/{pid}/stat is not as expected"))
    }

    /// proc(5): the name in parentheses may have anything in it, so the fields are counted behind the last one.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let time = |user: usize, system: usize| Some(Duration::from_millis((ticks(user)? + ticks(system)?) * 1_000 / TICKS));
        Some(Self { parent: u32::try_from(ticks(1)?).ok()?, own: time(11, 12)?, ended_children: time(13, 14)? })
    }
}

/// `USER_HZ`, which is 100 on every platform that the product runs on.
const TICKS: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_strange_name_is_read() {
        let stat = Stat::parse("42 (a) b (c) S 7 42 42 0 -1 4194304 1 2 3 4 150 50 25 5 20 0 1 0 99").unwrap();
        assert_eq!((stat.parent, stat.own, stat.ended_children), (7, Duration::from_secs(2), Duration::from_millis(300)));
    }

    #[test]
    fn the_kernel_tells_of_ourselves() {
        let us = std::process::id();
        assert!(resident(us).unwrap() > 100_000 && peak(us).unwrap() >= resident(us).unwrap() / 2);
        assert!(cpu_of_family(us).unwrap() >= cpu(us).unwrap());
    }
}
