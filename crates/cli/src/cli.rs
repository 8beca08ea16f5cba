//! The whole command line as a tree, and which code runs for each command.

use clap::{Parser, Subcommand, ValueEnum};

use crate::app::{App, GlobalFlags, Waits};
use crate::crud::Crud;
use crate::environment::Environment;
use crate::failure::{EXIT_CODES, Failure};
use crate::nouns::owners::Owners;
use crate::nouns::policies::Policies;
use crate::nouns::profiles::Profiles;
use crate::nouns::teams::Teams;
use crate::nouns::{actors, agents, audit, certs, issuers, jobs, keys, roles, targets};
use crate::output::Format;
use crate::session::Session;
use crate::{completions, context, login, reference, status, version};

/// certctl owns the whole life of certificates: request, issue, deploy, prove, renew, revoke.
#[derive(Debug, Parser)]
#[command(
    name = "certctl",
    version,
    max_term_width = 120,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{}\n\n{}", formats(), exit_codes())
)]
pub(crate) struct Cli {
    #[command(flatten)]
    flags: GlobalFlags,
    #[command(subcommand)]
    command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum Command {
    /// Log in to a server with an API key, and remember it
    #[command(after_help = login::EXAMPLES)]
    Login,
    /// Forget the API key of a server
    #[command(after_help = "Examples:\n  certctl logout\n  certctl logout --context lab")]
    Logout,
    /// The servers that were logged in to
    #[command(subcommand, visible_alias = "contexts", after_help = "Examples:\n  certctl context list\n  certctl context use lab")]
    Context(context::Command),
    /// Say how the server is, and what needs attention
    #[command(after_help = "Examples:\n  certctl status\n  certctl status -o json")]
    Status,
    /// Certificates
    #[command(subcommand, visible_alias = "cert", after_help = CERTS_EXAMPLES)]
    Certs(Box<certs::Command>),
    /// Jobs: single steps of work
    #[command(subcommand, visible_alias = "job", after_help = "Examples:\n  certctl jobs list --cert web\n  certctl jobs explain job-1234")]
    Jobs(jobs::Command),
    /// Targets: where certificates are put
    #[command(subcommand, visible_alias = "target", after_help = "Examples:\n  certctl targets list\n  certctl targets get nginx-1")]
    Targets(targets::Command),
    /// Agents: the processes beside targets
    #[command(
        subcommand,
        visible_alias = "agent",
        after_help = "Examples:\n  certctl agents token create --name web-1\n  certctl agents list --status Offline"
    )]
    Agents(agents::Command),
    /// Issuers: the CAs that are asked for certificates
    #[command(
        subcommand,
        visible_alias = "issuer",
        after_help = "Examples:\n  certctl issuers list\n  certctl issuers ca iss-local > ca.pem"
    )]
    Issuers(issuers::Command),
    /// Profiles: what may be issued
    #[command(
        subcommand,
        visible_alias = "profile",
        after_help = "Examples:\n  certctl profiles list\n  certctl profiles get prof-default"
    )]
    Profiles(Crud<Profiles>),
    /// Renewal policies: when certificates are renewed, and when people are warned
    #[command(
        subcommand,
        visible_alias = "policy",
        after_help = "Examples:\n  certctl policies list\n  certctl policies edit rp-default --window-days 20"
    )]
    Policies(Crud<Policies>),
    /// Owners: who answers for certificates
    #[command(
        subcommand,
        visible_alias = "owner",
        after_help = "Examples:\n  certctl owners list\n  certctl owners create --name web-ops --email web-ops@example.test"
    )]
    Owners(Crud<Owners>),
    /// Teams: groups of owners
    #[command(subcommand, visible_alias = "team", after_help = "Examples:\n  certctl teams list\n  certctl teams create --name platform")]
    Teams(Crud<Teams>),
    /// Actors: the people and programs that act
    #[command(subcommand, visible_alias = "actor", after_help = "Examples:\n  certctl actors me\n  certctl actors list --role r-admin")]
    Actors(actors::Command),
    /// Roles: named sets of permissions
    #[command(subcommand, visible_alias = "role", after_help = "Examples:\n  certctl roles list\n  certctl roles get r-operator")]
    Roles(roles::Command),
    /// API keys
    #[command(
        subcommand,
        visible_alias = "key",
        after_help = "Examples:\n  certctl keys create --actor actor-prometheus --expires-in 90d\n  certctl keys list --expires-within 30d"
    )]
    Keys(keys::Command),
    /// The audit log: who did what
    #[command(subcommand, after_help = "Examples:\n  certctl audit list --since 24h\n  certctl audit verify")]
    Audit(audit::Command),
    /// Print a completion script for a shell
    #[command(after_help = completions::EXAMPLES)]
    Completions(completions::Completions),
    /// Show the versions of this program and of the server
    #[command(after_help = "Examples:\n  certctl version\n  certctl version -o json")]
    Version,
    /// Print the reference page of this program in Markdown
    #[command(hide = true, after_help = "Examples:\n  certctl reference > cli.md")]
    Reference,
}

impl Cli {
    /// Runs the command.
    pub(crate) async fn run(self, environment: &Environment) -> Result<(), Failure> {
        let app = App::new(self.flags, environment, self.command.waits())?;
        match &self.command {
            Command::Login => login::login(app).await,
            Command::Logout => login::logout(app),
            Command::Context(command) => command.run(app),
            Command::Status => status::show(&app).await,
            Command::Completions(completions) => completions.run(&app),
            Command::Version => version::show(&app).await,
            Command::Reference => app.out.write(&reference::page()),
            Command::Certs(command) => command.run(&Session::open(&app)?).await,
            Command::Jobs(command) => command.run(&Session::open(&app)?).await,
            Command::Targets(command) => command.run(&Session::open(&app)?).await,
            Command::Agents(command) => command.run(&Session::open(&app)?).await,
            Command::Issuers(command) => command.run(&Session::open(&app)?).await,
            Command::Profiles(command) => command.run(&Session::open(&app)?).await,
            Command::Policies(command) => command.run(&Session::open(&app)?).await,
            Command::Owners(command) => command.run(&Session::open(&app)?).await,
            Command::Teams(command) => command.run(&Session::open(&app)?).await,
            Command::Actors(command) => command.run(&Session::open(&app)?).await,
            Command::Roles(command) => command.run(&Session::open(&app)?).await,
            Command::Keys(command) => command.run(&Session::open(&app)?).await,
            Command::Audit(command) => command.run(&Session::open(&app)?).await,
        }
    }
}

impl Command {
    fn waits(&self) -> Waits {
        match self {
            Self::Certs(command) => command.waits(),
            Self::Jobs(command) => command.waits(),
            Self::Audit(command) => command.waits(),
            _ => Waits::Answers,
        }
    }
}

fn formats() -> String {
    let formats = Format::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    formats.fold("Output formats:".to_owned(), |text, format| {
        let meaning = format.get_help().map(ToString::to_string).unwrap_or_default();
        format!("{text}\n  {:6}  {meaning}", format.get_name())
    })
}

fn exit_codes() -> String {
    EXIT_CODES.iter().fold("Exit codes:".to_owned(), |text, (code, meaning)| format!("{text}\n  {code:3}  {meaning}"))
}

const EXAMPLES: &str = "Examples:
  certctl login --server https://certctl.example.test:8443 --ca ca.pem
  certctl status
  certctl certs request --name web --san web.example.test --target nginx-1 --wait
  certctl certs explain web";

const CERTS_EXAMPLES: &str = "Examples:
  certctl certs request --name web --san web.example.test --target nginx-1 --wait
  certctl certs list --expires-within 14d
  certctl certs explain web
  certctl certs renew web --wait";

#[cfg(test)]
mod tests;
