//! The file on this machine that decides which programs may run, whatever the server asks for.
//!
//! ```toml
//! [[command]]
//! argv = ["nginx", "-t", "-c", "*"]   # "*" stands for any one argument
//! ```

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Command;
use crate::ConnectorError;

/// Which commands may run. An absent file allows none.
#[derive(Debug, Clone)]
pub struct AllowList {
    path: PathBuf,
    commands: Vec<Vec<String>>,
}

impl AllowList {
    /// Reads the file. Whoever can write it decides what runs here, so nobody but its owner may.
    ///
    /// # Errors
    /// When the file can be written by others, belongs to another user, cannot be read, or is not what it should be.
    pub fn load(path: &Path) -> Result<Self, ConnectorError> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), commands: Vec::new() });
            }
            Err(error) => return Err(unreadable(path).caused_by(error)),
        };
        let metadata = file.metadata().map_err(|e| unreadable(path).caused_by(e))?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(ConnectorError::permanent(format!(
                "the command allow-list {} can be written by its group or by everybody (mode {mode:04o}), so it is not used",
                path.display()
            ))
            .hint(format!("chmod 0644 {}", path.display())));
        }
        let us = nix::unistd::geteuid().as_raw();
        if metadata.uid() != 0 && metadata.uid() != us {
            return Err(ConnectorError::permanent(format!(
                "the command allow-list {} belongs to user id {}, neither to root nor to the user this runs as ({us}), so it is not used",
                path.display(),
                metadata.uid()
            ))
            .hint(format!("chown root {}", path.display())));
        }
        if let Some(directory) = path.parent().and_then(|p| p.metadata().ok()) {
            let mode = directory.permissions().mode();
            if mode & 0o002 != 0 && mode & 0o1000 == 0 {
                return Err(ConnectorError::permanent(format!(
                    "the directory of the command allow-list {} can be written by everybody, so the file is not used",
                    path.display()
                ))
                .hint("chmod o-w the directory"));
            }
        }
        if !metadata.is_file() || metadata.len() > MAX_SIZE {
            return Err(unreadable(path).hint("it must be a TOML file of at most 256 KiB"));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|e| unreadable(path).caused_by(e))?;
        Self::parse(path, &text)
    }

    /// The list from its text; `path` is what refusals name.
    ///
    /// # Errors
    /// When the text is not TOML of the form above.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConnectorError> {
        let refuse =
            |why: String| ConnectorError::permanent(format!("the command allow-list {} is not valid: {why}", path.display())).hint(EXAMPLE);
        let parsed: FileForm = toml::from_str(text).map_err(|e| refuse(e.message().to_owned()))?;
        let commands: Vec<_> = parsed.command.into_iter().map(|entry| entry.argv).collect();
        for argv in &commands {
            match argv.first().map(String::as_str) {
                None | Some("") => return Err(refuse("a command has an empty argv".to_owned())),
                Some(program) if program.contains('*') || (program.contains('/') && !program.starts_with('/')) => {
                    return Err(refuse(format!("the program `{program}` must be a plain name or an absolute path")));
                }
                Some(_) => {}
            }
        }
        Ok(Self { path: path.to_owned(), commands })
    }

    /// The file that decides.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks several commands at once, so that a refusal names all that is missing.
    ///
    /// # Errors
    /// When one of them may not run; the hint is the TOML that would allow them.
    pub fn require<'a>(&self, commands: impl IntoIterator<Item = &'a Command>) -> Result<(), ConnectorError> {
        let refused: Vec<&Command> = commands.into_iter().filter(|command| !self.allows(command)).collect();
        let Some(first) = refused.first() else {
            return Ok(());
        };
        let blocks: String = refused.iter().map(|command| toml_block(&command.pattern)).collect();
        Err(ConnectorError::permanent(format!("`{}` is not among the commands that {} allows", first.display(), self.path.display()))
            .hint(format!("if this machine's owner agrees, add to {}:\n\n{blocks}", self.path.display())))
    }

    /// The absolute path of the program, when the command may run.
    pub(super) fn permit(&self, command: &Command) -> Result<PathBuf, ConnectorError> {
        self.require([command])?;
        resolve(command.program()).ok_or_else(|| {
            ConnectorError::permanent(format!("the program `{}` is not on this machine", command.program()))
                .hint(format!("install it, or give its absolute path; looked in {}", super::child::PATH))
        })
    }

    fn allows(&self, command: &Command) -> bool {
        self.commands.iter().any(|pattern| {
            pattern.len() == command.argv.len()
                && same_program(pattern.first().map_or("", String::as_str), command.program())
                && pattern.iter().zip(&command.argv).skip(1).all(|(wanted, given)| wanted == "*" || wanted == given)
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    #[serde(default)]
    command: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    argv: Vec<String>,
}

/// Two spellings of one program: compares the directory for real but the file name as text, because one binary under
/// several names (busybox) is several programs.
fn same_program(allowed: &str, asked: &str) -> bool {
    allowed == asked
        || match (resolve(allowed), resolve(asked)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        }
}

/// The absolute path of a program, its directory free of symbolic links.
fn resolve(program: &str) -> Option<PathBuf> {
    let located = |path: &Path| -> Option<PathBuf> {
        let metadata = path.metadata().ok()?;
        let runs = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
        let name: &OsStr = path.file_name()?;
        if runs { Some(path.parent()?.canonicalize().ok()?.join(name)) } else { None }
    };
    if program.starts_with('/') {
        return located(Path::new(program));
    }
    super::child::PATH.split(':').find_map(|directory| located(&Path::new(directory).join(program)))
}

fn toml_block(pattern: &[String]) -> String {
    let items: Vec<_> = pattern.iter().map(|item| toml::Value::String(item.clone()).to_string()).collect();
    format!("[[command]]\nargv = [{}]\n", items.join(", "))
}

fn unreadable(path: &Path) -> ConnectorError {
    ConnectorError::permanent(format!("cannot read the command allow-list {}", path.display()))
}

const MAX_SIZE: u64 = 256 * 1024;
const EXAMPLE: &str = "expected blocks such as:\n\n[[command]]\nargv = [\"nginx\", \"-s\", \"reload\"]\n";

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files, tasks and processes")]
mod tests {
    use std::time::Duration;

    use super::*;

    fn list(text: &str) -> AllowList {
        AllowList::parse(Path::new("/etc/certctl/commands.toml"), text).unwrap()
    }

    fn command(argv: &[&str]) -> Command {
        Command::new(&argv.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>(), Duration::from_secs(5)).unwrap()
    }

    #[test]
    fn only_listed_argument_lists_may_run() {
        let list = list("[[command]]\nargv = [\"ls\", \"-l\", \"*\"]\n");
        assert!(list.allows(&command(&["ls", "-l", "/tmp"])));
        assert!(list.allows(&command(&["/bin/ls", "-l", "$(reboot)"])), "another spelling of the program, any one argument");
        for argv in [&["ls", "-l"][..], &["ls", "-a", "/tmp"], &["ls", "-l", "/tmp", "/"], &["cat", "-l", "/tmp"]] {
            assert!(!list.allows(&command(argv)), "{argv:?}");
        }
    }

    #[test]
    fn one_binary_under_two_names_is_two_programs() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        std::os::unix::fs::symlink("/bin/ls", &one).unwrap();
        std::os::unix::fs::symlink("/bin/ls", &two).unwrap();
        let list = list(&format!("[[command]]\nargv = [{:?}]\n", one.to_str().unwrap()));
        assert!(list.allows(&command(&[one.to_str().unwrap()])));
        assert!(!list.allows(&command(&[two.to_str().unwrap()])));
    }

    #[test]
    fn a_refusal_gives_the_lines_to_add() {
        let test = command(&["nginx", "-t", "-c", "{config}"]).with("{config}", "/var/lib/x.conf");
        let reload = command(&["nginx", "-g", "say \"hi\""]);
        let empty = list("");
        let error = empty.require([&test, &reload]).unwrap_err();
        assert!(error.to_string().contains("/etc/certctl/commands.toml"), "{error}");
        let hint = error.advice().unwrap();
        let (_, toml) = hint.split_once("\n\n").unwrap();
        let grown = list(toml);
        assert_eq!(grown.commands[0], ["nginx", "-t", "-c", "*"]);
        assert!(grown.require([&test, &reload]).is_ok(), "{toml}");
    }

    #[test]
    fn a_bad_file_is_refused_with_the_reason() {
        for (text, why) in [
            ("[[command]]\nargv = []", "empty argv"),
            ("[[command]]\nargv = [\"*\"]", "plain name"),
            ("[[command]]\nargv = [\"bin/x\"]", "plain name"),
            ("[[command]]\nargv = \"nginx -t\"", "invalid type"),
            ("[[commands]]\nargv = [\"x\"]", "unknown field"),
            ("not toml", ""),
        ] {
            let error = AllowList::parse(Path::new("/x"), text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_that_others_can_write_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("commands.toml");
        assert!(AllowList::load(&path).unwrap().commands.is_empty(), "an absent file allows nothing");
        std::fs::write(&path, "[[command]]\nargv = [\"true\"]\n").unwrap();
        for (mode, fine) in [(0o600, true), (0o644, true), (0o664, false), (0o646, false), (0o666, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let loaded = AllowList::load(&path);
            assert_eq!(loaded.is_ok(), fine, "{mode:o}");
            if let Err(error) = loaded {
                assert!(error.advice().unwrap().starts_with("chmod"));
            }
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(AllowList::load(&path).is_err(), "whoever can write the directory can replace the file");
    }
}
