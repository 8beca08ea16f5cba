//! What is given to make a noun, and what is given to change one.

use std::marker::PhantomData;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Args, Command, Error, FromArgMatches};
use serde_json::{Map, Value};

use super::flags::{self, Given};
use crate::failure::Failure;
use crate::noun::{Known, Noun, Takes};
use crate::session::Session;
use crate::{assign, input};

/// What is given to make one: flags, a file, or a file with flags over it.
#[derive(Debug)]
pub(crate) struct Draft<N> {
    from_file: Option<PathBuf>,
    given: Vec<Given>,
    noun: PhantomData<N>,
}

/// What is given to change one: a merge patch (RFC 7396) from flags, assignments and a file.
#[derive(Debug)]
pub(crate) struct Patch<N> {
    from_file: Option<PathBuf>,
    given: Vec<Given>,
    set: Vec<String>,
    unset: Vec<String>,
    noun: PhantomData<N>,
}

impl<N: Known> Draft<N> {
    /// The body of the request.
    pub(crate) async fn body(&self, session: &Session) -> Result<Map<String, Value>, Failure> {
        let mut body = match &self.from_file {
            Some(file) => input::object(file)?,
            None => Map::new(),
        };
        flags::fill(&mut body, &self.given, session).await?;
        Ok(body)
    }
}

impl<N: Known> Patch<N> {
    /// The body of the request.
    pub(crate) async fn body(&self, session: &Session) -> Result<Map<String, Value>, Failure> {
        let mut body = match &self.from_file {
            Some(file) => input::object(file)?,
            None => Map::new(),
        };
        flags::fill(&mut body, &self.given, session).await?;
        for text in &self.set {
            let (path, text) = assign::split(text)?;
            let value = if is_text(N::NOUN, &path) { Value::String(text.to_owned()) } else { assign::value(text)? };
            assign::put(&mut body, &path, value);
        }
        for text in &self.unset {
            let path = assign::path(text).ok_or_else(|| Failure::usage(format!("`{text}` is not the name of a field")))?;
            assign::put(&mut body, &path, Value::Null);
        }
        Ok(body)
    }
}

impl<N: Known> Args for Draft<N> {
    fn augment_args(command: Command) -> Command {
        let command = flags::add(command, N::NOUN.fields);
        let required = N::NOUN.fields.iter().filter(|flag| flag.required);
        required
            .fold(command, |command, flag| {
                command.mut_arg(flag.name, |arg| arg.required_unless_present(FROM_FILE).help(format!("{} (required)", flag.help)))
            })
            .arg(from_file("JSON or YAML file with the fields as the API names them, - for standard input; flags win over it"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<N: Known> FromArgMatches for Draft<N> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let from_file = matches.get_one::<PathBuf>(FROM_FILE).cloned();
        Ok(Self { from_file, given: flags::given(matches, N::NOUN.fields), noun: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<N: Known> Args for Patch<N> {
    fn augment_args(command: Command) -> Command {
        let several = |id: &'static str| Arg::new(id).long(id).action(ArgAction::Append);
        // An identifier never changes.
        let fields = N::NOUN.fields.iter().map(|flag| flag.name).filter(|name| *name != "id");
        let command = flags::add(command, N::NOUN.fields).mut_args(|arg| if arg.get_id() == "id" { arg.hide(true) } else { arg });
        command
            .arg(several(SET).value_name("FIELD=VALUE").help("Field to set, dots for nested ones; JSON, @FILE or text; repeat for more"))
            .arg(several(UNSET).value_name("FIELD").help("Field to clear; repeat for more"))
            .arg(from_file("JSON or YAML file with the fields to change (merge patch), - for standard input; flags win over it"))
            .group(ArgGroup::new("change").args(fields).args([SET, UNSET, FROM_FILE]).required(true).multiple(true))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<N: Known> FromArgMatches for Patch<N> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self {
            from_file: matches.get_one::<PathBuf>(FROM_FILE).cloned(),
            given: flags::given(matches, N::NOUN.fields),
            set: flags::texts(matches, SET),
            unset: flags::texts(matches, UNSET),
            noun: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn from_file(help: &'static str) -> Arg {
    Arg::new(FROM_FILE).long(FROM_FILE).short('f').value_name("FILE").help(help).value_parser(clap::value_parser!(PathBuf))
}

/// Whether the noun says that what is at this path is text, so that `--set name=123` stays text.
fn is_text(noun: &Noun, path: &[String]) -> bool {
    let [field, nested @ ..] = path else { return false };
    noun.fields.iter().filter(|flag| flag.field == field).any(|flag| match flag.takes {
        Takes::Text | Takes::Choice(_) | Takes::One(_) => nested.is_empty(),
        Takes::Labels => nested.len() == 1,
        _ => false,
    })
}

const FROM_FILE: &str = "from-file";
const SET: &str = "set";
const UNSET: &str = "unset";
