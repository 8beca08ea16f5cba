//! Programs that run beside the test, and programs that run to their end. None outlives the test, whatever becomes of it.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use certctl_testkit::require_program;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use super::{Home, LONG};

/// A program of this workspace; it lies beside the folder of the test program.
pub(crate) fn product(name: &str) -> PathBuf {
    // An upgrade begins with the servers: agents and clients are still of the release before.
    #[cfg(feature = "upgrade")]
    if name != "certctl-server" {
        return older(name);
    }
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(program.is_file(), "{} is not there, and the end-to-end tests run it; run: cargo build --workspace", program.display());
    program
}

/// A program of the release that is upgraded from; `cargo xtask upgrade` says where it is.
#[cfg(feature = "upgrade")]
pub(crate) fn older(name: &str) -> PathBuf {
    let folder = std::env::var_os("CERTCTL_OLDER_PROGRAMS").expect("run by `cargo xtask upgrade --from <revision>`");
    let program = Path::new(&folder).join(name);
    assert!(program.is_file(), "{} is not there", program.display());
    program
}

/// A command that sees nothing of the environment of whoever runs the tests.
pub(crate) fn command(home: &Home, program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.env_clear().env("HOME", home.path()).env("PATH", path()).env("LANG", "C.UTF-8").current_dir(home.path());
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The words that start a program in mounts of its own, which a shell script makes first; nobody else sees them.
pub(crate) fn in_own_mounts(script: &str, words: &[&str]) -> Vec<String> {
    let unshare = require_program("unshare");
    let script = format!("{script}\nexec \"$0\" \"$@\"");
    let before = [unshare.to_str().unwrap(), "--map-root-user", "--mount", "--", "sh", "-ec", &script];
    before.iter().chain(words).map(ToString::to_string).collect()
}

/// A program that runs beside the test.
pub(crate) struct Process {
    name: String,
    child: Child,
    pid: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts `words` in a process group of its own, with `setting` applied to the command. The kernel sends `last` when the test is
    /// gone (prctl(2), `PR_SET_PDEATHSIG`), so that not even a killed test leaves it behind.
    pub(crate) fn start(home: &Home, name: &str, words: &[&str], last: Signal, setting: impl FnOnce(&mut Command)) -> Self {
        let log = home.log_of(name);
        let file = std::fs::File::create(&log).unwrap();
        let mut command = command(home, require_program("setpriv"));
        command.args(["--pdeathsig", last.as_str().trim_start_matches("SIG"), "--"]).args(words);
        command.stdout(file.try_clone().unwrap()).stderr(file).process_group(0);
        setting(&mut command);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
        Self { name: name.to_owned(), child, pid, log }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Runs a shell script among the mounts of a program that has its own.
    pub(crate) async fn among_its_mounts(&self, home: &Home, script: &str) {
        let mut nsenter = command(home, require_program("nsenter"));
        nsenter.args(["--target", &self.pid.to_string(), "--user", "--mount", "--preserve-credentials", "--", "sh", "-c", script]);
        run(&mut nsenter).await.ok();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap_or_else(|error| panic!("{} cannot be signalled: {error}", self.name));
    }

    /// Kills it as a power cut would, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.ended(LONG).await;
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self, within: Duration) -> ExitStatus {
        let ended = tokio::time::timeout(within, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("{} has not ended within {within:?}", self.name)).unwrap()
    }

    /// Fails the test when it has ended although nobody asked it to.
    #[track_caller]
    pub(crate) fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{} ended with {status}:\n{}", self.name, self.log());
        }
    }

    /// What it has written up to now.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        // With what it started and left behind. A group that is gone is what we want.
        killpg(self.pid, Signal::SIGKILL).ok();
        if thread::panicking() {
            let log = self.log();
            // That is the harness asking.
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains("route=\"/ready\"")).collect();
            let shown = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default();
            let ended = ended.map_or_else(|| "running".to_owned(), |status| status.to_string());
            eprintln!("\n--- {} ({ended}), the end of its log ---\n{}", self.name, shown.join("\n"));
        }
    }
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// What was run, for whoever reads a failure.
    pub(crate) what: String,
    /// Its exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

impl Ran {
    /// Fails unless it ended with this code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\nstdout: {}\nstderr: {}", self.what, self.stdout, self.stderr);
        self
    }

    /// Fails unless it succeeded; gives what it printed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        self.ends(0).stdout
    }

    /// Fails unless it succeeded and printed JSON.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let done = self.ends(0);
        serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{}: no JSON ({error}): {}", done.what, done.stdout))
    }

    /// Fails unless standard error has all of these words.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{}: `{word}` is not in what it said:\n{}", self.what, self.stderr);
        }
        self
    }
}

/// Runs a command to its end.
pub(crate) async fn run(command: &mut Command) -> Ran {
    run_with_input(command, "").await
}

/// Runs a command that reads `input`.
pub(crate) async fn run_with_input(command: &mut Command, input: &str) -> Ran {
    let what = format!("{:?}", command.as_std());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let work = async {
        let (sent, output) = tokio::join!(
            async move {
                // Whoever reads no input has closed it.
                stdin.write_all(input.as_bytes()).await.ok();
                drop(stdin);
            },
            child.wait_with_output()
        );
        let () = sent;
        output.unwrap()
    };
    let output = tokio::time::timeout(LONG, work).await.unwrap_or_else(|_| panic!("{what} has not ended within {LONG:?}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { what, code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn path() -> String {
    std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())
}

const LAST_LINES: usize = 40;
