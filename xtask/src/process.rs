//! Child processes of these commands: always an argument list, never a shell, and a failure that shows the command to try by hand.

use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::failure::Failure;

/// A command to be filled in and given to [`run`] or [`capture`].
#[expect(clippy::disallowed_methods, reason = "build tooling: it starts cargo, apt and the product itself, and links no product crate")]
pub(crate) fn command(program: impl Into<OsString>) -> Command {
    Command::new(program.into())
}

/// Runs it with our own standard streams; fails unless it exits with status 0.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|error| not_started(command, error))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("`{}` ended with {status}", shown(command))))
}

/// Runs it without input and returns what it wrote to standard output; fails, with its standard error, unless it exits with status 0.
pub(crate) fn capture(command: &mut Command) -> Result<String, Failure> {
    let output = output(command)?;
    judge(command, &output)
}

/// Runs it without input and returns all that it wrote, whatever its exit status.
pub(crate) fn output(command: &mut Command) -> Result<Output, Failure> {
    command.stdin(Stdio::null()).output().map_err(|error| not_started(command, error))
}

/// Gives it `input` and returns what it wrote to standard output; fails, with its standard error, unless it exits with status 0.
pub(crate) fn filter(command: &mut Command, input: &str) -> Result<String, Failure> {
    let output = fed(command, input)?;
    judge(command, &output)
}

/// Gives it `input` and returns all that it wrote, whatever its exit status.
pub(crate) fn fed(command: &mut Command, input: &str) -> Result<Output, Failure> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| not_started(command, error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends before it has read everything says why by its exit status.
        stdin.write_all(input.as_bytes()).ok();
    }
    child.wait_with_output().map_err(|error| Failure::new(format!("cannot wait for `{}`", shown(command))).because(error))
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.iter().map(|word| if word.contains(' ') { format!("'{word}'") } else { word.clone() }).collect::<Vec<_>>().join(" ")
}

/// Where a program is, searched in `PATH` and in the folders for system programs, which an ordinary user's `PATH` lacks.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(SYSTEM_FOLDERS.iter().map(PathBuf::from)).collect::<Vec<_>>();
    folders.into_iter().map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}

/// `PATH` with `folder` before everything else.
pub(crate) fn path_with(folder: PathBuf) -> OsString {
    let path = variable("PATH").unwrap_or_default();
    let folders = std::iter::once(folder).chain(env::split_paths(&path));
    env::join_paths(folders).unwrap_or(path)
}

/// An environment variable of the person who typed the command: `PATH`, `NO_COLOR`; never a setting of the product.
#[expect(clippy::disallowed_methods, reason = "a command line tool obeys PATH and NO_COLOR; the product's settings are not read here")]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

fn judge(command: &Command, output: &Output) -> Result<String, Failure> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let failure = Failure::new(format!("`{}` ended with {}", shown(command), output.status));
    Err(if said.is_empty() { failure } else { failure.because(said) })
}

fn not_started(command: &Command, error: std::io::Error) -> Failure {
    let failure = Failure::new(format!("cannot start `{}`", shown(command))).because(error);
    failure.hint("`cargo xtask setup` installs what these commands need")
}

const SYSTEM_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_shows_itself_and_its_words() {
        let error = capture(command("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err();
        assert_eq!(error.chain(), "`sh -c 'echo broken >&2; exit 3'` ended with exit status: 3: broken");
        let error = run(&mut command("no-such-program-here")).unwrap_err();
        assert!(error.chain().starts_with("cannot start `no-such-program-here`"), "{}", error.chain());
        assert!(error.advice().is_some());
    }

    #[test]
    fn programs_are_found_and_missing_ones_are_not() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-here").is_none());
    }

    #[test]
    fn the_folder_comes_first_in_the_path() {
        let path = path_with(PathBuf::from("/tools/bin"));
        assert_eq!(env::split_paths(&path).next(), Some(PathBuf::from("/tools/bin")));
    }
}
