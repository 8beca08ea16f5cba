//! Targets: the places where certificates are put.

use clap::Subcommand;

use super::{AGENT, CERTIFICATE, ID};
use crate::crud::Crud;
use crate::failure::Failure;
use crate::noun::{Known, Noun, Takes, Verb, flag, text, time};
use crate::session::Session;

/// The noun.
#[derive(Debug)]
pub(crate) struct Targets;

/// What can be done with targets.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Crud(Crud<Targets>),
    /// Ask whether the agent beside the target could serve it
    #[command(after_help = "Examples:\n  certctl targets test nginx-1")]
    Test {
        /// Name or id of the target
        name: String,
    },
}

impl Command {
    /// Runs it.
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Crud(crud) => crud.run(session).await,
            Self::Test { name } => {
                let path = session.path(Targets::NOUN.path, &[name, "test"])?;
                super::issuers::test(session, &format!("target {name}"), &path).await
            }
        }
    }
}

impl Known for Targets {
    const NOUN: &'static Noun = &Noun {
        command: "targets",
        one: "target",
        many: "targets",
        path: "/api/v1/targets",
        handle: "name",
        columns: &[
            text("NAME", "name"),
            text("TYPE", "type"),
            text("AGENT", "agent_id"),
            text("ENABLED", "enabled"),
            text("ID", "id"),
            time("CREATED", "created_at").wide(),
        ],
        details: &[text("CONFIG", "config"), time("UPDATED", "updated_at")],
        filters: &[
            flag("type", "type", Takes::Text, "Only targets with this connector"),
            flag("agent", "agent_id", Takes::One(&AGENT), "Only targets of this agent"),
            flag("cert", "certificate_id", Takes::One(&CERTIFICATE), "Only targets of this certificate"),
            flag("enabled", "enabled", Takes::Bool, "Only those in use, or with `false` the others"),
        ],
        sorts: &["created_at", "name", "type"],
        fields: &[
            flag("name", "name", Takes::Text, "Unique name").required(),
            flag("type", "type", Takes::Text, "The connector, such as NGINX or Files").required(),
            flag("agent", "agent_id", Takes::One(&AGENT), "The agent beside it").required(),
            flag("config", "config", Takes::Settings, "Setting of the connector: JSON, @FILE or text; repeat for more"),
            flag("enabled", "enabled", Takes::Bool, "Whether certificates are put there; default true"),
            ID,
        ],
        verbs: &[Verb::List, Verb::Get, Verb::Create, Verb::Edit, Verb::Delete],
        example: "nginx-1",
        create_example: "--name nginx-1 --type NGINX --agent web-1 --from-file nginx-1.yaml",
        edit_example: "--set config.reload_command='[\"systemctl\",\"reload\",\"nginx\"]'",
        empty: "make one: certctl targets create --name nginx-1 --type NGINX --agent web-1",
    };
}
