//! The flags of the command line: one for each setting that has one, `--set` for all others, and `--config`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use super::error::{ConfigError, Origin};
use super::resolve::Layer;
use super::settings::KEYS;
use super::suggest;
use super::value::Raw;

/// What the command line says about the configuration. Flatten it into a command's arguments.
#[derive(Debug, Clone, Default)]
pub struct ConfigFlags {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// Values by the name of their flag, without dashes.
    pub values: BTreeMap<String, String>,
    /// What stood behind each `--set`.
    pub set: Vec<String>,
}

impl Args for ConfigFlags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .global(true)
            .help("Configuration file [env: CERTCTL_CONFIG] [default: ./certctl.toml or /etc/certctl/server.toml, if there is one]");
        let set = Arg::new("set")
            .long("set")
            .value_name("KEY=VALUE")
            .action(ArgAction::Append)
            .global(true)
            .help("Set any setting that is no secret, such as scheduler.job_concurrency=32; may be repeated");
        let own = KEYS.iter().filter_map(|key| {
            let flag = key.flag?;
            let doc = key.doc.trim();
            let first_sentence = doc.split_once(". ").map_or(doc, |(first, _)| first).trim_end_matches('.');
            Some(
                Arg::new(flag)
                    .long(flag)
                    .value_name("VALUE")
                    .global(true)
                    .help(format!("{first_sentence} [env: {}]", key.env))
                    .help_heading("Settings"),
            )
        });
        command.arg(file).args(own).arg(set.help_heading("Settings"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one::<PathBuf>("config").cloned();
        self.set = matches.get_many::<String>("set").into_iter().flatten().cloned().collect();
        self.values = KEYS
            .iter()
            .filter_map(|key| {
                let flag = key.flag?;
                matches.get_one::<String>(flag).map(|value| (flag.to_owned(), value.clone()))
            })
            .collect();
        Ok(())
    }
}

/// Reads the flags. Secrets are refused: a command line is seen by everyone on the machine.
pub(super) fn read(flags: &ConfigFlags) -> Layer {
    let mut layer = Layer::default();
    for key in KEYS {
        if let Some((name, value)) = key.flag.and_then(|flag| flags.values.get_key_value(flag)) {
            layer.add(key, Raw::Text(value.clone()), Origin::Flag { name: format!("--{name}") });
        }
    }
    for pair in &flags.set {
        let (path, value) = pair.split_once('=').unwrap_or((pair, ""));
        let origin = Origin::Flag { name: format!("--set {path}") };
        match KEYS.iter().find(|key| key.path == path) {
            Some(key) if key.secret => layer.errors.push(ConfigError::Conflict {
                key: key.path,
                why: format!("`{}` is secret and cannot be given on the command line, which everyone on the machine can read", key.path),
                hint: format!("use {}", key.env_file().unwrap_or_else(|| key.env.to_owned())),
            }),
            Some(key) => layer.add(key, Raw::Text(value.to_owned()), origin),
            None => {
                let meant = suggest::nearest(path, KEYS.iter().map(|key| key.path)).map(str::to_owned);
                layer.errors.push(ConfigError::UnknownKey { key: path.to_owned(), meant, origin });
            }
        }
    }
    layer
}
