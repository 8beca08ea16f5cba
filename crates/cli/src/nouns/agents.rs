//! Agents: the processes beside targets, and the one-time tokens with which they enroll.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::AGENT;
use crate::crud::Crud;
use crate::explain;
use crate::failure::Failure;
use crate::noun::{Known, Noun, Takes, Verb, flag, status, text, time};
use crate::output::terminal::plain;
use crate::session::Session;

pub(crate) mod token;

/// The noun.
#[derive(Debug)]
pub(crate) struct Agents;

/// What can be done with agents.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Crud(Crud<Agents>),
    /// Say how an agent is, and what it waits for
    #[command(after_help = "Examples:\n  certctl agents explain web-1")]
    Explain {
        /// Name or id of the agent
        name: String,
    },
    /// Retire an agent: its credential stops working
    #[command(after_help = "Examples:\n  certctl agents retire web-1\n  certctl agents retire web-1 --force --reason 'host is gone'")]
    Retire(Retire),
    /// One-time tokens with which agents enroll
    #[command(
        subcommand,
        visible_alias = "tokens",
        after_help = "Examples:\n  certctl agents token create --name web-1\n  certctl agents token list"
    )]
    Token(token::Command),
}

/// An agent to retire.
#[derive(Debug, Args)]
pub(crate) struct Retire {
    /// Name or id of the agent
    name: String,
    /// Retire it although targets depend on it; they go with it
    #[arg(long, requires = "reason")]
    force: bool,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Command {
    /// Runs it.
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Crud(crud) => crud.run(session).await,
            Self::Explain { name } => explain::show(session, &session.path(AGENT.path, &[name, "explain"])?).await,
            Self::Retire(retire) => retire.run(session).await,
            Self::Token(token) => token.run(session).await,
        }
    }
}

impl Retire {
    async fn run(&self, session: &Session) -> Result<(), Failure> {
        session.confirm(&format!("Retire agent {}?", self.name))?;
        let mut query = Vec::new();
        if self.force {
            query.push(("force", "true"));
        }
        query.extend(self.reason.as_deref().map(|reason| ("reason", reason)));
        let answer = session.client.delete(&session.path(AGENT.path, &[&self.name])?, &query).await?;
        session.out.answer(&answer, || {
            let again = matches!(answer.get("already_retired"), Some(Value::Bool(true))) || answer.is_null();
            let how = if again { "was retired before" } else { "retired" };
            plain(&format!("agent {} {how}", self.name)) + "\n"
        })
    }
}

impl Known for Agents {
    const NOUN: &'static Noun = &Noun {
        command: "agents",
        one: "agent",
        many: "agents",
        path: AGENT.path,
        handle: "name",
        columns: &[
            text("NAME", "name"),
            status("STATUS", "status"),
            text("HOST", "hostname"),
            time("HEARD OF", "last_heartbeat_at"),
            text("VERSION", "version"),
            text("ID", "id"),
            text("OS", "os").wide(),
            text("ARCH", "architecture").wide(),
            text("ADDRESS", "ip_address").wide(),
            text("CLOCK SKEW (MS)", "clock_skew_ms").wide(),
            time("ENROLLED", "registered_at").wide(),
            time("RETIRED", "retired_at").wide(),
        ],
        details: &[
            text("LABELS", "labels"),
            text("ANSWERS CAS BY", "challenges"),
            text("RETIRED BECAUSE", "retired_reason"),
            time("UPDATED", "updated_at"),
        ],
        filters: &[
            flag("status", "status", Takes::Choice(&["Online", "Offline", "Degraded"]), "Only agents with this status"),
            flag("os", "os", Takes::Text, "Only agents on this operating system"),
            flag("version", "version", Takes::Text, "Only agents of this version"),
            flag("retired", "retired", Takes::Bool, "Only those that were retired, or with `false` the others"),
        ],
        sorts: &["registered_at", "name", "hostname", "status"],
        fields: &[],
        verbs: &[Verb::List, Verb::Get],
        example: "web-1",
        create_example: "",
        edit_example: "",
        empty: "enroll one: certctl agents token create --name web-1",
    };
}
