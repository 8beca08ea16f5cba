//! The only way to run a program: an argument list without a shell, allowed by a file on this machine, in a process
//! group of its own that dies at the time-out, with a clean environment and capped output.

mod allow_list;
mod child;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::allow_list::AllowList;
pub use self::child::{Ending, Output, run, run_to_success};
use crate::ConnectorError;

/// A program with its arguments, checked for form; whether it may run is for the [`AllowList`] to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    argv: Vec<String>,
    timeout: Duration,
    #[serde(default)]
    directory: Option<PathBuf>,
    /// The argument list as an allow-list would write it: `*` for an argument that changes from run to run.
    pattern: Vec<String>,
}

impl Command {
    /// An argument list; the first item is a program name or an absolute path.
    ///
    /// # Errors
    /// When the list is empty or too long, the program is a relative path, or an argument has a NUL.
    pub fn new(argv: &[String], timeout: Duration) -> Result<Self, ConnectorError> {
        let Some(program) = argv.first() else {
            return Err(ConnectorError::permanent("the command is empty").hint(r#"write it as a list, e.g. ["nginx", "-s", "reload"]"#));
        };
        if program.is_empty() || (program.contains('/') && !program.starts_with('/')) {
            return Err(ConnectorError::permanent(format!("the program `{program}` is neither a plain name nor an absolute path"))
                .hint(r#"write "nginx" or "/usr/sbin/nginx""#));
        }
        if program.chars().any(char::is_whitespace) && !Path::new(program).is_absolute() {
            return Err(ConnectorError::permanent(format!("the program `{program}` has blanks in its name"))
                .hint(r#"no shell is involved: give each argument as its own item, e.g. ["nginx", "-s", "reload"]"#));
        }
        if argv.len() > MAX_ARGUMENTS || argv.iter().any(|a| a.len() > MAX_ARGUMENT || a.contains('\0')) {
            return Err(ConnectorError::permanent(format!(
                "the command has more than {MAX_ARGUMENTS} arguments, one longer than {MAX_ARGUMENT} bytes, or one with a NUL"
            )));
        }
        Ok(Self { argv: argv.to_vec(), timeout, directory: None, pattern: argv.to_vec() })
    }

    /// Replaces `placeholder` in each argument by `value`, which an allow-list writes as `*`.
    #[must_use]
    pub fn with(mut self, placeholder: &str, value: &str) -> Self {
        for (argument, pattern) in self.argv.iter_mut().zip(&mut self.pattern).skip(1) {
            if argument.contains(placeholder) {
                *argument = argument.replace(placeholder, value);
                "*".clone_into(pattern);
            }
        }
        self
    }

    /// Runs in this directory instead of `/`.
    #[must_use]
    pub fn in_directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// The argument list.
    #[must_use]
    pub fn argv(&self) -> &[String] {
        &self.argv
    }

    /// The command as one would type it; for people, never for a shell.
    #[must_use]
    pub fn display(&self) -> String {
        let quoted = |a: &String| if a.is_empty() || a.contains(char::is_whitespace) { format!("'{a}'") } else { a.clone() };
        self.argv.iter().map(quoted).collect::<Vec<_>>().join(" ")
    }

    fn program(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }
}

const MAX_ARGUMENTS: usize = 64;
const MAX_ARGUMENT: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn command(argv: &[&str]) -> Result<Command, ConnectorError> {
        Command::new(&argv.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>(), Duration::from_secs(1))
    }

    #[test]
    fn refuses_what_is_not_an_argument_list() {
        for argv in [&[][..], &[""], &["./nginx"], &["bin/nginx"], &["nginx -s reload"], &["nginx", "a\0b"]] {
            assert!(command(argv).is_err(), "{argv:?}");
        }
        assert!(command(&["nginx -s reload"]).unwrap_err().advice().unwrap().contains("no shell"));
        // Shell characters are plain text here: nothing interprets them.
        assert!(command(&["nginx", "-g", "daemon off; $(reboot)"]).is_ok());
    }

    #[test]
    fn a_changing_argument_is_a_star_to_the_allow_list() {
        let command = command(&["nginx", "-t", "-c", "{config}"]).unwrap().with("{config}", "/tmp/a b.conf");
        assert_eq!(command.argv, ["nginx", "-t", "-c", "/tmp/a b.conf"]);
        assert_eq!(command.pattern, ["nginx", "-t", "-c", "*"]);
        assert_eq!(command.display(), "nginx -t -c '/tmp/a b.conf'");
    }
}
