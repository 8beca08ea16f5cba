//! API keys: made, rotated with an overlap, taken back. The secret is shown once.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, json};

use super::ACTOR;
use crate::crud::Crud;
use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::noun::{Known, Noun, Takes, Verb, flag, text, time};
use crate::session::Session;
use crate::span;

/// The noun.
#[derive(Debug)]
pub(crate) struct Keys;

/// What can be done with API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Crud(Crud<Keys>),
    /// Make an API key, and print its secret this once
    #[command(
        after_help = "Examples:\n  certctl keys create --actor actor-prometheus --name scrape --expires-in 90d\n  (umask 077; certctl keys create --actor ci --quiet > ci.key)"
    )]
    Create(Create),
    /// Replace an API key: the new one works at once, the old one for a while longer
    #[command(after_help = "Examples:\n  certctl keys rotate ak-1234 --overlap 24h")]
    Rotate(Rotate),
}

/// An API key to make.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Actor whose key it is
    #[arg(long, value_name = "ACTOR")]
    actor: String,
    /// What it is for, for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// How long it lives, such as 90d; without, until it is deleted
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    expires_in: Option<Duration>,
}

/// An API key to replace.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Id of the API key
    id: String,
    /// How long the old key goes on working
    #[arg(long, value_name = "TIME", value_parser = span::parse, default_value = "24h")]
    overlap: Duration,
}

impl Command {
    /// Runs it.
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Crud(crud) => crud.run(session).await,
            Self::Create(create) => {
                let mut body = Map::new();
                body.insert("actor_id".to_owned(), json!(session.id_of(&ACTOR, &create.actor).await?));
                if let Some(name) = &create.name {
                    body.insert("name".to_owned(), json!(name));
                }
                if let Some(length) = create.expires_in {
                    body.insert("expires_at".to_owned(), json!(span::after(session.now, length)));
                }
                show_once(session, &session.client.post(Keys::NOUN.path, &body).await?)
            }
            Self::Rotate(rotate) => {
                let path = session.path(Keys::NOUN.path, &[&rotate.id, "rotate"])?;
                let body = json!({ "overlap": format!("{}s", rotate.overlap.as_secs()) });
                let made = session.client.post(&path, &body).await?;
                session.out.note(&format!("{} goes on working for {}", rotate.id, span::short(rotate.overlap)));
                show_once(session, &made)
            }
        }
    }
}

/// Prints a secret that is never shown again.
fn show_once(session: &Session, made: &Doc) -> Result<(), Failure> {
    session.out.warn(&format!("this is the only time that key {} is shown; store it now", doc::text(made, "id")));
    session.out.secret(made, || doc::text(made, "key_value") + "\n", &format!("certctl keys delete {}", doc::text(made, "id")))
}

impl Known for Keys {
    const NOUN: &'static Noun = &Noun {
        command: "keys",
        one: "API key",
        many: "API keys",
        path: "/api/v1/auth/apikeys",
        handle: "id",
        columns: &[
            text("ID", "id"),
            text("ACTOR", "actor_id"),
            text("NAME", "name"),
            text("PREFIX", "prefix"),
            time("EXPIRES", "expires_at"),
            time("LAST USED", "last_used_at"),
            time("REVOKED", "revoked_at"),
            text("CREATED BY", "created_by").wide(),
            time("CREATED", "created_at").wide(),
        ],
        details: &[text("ROTATED TO", "rotated_to")],
        filters: &[
            flag("actor", "actor_id", Takes::One(&ACTOR), "Only keys of this actor"),
            flag("revoked", "revoked", Takes::Bool, "Only those that were taken back, or with `false` the others"),
            flag("expires-within", "expires_before", Takes::FromNow, "Only those that end within this time, such as 30d"),
        ],
        sorts: &["created_at", "id"],
        fields: &[],
        verbs: &[Verb::List, Verb::Get, Verb::Delete],
        example: "ak-1234",
        create_example: "",
        edit_example: "",
        empty: "make one: certctl keys create --actor actor-prometheus --expires-in 90d",
    };
}
