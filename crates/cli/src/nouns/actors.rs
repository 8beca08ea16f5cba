//! Actors: the people and programs that act.

use clap::Subcommand;

use super::{ID, ROLE};
use crate::crud::Crud;
use crate::doc::Doc;
use crate::failure::Failure;
use crate::noun::{Known, Noun, Takes, Verb, each, flag, status, text, time};
use crate::session::Session;

/// The noun.
#[derive(Debug)]
pub(crate) struct Actors;

/// What can be done with actors.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Crud(Crud<Actors>),
    /// Show who you are, and what you may do
    #[command(after_help = "Examples:\n  certctl actors me\n  certctl actors me -o json")]
    Me,
}

impl Command {
    /// Runs it.
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Crud(crud) => crud.run(session).await,
            Self::Me => {
                let me: Doc = session.client.get("/api/v1/auth/me", &[]).await?;
                session.out.one(&ME, &me)
            }
        }
    }
}

impl Known for Actors {
    const NOUN: &'static Noun = &Noun {
        command: "actors",
        one: "actor",
        many: "actors",
        path: "/api/v1/auth/actors",
        handle: "id",
        columns: &[
            text("ID", "id"),
            text("NAME", "name"),
            text("TYPE", "type"),
            each("ROLES", "roles", "role_id"),
            time("DISABLED", "disabled_at").wide(),
            time("CREATED", "created_at").wide(),
        ],
        details: &[time("UPDATED", "updated_at")],
        filters: &[
            flag("type", "type", Takes::Choice(&["User", "System", "Agent", "APIKey", "Anonymous"]), "Only actors of this kind"),
            flag("role", "role_id", Takes::One(&ROLE), "Only actors with this role"),
            flag("disabled", "disabled", Takes::Bool, "Only those that are disabled, or with `false` the others"),
        ],
        sorts: &["created_at", "id"],
        fields: &[
            flag("name", "name", Takes::Text, "For people").required(),
            flag("type", "type", Takes::Choice(&["APIKey", "User"]), "APIKey for programs, User for people; default APIKey"),
            flag("role", "roles", Takes::Many(&ROLE), "Role to hold; repeat for more"),
            ID,
        ],
        verbs: &[Verb::List, Verb::Get, Verb::Create, Verb::Edit, Verb::Delete],
        example: "actor-prometheus",
        create_example: "--id actor-prometheus --name 'Prometheus scrape' --role r-prometheus-scrape",
        edit_example: "--role r-metrics-read",
        empty: "make one: certctl actors create --name scraper --role r-metrics-read",
    };
}

/// The caller, as the server sees it.
const ME: Noun = Noun {
    handle: "actor_id",
    columns: &[
        text("ACTOR", "actor_id"),
        status("TYPE", "actor_type"),
        text("ADMIN", "admin"),
        text("ROLES", "roles"),
        each("PERMISSIONS", "effective_permissions", "permission"),
    ],
    details: &[],
    ..*Actors::NOUN
};
