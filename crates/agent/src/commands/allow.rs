//! `certctl-agent allow`: the file on this machine that decides which commands may run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::exec::{AllowList, Command};
use certctl_connector_core::files::{Attributes, FileMode, explain, write_atomic};
use clap::{Args, ValueEnum};

use super::output::say;
use crate::agent::ALLOW_LIST;
use crate::settings::Settings;

/// What to allow.
#[derive(Debug, Args)]
pub struct Options {
    /// A service whose usual commands to allow
    #[arg(value_enum, conflicts_with = "argv")]
    preset: Option<Preset>,
    /// One command, after `--`; `*` stands for any one argument
    #[arg(last = true, value_name = "COMMAND")]
    argv: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Preset {
    /// nginx -t -c * and nginx -s reload
    Nginx,
}

impl Preset {
    const fn commands(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Nginx => &[&["nginx", "-t", "-c", "*"], &["nginx", "-s", "reload"]],
        }
    }
}

/// Makes the file when it is not there: it allows nothing and explains itself.
///
/// # Errors
/// When the disk refuses.
pub fn create(path: &Path) -> Result<(), ConnectorError> {
    if path.exists() { Ok(()) } else { write(path, TEMPLATE) }
}

/// Adds commands that are not allowed yet; returns those it added.
///
/// # Errors
/// When the file is not valid, or the disk refuses.
pub fn add(path: &Path, commands: &[Vec<String>]) -> Result<Vec<Vec<String>>, ConnectorError> {
    create(path)?;
    let list = AllowList::load(path)?;
    let mut text = read(path)?;
    let mut added = Vec::new();
    for argv in commands {
        let command = Command::new(argv, Duration::ZERO)?;
        if list.require([&command]).is_ok() || added.contains(argv) {
            continue;
        }
        if !text.ends_with("\n\n") {
            text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
        }
        text.push_str(&block(argv));
        added.push(argv.clone());
    }
    // Never leave a file that the agent would refuse.
    AllowList::parse(path, &text)?;
    if !added.is_empty() {
        write(path, &text)?;
    }
    Ok(added)
}

pub(super) fn execute(settings: &Settings, options: &Options) -> Result<ExitCode, ConnectorError> {
    let path = settings.allow_list.clone().unwrap_or_else(|| settings.state_dir.join(ALLOW_LIST));
    let path = real(&path)?;
    let commands: Vec<Vec<String>> = match (options.preset, options.argv.is_empty()) {
        (Some(preset), _) => preset.commands().iter().map(|argv| argv.iter().map(|&item| item.to_owned()).collect()).collect(),
        (None, false) => vec![options.argv.clone()],
        (None, true) => {
            create(&path)?;
            AllowList::load(&path)?;
            say(read(&path)?.trim_end());
            return Ok(ExitCode::SUCCESS);
        }
    };
    let added = add(&path, &commands)?;
    for argv in &commands {
        let verb = if added.contains(argv) { "allowed" } else { "was allowed before" };
        say(&format!("{verb}: {}", argv.join(" ")));
    }
    say(&format!("in {}; the agent reads it at each deployment", path.display()));
    Ok(ExitCode::SUCCESS)
}

/// The path with its directory resolved: the file is then written without following links.
fn real(path: &Path) -> Result<PathBuf, ConnectorError> {
    let absolute = std::path::absolute(path).map_err(|e| explain("find", path, e))?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(directory), Some(name)) => {
            let directory =
                directory.canonicalize().map_err(|e| explain("find", directory, e).hint("enroll first, or give --allow-list"))?;
            Ok(directory.join(name))
        }
        _ => Err(ConnectorError::permanent(format!("{} is not the path of a file", path.display()))),
    }
}

/// Readable by all, so that root may own what the agent's user reads.
fn write(path: &Path, text: &str) -> Result<(), ConnectorError> {
    write_atomic(path, text.as_bytes(), &Attributes::keep_or(FileMode::PUBLIC)).map(drop)
}

fn read(path: &Path) -> Result<String, ConnectorError> {
    std::fs::read_to_string(path).map_err(|e| explain("read", path, e))
}

fn block(argv: &[String]) -> String {
    let items: Vec<_> = argv.iter().map(|item| toml::Value::String(item.clone()).to_string()).collect();
    format!("[[command]]\nargv = [{}]\n", items.join(", "))
}

const TEMPLATE: &str = r#"# Which commands certctl may run on this machine. Nothing else runs, whatever the server asks for.
#
# Each block allows one argument list. No shell is involved; "*" stands for any one argument.
# A deployment that needs a command that is missing here changes nothing, and its hint shows the block to add.
# `certctl-agent allow nginx` adds these two:
#
# [[command]]
# argv = ["nginx", "-t", "-c", "*"]
#
# [[command]]
# argv = ["nginx", "-s", "reload"]
"#;

pub(super) const EXAMPLES: &str = r#"Examples:
  certctl-agent allow                                  # what is allowed
  certctl-agent allow nginx                            # test and reload nginx
  certctl-agent allow -- systemctl reload nginx
  sudo certctl-agent allow --allow-list /etc/certctl-agent/commands.toml nginx    # a list that the agent's user cannot change
  certctl-agent allow -- /usr/sbin/nginx -t -c "*"     # "*" stands for any one argument"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(items: &[&str]) -> Vec<String> {
        items.iter().map(|&item| item.to_owned()).collect()
    }

    fn allows(path: &Path, items: &[&str]) -> bool {
        let command = Command::new(&argv(items), Duration::ZERO).unwrap();
        AllowList::load(path).unwrap().require([&command]).is_ok()
    }

    #[test]
    fn a_new_list_allows_nothing_and_a_preset_what_it_says() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().canonicalize().unwrap().join("allow.toml");
        create(&path).unwrap();
        assert!(!allows(&path, &["nginx", "-s", "reload"]));
        let preset: Vec<_> = Preset::Nginx.commands().iter().map(|items| argv(items)).collect();
        assert_eq!(add(&path, &preset).unwrap().len(), 2);
        assert!(allows(&path, &["nginx", "-s", "reload"]) && allows(&path, &["nginx", "-t", "-c", "/tmp/x.conf"]));
        assert!(!allows(&path, &["nginx", "-s", "stop"]) && !allows(&path, &["reboot"]));
        assert!(add(&path, &preset).unwrap().is_empty(), "twice is once");
        assert!(read(&path).unwrap().starts_with(TEMPLATE.trim_end()), "what people wrote stays");
    }

    #[test]
    fn odd_arguments_survive_and_bad_ones_change_nothing() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().canonicalize().unwrap().join("allow.toml");
        add(&path, &[argv(&["/usr/bin/x", "say \"hi\" \\ #"])]).unwrap();
        assert!(allows(&path, &["/usr/bin/x", "say \"hi\" \\ #"]));
        let before = read(&path).unwrap();
        for bad in [argv(&["bin/x"]), argv(&["*"]), vec![]] {
            assert!(add(&path, &[bad]).is_err());
        }
        assert_eq!(read(&path).unwrap(), before);
    }
}
