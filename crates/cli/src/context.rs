//! The contexts of the configuration file: which servers were logged in to, and which one is meant when none is named.

use clap::Subcommand;
use serde::Serialize;

use crate::app::App;
use crate::config::{Config, Context};
use crate::doc::Doc;
use crate::failure::Failure;
use crate::noun::{Noun, text};

/// What can be done with contexts.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the contexts
    #[command(visible_alias = "ls", after_help = "Examples:\n  certctl context list")]
    List,
    /// Mean this server when none is named
    #[command(after_help = "Examples:\n  certctl context use lab")]
    Use {
        /// Name of the context
        name: String,
    },
    /// Show one context, without its key
    #[command(visible_alias = "get", after_help = "Examples:\n  certctl context show\n  certctl context show lab")]
    Show {
        /// Name of the context; default the current one
        name: Option<String>,
    },
    /// Remove a context with its key
    #[command(visible_alias = "rm", after_help = "Examples:\n  certctl context delete lab")]
    Delete {
        /// Name of the context
        name: String,
    },
}

impl Command {
    /// Runs it.
    pub(crate) fn run(&self, mut app: App) -> Result<(), Failure> {
        let config = &mut app.file.config;
        match self {
            Self::List => {
                let data: Vec<Shown<'_>> = config.contexts.iter().map(|(name, context)| shown(config, name, context)).collect();
                app.out.page(&NOUN, &document(&Page { total: data.len(), data })?)?;
                if config.contexts.is_empty() {
                    app.out.note(&format!("no contexts yet; {}", NOUN.empty));
                }
                Ok(())
            }
            Self::Show { name } => {
                let name = name.as_ref().or(app.flags.server.context.as_ref()).or(config.current.as_ref());
                let name =
                    name.ok_or_else(|| Failure::usage("there is no current context").hint("choose one: certctl context use NAME"))?;
                app.out.one(&NOUN, &document(&shown(config, name, config.context(name)?))?)?;
                if let Some(path) = app.file.path() {
                    app.out.note(&format!("kept in {}", path.display()));
                }
                Ok(())
            }
            Self::Use { name } => {
                config.context(name)?;
                config.current = Some(name.clone());
                app.file.write()?;
                app.out.note(&format!("`{name}` is meant from now on"));
                Ok(())
            }
            Self::Delete { name } => {
                config.context(name)?;
                config.contexts.remove(name);
                if config.current.as_ref() == Some(name) {
                    config.current = None;
                }
                app.file.write()?;
                app.out.note(&format!("context `{name}` removed"));
                Ok(())
            }
        }
    }
}

/// A context as it is shown.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    current: bool,
    server: &'a str,
    /// Of the key only the part by which it is found in the list of keys.
    key: Option<String>,
    ca: &'static str,
    insecure: bool,
}

#[derive(Debug, Serialize)]
struct Page<'a> {
    data: Vec<Shown<'a>>,
    total: usize,
}

fn shown<'a>(config: &Config, name: &'a str, context: &'a Context) -> Shown<'a> {
    Shown {
        name,
        current: config.current.as_deref() == Some(name),
        server: &context.server,
        key: context.token.as_ref().map(|token| begin(token.expose())),
        ca: if context.ca_pem.is_some() { "own" } else { "system" },
        insecure: context.insecure,
    }
}

/// `ck_<id>_…`; the secret itself may have a `_` in it.
fn begin(key: &str) -> String {
    let mut parts = key.splitn(3, '_');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(kind), Some(id), Some(_secret)) => format!("{kind}_{id}_…"),
        _ => "…".to_owned(),
    }
}

fn document(shown: &impl Serialize) -> Result<Doc, Failure> {
    serde_norway::to_value(shown).map_err(|error| Failure::Answer(error.to_string()))
}

const NOUN: Noun = Noun {
    command: "context",
    one: "context",
    many: "contexts",
    path: "",
    handle: "name",
    columns: &[
        text("NAME", "name"),
        text("CURRENT", "current"),
        text("SERVER", "server"),
        text("KEY", "key"),
        text("CA", "ca"),
        text("INSECURE", "insecure").wide(),
    ],
    details: &[],
    filters: &[],
    sorts: &[],
    fields: &[],
    verbs: &[],
    example: "lab",
    create_example: "",
    edit_example: "",
    empty: "make one: certctl login --server https://...",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_by_its_begin_alone() {
        assert_eq!(begin("ck_0123abcd_se_cr-et"), "ck_0123abcd_…");
        assert_eq!(begin("whatever_it_is"), "whatever_it_…");
        assert_eq!(begin("secret"), "…");
    }
}
