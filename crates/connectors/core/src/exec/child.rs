//! One child process: spawned, watched, bounded, reaped.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout};

use super::{AllowList, Command};
use crate::ConnectorError;

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It returned this exit code.
    Exited(i32),
    /// A signal ended it.
    Killed(i32),
}

/// What a program did and said.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub ending: Ending,
    /// Its standard output, at most 64 KiB.
    pub stdout: String,
    /// Its standard error, at most 64 KiB.
    pub stderr: String,
    /// Whether something it said was dropped.
    pub truncated: bool,
    /// How long it took.
    pub took: Duration,
}

impl Output {
    /// Whether it returned 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.ending == Ending::Exited(0)
    }

    /// The last lines of what it said, standard error first.
    #[must_use]
    pub fn last_words(&self) -> String {
        let said = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.iter().skip(lines.len().saturating_sub(LAST_LINES)).copied().collect::<Vec<_>>().join("\n")
    }
}

/// Runs a command to its end or to its time-out.
///
/// # Errors
/// When the allow-list refuses it, it cannot be started, or it does not end in time. An exit code other than 0 is not an error here.
pub async fn run(command: &Command, allow_list: &AllowList) -> Result<Output, ConnectorError> {
    let program = allow_list.permit(command)?;
    let started = Instant::now();
    #[expect(clippy::disallowed_methods, reason = "this is the one place that the ban leads to")]
    let mut child = tokio::process::Command::new(&program)
        .args(command.argv.iter().skip(1))
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .current_dir(command.directory.as_deref().unwrap_or(Path::new("/")))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| ConnectorError::transient(format!("cannot start {}", program.display())).caused_by(e))?;
    // Armed until the child has been reaped: also when this future is dropped, its children must not live on.
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
    let (mut stdout, mut stderr) = (Capture::default(), Capture::default());
    let (out, err) = (child.stdout.take(), child.stderr.take());

    let waited = timeout(command.timeout, async {
        let reading = async { tokio::join!(stdout.fill(out), stderr.fill(err)) };
        tokio::pin!(reading);
        let status = tokio::select! {
            biased;
            status = child.wait() => status,
            _ = &mut reading => return child.wait().await,
        };
        // A daemon that the program left behind may hold the pipes open for ever: take what is there, then go.
        if timeout(LINGER, reading).await.is_err() {
            tracing::debug!(program = %program.display(), "the program ended but something it started keeps its output open");
        }
        status
    })
    .await;

    let status = match waited {
        Ok(status) => {
            group.0 = None;
            status.map_err(|e| ConnectorError::transient(format!("cannot wait for `{}`", command.display())).caused_by(e))?
        }
        Err(_elapsed) => {
            group.kill();
            child.wait().await.map_err(|e| ConnectorError::transient("cannot reap a stopped program").caused_by(e))?;
            let said = stderr.text();
            return Err(ConnectorError::transient(format!(
                "`{}` did not end within {:?} and was stopped{}{said}",
                command.display(),
                command.timeout,
                if said.is_empty() { "" } else { "; it said: " }
            ))
            .hint("run it by hand on this machine to see what it waits for"));
        }
    };
    Ok(Output {
        ending: ending(status),
        truncated: stdout.dropped || stderr.dropped,
        stdout: stdout.text(),
        stderr: stderr.text(),
        took: started.elapsed(),
    })
}

/// Runs a command that must return 0.
///
/// # Errors
/// As [`run`], and when the exit code is another; the message then ends with what the program said last.
pub async fn run_to_success(command: &Command, allow_list: &AllowList) -> Result<Output, ConnectorError> {
    let output = run(command, allow_list).await?;
    if output.succeeded() {
        return Ok(output);
    }
    let how = match output.ending {
        Ending::Exited(code) => format!("exit code {code}"),
        Ending::Killed(signal) => format!("signal {signal}"),
    };
    Err(ConnectorError::permanent(format!("`{}` failed ({how}): {}", command.display(), output.last_words())))
}

/// The search path of every child; also where plain program names are looked up.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const CAP: usize = 64 * 1024;
const LAST_LINES: usize = 12;
const LINGER: Duration = Duration::from_millis(250);

/// A process group that is killed when dropped while armed.
struct Group(Option<Pid>);

impl Group {
    fn kill(&mut self) {
        if let Some(group) = self.0.take()
            && let Err(error) = killpg(group, Signal::SIGKILL)
        {
            tracing::debug!(%error, "the process group was already gone");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Default)]
struct Capture {
    bytes: Vec<u8>,
    dropped: bool,
}

impl Capture {
    /// Reads to the end so that the program never blocks, but keeps only the first part.
    async fn fill(&mut self, pipe: Option<impl AsyncRead + Unpin>) {
        let Some(mut pipe) = pipe else { return };
        let mut buffer = vec![0; 8 * 1024];
        while let Ok(n @ 1..) = pipe.read(&mut buffer).await {
            let room = CAP.saturating_sub(self.bytes.len());
            self.dropped |= n > room;
            self.bytes.extend(buffer.iter().take(n.min(room)));
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

fn ending(status: ExitStatus) -> Ending {
    status.code().map_or_else(|| Ending::Killed(status.signal().unwrap_or_default()), Ending::Exited)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files, tasks and processes")]
mod tests {
    use super::*;

    fn allow_sh() -> AllowList {
        AllowList::parse(Path::new("/x"), "[[command]]\nargv = [\"sh\", \"-c\", \"*\"]\n[[command]]\nargv = [\"no-such-program\"]").unwrap()
    }

    fn sh(script: &str, limit: Duration) -> Command {
        Command::new(&["sh".to_owned(), "-c".to_owned(), script.to_owned()], limit).unwrap()
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn returns_what_was_said_and_how_it_ended() {
        let output = run(&sh("echo out; echo err >&2; exit 3", LONG), &allow_sh()).await.unwrap();
        assert_eq!((output.ending, output.stdout.as_str(), output.stderr.as_str()), (Ending::Exited(3), "out\n", "err\n"));
        let error = run_to_success(&sh("echo why >&2; exit 3", LONG), &allow_sh()).await.unwrap_err();
        assert!(error.to_string().contains("exit code 3") && error.to_string().contains("why"), "{error}");
        assert_eq!(run(&sh("kill -9 $$", LONG), &allow_sh()).await.unwrap().ending, Ending::Killed(9));
    }

    #[tokio::test]
    async fn the_environment_is_clean() {
        let output = run(&sh("env | cut -d= -f1 | sort | tr '\\n' ' '; pwd", LONG), &allow_sh()).await.unwrap();
        assert_eq!(output.stdout, "LC_ALL PATH PWD /\n");
    }

    #[tokio::test]
    async fn what_is_not_listed_or_not_there_does_not_run() {
        let argv = |p: &str| Command::new(&[p.to_owned()], LONG).unwrap();
        assert!(run(&argv("reboot"), &allow_sh()).await.unwrap_err().to_string().contains("not among the commands"));
        assert!(run(&argv("no-such-program"), &allow_sh()).await.unwrap_err().to_string().contains("not on this machine"));
    }

    #[tokio::test]
    async fn output_is_capped_but_the_program_is_not_blocked() {
        let output = run(&sh("head -c 1000000 /dev/zero | tr '\\0' x; echo done >&2", LONG), &allow_sh()).await.unwrap();
        assert_eq!((output.stdout.len(), output.truncated, output.stderr.as_str()), (CAP, true, "done\n"));
    }

    #[tokio::test]
    async fn the_timeout_stops_the_whole_group() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}; echo waiting >&2; wait", file.display());
        let error = run(&sh(&script, Duration::from_millis(500)), &allow_sh()).await.unwrap_err();
        assert!(error.to_string().contains("did not end within") && error.to_string().contains("waiting"), "{error}");
        let grandchild: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        gone(grandchild).await;
    }

    #[tokio::test]
    async fn a_dropped_future_leaves_no_process() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}.new; mv {0}.new {0}; wait", file.display());
        let task = tokio::spawn(async move { run(&sh(&script, LONG), &allow_sh()).await });
        eventually(|| file.exists()).await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        gone(std::fs::read_to_string(file).unwrap().trim().parse().unwrap()).await;
    }

    #[tokio::test]
    async fn a_daemon_left_behind_does_not_hold_us() {
        let started = Instant::now();
        let output = run(&sh("sleep 300 & echo $!", LONG), &allow_sh()).await.unwrap();
        assert!(output.succeeded() && started.elapsed() < LONG);
        let daemon = Pid::from_raw(output.stdout.trim().parse().unwrap());
        nix::sys::signal::kill(daemon, Signal::SIGKILL).unwrap();
    }

    async fn gone(pid: i32) {
        // A killed orphan is a zombie until init reaps it, and in a container init may never do that.
        let dead = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
            Err(_) => true,
        };
        eventually(dead).await;
    }

    async fn eventually(condition: impl Fn() -> bool) {
        let reached = timeout(LONG, async {
            while !condition() {
                tokio::task::yield_now().await;
            }
        });
        reached.await.unwrap();
    }
}
