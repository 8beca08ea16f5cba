//! The audit log: who did what, when, to what.

use std::path::PathBuf;

use certctl_domain::time::Timestamp;
use clap::{Args, Subcommand};

use crate::app::Waits;
use crate::crud::Crud;
use crate::crud::flags::past;
use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::files::{self, Readers};
use crate::noun::{Known, Noun, Takes, Verb, flag, text, time};
use crate::output::terminal::plain;
use crate::session::Session;

/// The noun.
#[derive(Debug)]
pub(crate) struct Audit;

/// What can be done with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Crud(Crud<Audit>),
    /// Export the audit log as one JSON object a line
    #[command(
        after_help = "Examples:\n  certctl audit export --from 30d --out audit.ndjson\n  certctl audit export --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z | jq .action"
    )]
    Export(Export),
    /// Check that nothing was changed in or taken out of the audit log
    #[command(after_help = "Examples:\n  certctl audit verify")]
    Verify,
}

/// What to export.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Begin: an instant, or a length of time before now; at most 90d before the end
    #[arg(long, value_name = "TIME")]
    from: String,
    /// End; default now
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only this group of actions
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(CATEGORIES))]
    category: Option<String>,
    /// File to write, readable by its owner alone; default standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Command {
    /// What it waits for.
    pub(crate) const fn waits(&self) -> Waits {
        match self {
            Self::Crud(_) => Waits::Answers,
            Self::Export(_) | Self::Verify => Waits::LongAnswers,
        }
    }

    /// Runs it.
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Crud(crud) => crud.run(session).await,
            Self::Export(export) => export.run(session).await,
            Self::Verify => verify(session).await,
        }
    }
}

impl Export {
    async fn run(&self, session: &Session) -> Result<(), Failure> {
        let instant = |text: &str| past(text, session.now).map(|at: Timestamp| at.to_string());
        let (from, to) = (instant(&self.from)?, self.to.as_deref().map_or_else(|| Ok(session.now.to_string()), instant)?);
        let mut query = vec![("from", from.as_str()), ("to", to.as_str())];
        query.extend(self.category.as_deref().map(|category| ("category", category)));
        let events = session.client.text("/api/v1/audit/export", &query).await?;
        match &self.out {
            None => session.out.write(&events),
            Some(file) => {
                files::write(file, events.as_bytes(), Readers::Owner)
                    .map_err(Failure::local(format!("cannot write {}", file.display())))?;
                session.out.note(&format!("{} events in {}", events.lines().count(), file.display()));
                Ok(())
            }
        }
    }
}

/// A chain that does not hold is failed work, whatever the HTTP status says.
async fn verify(session: &Session) -> Result<(), Failure> {
    let answer: Doc = session.client.get("/api/v1/audit/verify", &[]).await?;
    let lines = || {
        let fields = answer.as_mapping().into_iter().flatten().filter(|(_, value)| !value.is_null());
        fields.map(|(name, value)| plain(&format!("{}: {}", doc::shown(name), doc::shown(value))) + "\n").collect()
    };
    session.out.answer(&answer, lines)?;
    if doc::at(&answer, "intact").and_then(Doc::as_bool) != Some(true) {
        let message = format!("the audit log was changed: event {}: {}", doc::text(&answer, "broken_at"), doc::text(&answer, "broken"));
        return Err(Failure::Work { message, hint: Some("compare it with an export or a backup from before".to_owned()) });
    }
    Ok(())
}

impl Known for Audit {
    const NOUN: &'static Noun = &Noun {
        command: "audit",
        one: "audit event",
        many: "audit events",
        path: "/api/v1/audit",
        handle: "id",
        columns: &[
            time("WHEN", "timestamp"),
            text("ACTOR", "actor"),
            text("ACTION", "action"),
            text("KIND", "resource_type"),
            text("THING", "resource_id"),
            text("CATEGORY", "event_category").wide(),
            text("NUMBER", "sequence").wide(),
            text("REQUEST", "request_id").wide(),
            text("ID", "id").wide(),
        ],
        details: &[text("ACTOR TYPE", "actor_type"), text("DETAILS", "details"), text("HASH", "row_hash")],
        filters: &[
            flag("actor", "actor", Takes::Text, "Only what this actor did"),
            flag("action", "action", Takes::Text, "Only this action, such as certificate.create"),
            flag("kind", "resource_type", Takes::Text, "Only what was done to this kind of thing"),
            flag("thing", "resource_id", Takes::Text, "Only what was done to the thing with this id"),
            flag("category", "category", Takes::Choice(CATEGORIES), "Only this group of actions"),
            flag("since", "since", Takes::Past, "Only what was done since this time, or within this length of time, such as 24h"),
            flag("until", "until", Takes::Past, "Only what was done until this time"),
        ],
        sorts: &["timestamp"],
        fields: &[],
        verbs: &[Verb::List, Verb::Get],
        example: "audit-1234",
        create_example: "",
        edit_example: "",
        empty: "whatever somebody changes is written here",
    };
}

const CATEGORIES: &[&str] = &["cert_lifecycle", "auth", "config"];
