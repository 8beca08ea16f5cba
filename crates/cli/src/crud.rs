//! List, get, create, edit and delete: one implementation for all nouns, from what `noun` says about each.

pub(crate) mod draft;
pub(crate) mod flags;
pub(crate) mod listing;
mod words;

use std::marker::PhantomData;

use clap::{Arg, ArgMatches, Command, Error, FromArgMatches, Subcommand};

use self::draft::{Draft, Patch};
use self::listing::Listing;
use crate::failure::Failure;
use crate::noun::{Known, Verb};
use crate::session::Session;

/// One of the commands that all nouns have in common.
#[derive(Debug)]
pub(crate) enum Crud<N> {
    /// `list`
    List(Listing<N>),
    /// `get`
    Get(String),
    /// `create`
    Create(Draft<N>),
    /// `edit`
    Edit(String, Patch<N>),
    /// `delete`
    Delete(Vec<String>, PhantomData<N>),
}

impl<N: Known> Crud<N> {
    /// Runs it.
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(listing) => listing.show(session, N::NOUN.path).await,
            Self::Get(name) => {
                let doc = session.client.get(&session.path(N::NOUN.path, &[name])?, &[]).await?;
                session.out.one(N::NOUN, &doc)
            }
            Self::Create(draft) => {
                let body = draft.body(session).await?;
                let doc = session.client.post(N::NOUN.path, &body).await?;
                session.out.note(&format!("{} made", N::NOUN.one));
                session.out.one(N::NOUN, &doc)
            }
            Self::Edit(name, patch) => {
                let body = patch.body(session).await?;
                let doc = session.client.patch(&session.path(N::NOUN.path, &[name])?, &body).await?;
                session.out.note(&format!("{} changed", N::NOUN.one));
                session.out.one(N::NOUN, &doc)
            }
            Self::Delete(names, _) => {
                session.confirm(&format!("Delete {} {}?", N::NOUN.one, names.join(", ")))?;
                for name in names {
                    session.client.delete(&session.path(N::NOUN.path, &[name])?, &[]).await?;
                    session.out.note(&format!("{} {name} deleted", N::NOUN.one));
                }
                Ok(())
            }
        }
    }
}

impl<N: Known> Subcommand for Crud<N> {
    fn augment_subcommands(command: Command) -> Command {
        N::NOUN.verbs.iter().fold(command, |command, verb| command.subcommand(subcommand::<N>(*verb)))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        N::NOUN.verbs.iter().any(|verb| words::word(*verb) == name)
    }
}

impl<N: Known> FromArgMatches for Crud<N> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let Some((word, matches)) = matches.subcommand() else {
            return Err(Error::new(clap::error::ErrorKind::MissingSubcommand));
        };
        let verb = N::NOUN.verbs.iter().find(|verb| words::word(**verb) == word);
        match verb {
            Some(Verb::List) => Listing::from_arg_matches(matches).map(Self::List),
            Some(Verb::Get) => Ok(Self::Get(one(matches))),
            Some(Verb::Create) => Draft::from_arg_matches(matches).map(Self::Create),
            Some(Verb::Edit) => Patch::from_arg_matches(matches).map(|patch| Self::Edit(one(matches), patch)),
            Some(Verb::Delete) => Ok(Self::Delete(flags::texts(matches, NAME), PhantomData)),
            None => Err(Error::new(clap::error::ErrorKind::InvalidSubcommand)),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn subcommand<N: Known>(verb: Verb) -> Command {
    use clap::Args as _;
    let command = Command::new(words::word(verb)).about(words::about(N::NOUN, verb)).after_help(words::examples(N::NOUN, verb));
    let name = Arg::new(NAME).value_name("NAME").required(true).help(format!("Name or id of the {}", N::NOUN.one));
    match verb {
        Verb::List => Listing::<N>::augment_args(command.visible_alias("ls")),
        Verb::Get => command.visible_alias("show").arg(name),
        Verb::Create => Draft::<N>::augment_args(command),
        Verb::Edit => Patch::<N>::augment_args(command.arg(name)).override_usage(words::edit_usage(N::NOUN)),
        Verb::Delete => command.visible_alias("rm").arg(name.num_args(1..).help(format!("Names or ids of {}", N::NOUN.many))),
    }
}

fn one(matches: &ArgMatches) -> String {
    matches.get_one::<String>(NAME).cloned().unwrap_or_default()
}

/// The argument that names one; its id is apart from those of the flags, of which `--name` is one.
const NAME: &str = "NAME";
