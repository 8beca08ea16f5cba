//! `certctl-agent unenroll`

use std::io::{BufRead as _, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::files::explain;
use clap::Args;

use super::output::{remark, say};
use crate::agent::{JOURNAL, not_enrolled};
use crate::identity::{CA_FILE, Identity};
use crate::settings::Settings;
use crate::state::{StateDir, entries, remove_private};
use crate::{challenges, enroll, outbox, undertaking, vitals};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Delete the private keys too, also those in backups of replaced pairs: what is served with them can then not be deployed again
    #[arg(long)]
    delete_keys: bool,
}

pub(super) async fn execute(settings: &Settings, options: &Options) -> Result<ExitCode, ConnectorError> {
    let Some(state) = StateDir::existing(&settings.state_dir)? else {
        return Err(ConnectorError::permanent(format!("there is no agent: {} does not exist", settings.state_dir.display())));
    };
    let _lock = state.lock().await?;
    let identity = Identity::load(&state)?.ok_or_else(|| not_enrolled(&state))?;
    if !options.yes && !confirmed(&identity, options)? {
        return Err(ConnectorError::permanent("nothing was changed"));
    }
    forget(&state, options)?;
    say(&format!("Forgotten: {} ({}) at {}", identity.name, identity.agent_id, identity.server));
    if !options.delete_keys {
        say(&format!("Private keys stay in {}", state.join("keys").display()));
    }
    say(&format!("The server still knows the agent: certctl agents retire {}", identity.agent_id));
    Ok(ExitCode::SUCCESS)
}

/// The identity goes last: broken off before, the command can be repeated.
fn forget(state: &StateDir, options: &Options) -> Result<(), ConnectorError> {
    if let Err(error) = challenges::take_back_all(state) {
        // Harmless, and no reason to keep an identity.
        remark(&format!("an answer to a CA stays where it is: {}", error.explain()));
    }
    for directory in [outbox::DIRECTORY, undertaking::DIRECTORY, challenges::DIRECTORY] {
        entries(&state.join(directory))?.iter().try_for_each(|path| remove_private(path))?;
    }
    if options.delete_keys {
        remove_tree(&state.join("keys"))?;
        // The deployment engine keeps replaced pairs, and copies of new ones while a service tests them.
        for target in entries(&state.join(JOURNAL).join("targets"))? {
            remove_tree(&target.join("backups"))?;
            remove_tree(&target.join("work"))?;
        }
    }
    for file in [CA_FILE, vitals::FILE, enroll::PENDING] {
        state.remove(file)?;
    }
    Identity::forget(state)
}

fn remove_tree(path: &Path) -> Result<(), ConnectorError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(explain("delete", path, error)),
        _ => Ok(()),
    }
}

fn confirmed(identity: &Identity, options: &Options) -> Result<bool, ConnectorError> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(ConnectorError::permanent("forgetting the identity must be confirmed").hint("add --yes"));
    }
    let keys = if options.delete_keys { " and DELETE ITS PRIVATE KEYS" } else { "" };
    remark(&format!("Forget {} ({}){keys}? Type its name to go on:", identity.name, identity.agent_id));
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(|e| ConnectorError::transient("the answer cannot be read").caused_by(e))?;
    Ok(answer.trim() == identity.name)
}

pub(super) const EXAMPLES: &str = "\
Examples:
  certctl-agent unenroll
  certctl-agent unenroll --yes --delete-keys

The server is not told: an agent has no right to retire itself. `certctl agents retire NAME` does that.";
