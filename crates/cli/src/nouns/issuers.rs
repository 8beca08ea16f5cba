//! Issuers: the CAs that are asked for certificates.

use clap::{Args, Subcommand};

use super::ID;
use crate::crud::Crud;
use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::noun::{Known, Noun, Takes, Verb, flag, status, text, time};
use crate::session::Session;

/// The noun.
#[derive(Debug)]
pub(crate) struct Issuers;

/// What can be done with issuers.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Crud(Crud<Issuers>),
    /// Print the certificates of the CA in PEM, to be trusted
    #[command(
        after_help = "Examples:\n  certctl issuers ca iss-local > ca.pem\n  curl --cacert <(certctl issuers ca iss-local) https://web.example.test"
    )]
    Ca(One),
    /// Ask the CA whether it would answer
    #[command(after_help = "Examples:\n  certctl issuers test iss-local")]
    Test(One),
}

/// One issuer.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Name or id of the issuer
    name: String,
}

impl Command {
    /// Runs it.
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Crud(crud) => crud.run(session).await,
            Self::Ca(one) => session.out.write(&session.client.text(&session.path(Issuers::NOUN.path, &[&one.name, "ca"])?, &[]).await?),
            Self::Test(one) => {
                let path = session.path(Issuers::NOUN.path, &[&one.name, "test"])?;
                test(session, &format!("issuer {}", one.name), &path).await
            }
        }
    }
}

/// Tests a connection. A test that ran and failed is failed work, whatever the HTTP status says.
pub(super) async fn test(session: &Session, what: &str, path: &str) -> Result<(), Failure> {
    let answer: Doc = session.client.post(path, &serde_json::json!({})).await?;
    let (status, message) = (doc::text(&answer, "status"), doc::text(&answer, "message"));
    let detail = if message.is_empty() { String::new() } else { format!(": {message}") };
    if matches!(status.to_ascii_lowercase().as_str(), "failed" | "error" | "unreachable") {
        return Err(Failure::Work {
            message: format!("{what} failed its test{detail}"),
            hint: Some(doc::text(&answer, "hint")).filter(|hint| !hint.is_empty()),
        });
    }
    session.out.answer(&answer, || crate::output::terminal::plain(&format!("{what}: {status}{detail}")) + "\n")
}

impl Known for Issuers {
    const NOUN: &'static Noun = &Noun {
        command: "issuers",
        one: "issuer",
        many: "issuers",
        path: "/api/v1/issuers",
        handle: "name",
        columns: &[
            text("NAME", "name"),
            text("TYPE", "type"),
            text("ENABLED", "enabled"),
            status("TEST", "test_status"),
            text("ID", "id"),
            time("TESTED", "last_tested_at").wide(),
            time("CREATED", "created_at").wide(),
        ],
        details: &[text("CONFIG", "config"), time("UPDATED", "updated_at")],
        filters: &[
            flag("type", "type", Takes::Text, "Only issuers with this connector"),
            flag("enabled", "enabled", Takes::Bool, "Only those that may be asked, or with `false` the others"),
        ],
        sorts: &["created_at", "name", "type"],
        fields: &[
            flag("name", "name", Takes::Text, "Unique name").required(),
            flag("type", "type", Takes::Text, "The connector, such as GenericCA for the built-in CA").required(),
            flag("config", "config", Takes::Settings, "Setting of the connector: JSON, @FILE or text; repeat for more"),
            flag("enabled", "enabled", Takes::Bool, "Whether it may be asked; default true"),
            ID,
        ],
        verbs: &[Verb::List, Verb::Get, Verb::Create, Verb::Edit, Verb::Delete],
        example: "corp-vault",
        create_example: "--name corp-vault --type VaultPKI --config addr=https://vault:8200 --config token=@/run/secrets/vault",
        edit_example: "--enabled=false",
        empty: "make one: certctl issuers create --name local --type GenericCA",
    };
}
