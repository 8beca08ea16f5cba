//! One-time tokens with which agents enroll.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::crud::Crud;
use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::noun::{Known, Noun, Verb, text, time};
use crate::output::terminal::plain;
use crate::session::Session;
use crate::span;

/// The noun.
#[derive(Debug)]
pub(crate) struct Tokens;

/// What can be done with enrollment tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Crud(Crud<Tokens>),
    /// Make a token for one agent, and print it this once
    #[command(
        after_help = "Examples:\n  certctl agents token create --name web-1\n  certctl agents token create --name web-1 --label rack=7 --expires-in 10m"
    )]
    Create(Create),
}

/// A token to make.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Name that the agent will have; without, it chooses one
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Label that the agent will have; repeat for more
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// How long it can be used, 1m to 7d
    #[arg(long, value_name = "TIME", value_parser = span::parse, default_value = "1h")]
    expires_in: Duration,
}

impl Command {
    /// Runs it.
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Crud(crud) => crud.run(session).await,
            Self::Create(create) => create.run(session).await,
        }
    }
}

impl Create {
    async fn run(&self, session: &Session) -> Result<(), Failure> {
        let labels: std::collections::BTreeMap<_, _> = self.label.iter().cloned().collect();
        let body = json!({ "agent_name": self.name, "labels": labels, "expires_in_seconds": self.expires_in.as_secs() });
        let made: Doc = session.client.post(Tokens::NOUN.path, &body).await?;
        session.out.warn("this is the only time that the token is shown; it enrolls one agent");
        let undo = format!("certctl agents token delete {}", doc::text(&made, "id"));
        session.out.secret(&made, || doc::text(&made, "token_value") + "\n", &undo)?;
        // The command has the token in it: it is for eyes, not for the log of a script.
        let command = doc::text(&made, "command");
        if session.out.live && !command.is_empty() {
            session.out.note(&format!("run on the host within {}:\n  {}", span::short(self.expires_in), plain(&command)));
        }
        Ok(())
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it is not of the form key=value".to_owned()),
    }
}

impl Known for Tokens {
    const NOUN: &'static Noun = &Noun {
        command: "agents token",
        one: "enrollment token",
        many: "enrollment tokens",
        path: "/api/v1/agents/enrollment-tokens",
        handle: "id",
        columns: &[
            text("ID", "id"),
            text("AGENT", "agent_name"),
            time("EXPIRES", "expires_at"),
            time("USED", "used_at"),
            text("USED BY", "used_by"),
            text("LABELS", "labels").wide(),
            text("CREATED BY", "created_by").wide(),
            time("CREATED", "created_at").wide(),
        ],
        details: &[],
        filters: &[],
        sorts: &["created_at"],
        fields: &[],
        verbs: &[Verb::List, Verb::Delete],
        example: "et-1234",
        create_example: "",
        edit_example: "",
        empty: "make one: certctl agents token create --name web-1",
    };
}
