//! Roles: named sets of permissions.

use clap::Subcommand;

use super::ID;
use crate::crud::Crud;
use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::noun::{Known, Noun, Takes, Verb, each, flag, text, time};
use crate::output::terminal::plain;
use crate::session::Session;

/// The noun.
#[derive(Debug)]
pub(crate) struct Roles;

/// What can be done with roles.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Crud(Crud<Roles>),
    /// List the permissions that a role can have
    #[command(after_help = "Examples:\n  certctl roles permissions\n  certctl roles permissions | grep '^cert'")]
    Permissions,
}

impl Command {
    /// Runs it.
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Crud(crud) => crud.run(session).await,
            Self::Permissions => {
                let answer: Doc = session.client.get("/api/v1/auth/permissions", &[]).await?;
                let all = doc::at(&answer, "permissions").and_then(Doc::as_sequence).map(Vec::as_slice).unwrap_or_default();
                session.out.answer(&answer, || all.iter().map(|one| plain(&doc::text(one, "name")) + "\n").collect())
            }
        }
    }
}

impl Known for Roles {
    const NOUN: &'static Noun = &Noun {
        command: "roles",
        one: "role",
        many: "roles",
        path: "/api/v1/auth/roles",
        handle: "id",
        columns: &[
            text("ID", "id"),
            text("NAME", "name"),
            text("SYSTEM", "system"),
            text("DESCRIPTION", "description"),
            each("PERMISSIONS", "permissions", "permission").wide(),
            time("CREATED", "created_at").wide(),
        ],
        details: &[time("UPDATED", "updated_at")],
        filters: &[flag("system", "system", Takes::Bool, "Only those that came with the product, or with `false` the others")],
        sorts: &["name", "id"],
        fields: &[
            flag("name", "name", Takes::Text, "Unique name").required(),
            flag("description", "description", Takes::Text, "For people"),
            flag("permission", "permissions", Takes::Texts, "What it allows, as `certctl roles permissions` lists; repeat for more"),
            ID,
        ],
        verbs: &[Verb::List, Verb::Get, Verb::Create, Verb::Edit, Verb::Delete],
        example: "r-prometheus-scrape",
        create_example: "--id r-prometheus-scrape --name 'Prometheus scrape' --permission metrics.read",
        edit_example: "--permission metrics.read --permission stats.read",
        empty: "make one: certctl roles create --name scraper --permission metrics.read",
    };
}
