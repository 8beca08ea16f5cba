//! Old backups go, as many as the settings say, and never before a newer one was read from one end to the other.

use std::sync::Arc;
use std::time::Duration;

use certctl_backup::place::Found;
use certctl_backup::retention::{Candidate, Fate, Policy, decide};
use certctl_backup::{ArchiveName, BackupError, Manifest, Place};
use certctl_connector_core::fault;
use certctl_store::backup::{self as rows, Verb};

use super::{Began, Lock, blocking, note, now, open_store, place};
use crate::boot::BootError;
use crate::config::BackupOnly;

/// What became of each backup.
#[derive(Debug, Clone)]
pub struct Pruned {
    /// Each, the newest first, and why it stays.
    pub fates: Vec<Fate>,
    /// The newest good one, which was read whole.
    pub proven: Manifest,
    /// Bytes of what went.
    pub freed: u64,
}

/// Removes what the settings do not keep, of this installation alone. With `dry_run` it only says what would go.
///
/// # Errors
/// When no backup is good; then nothing is removed.
pub async fn prune(settings: &BackupOnly, wait: Duration, mode: Mode) -> Result<Pruned, BootError> {
    let store = open_store(settings).await?;
    let lock = Lock::take(&store, wait).await?;
    let began = Began::now(None).with("dry_run", mode == Mode::DryRun);
    let installation = rows::installation(&store, now()).await?;
    let latest = rows::last_run(store.db(), Verb::Create).await?.archive;
    let place = place(&settings.backup).await?;
    let policy = Policy {
        last: settings.backup.keep_last,
        daily: settings.backup.keep_daily,
        weekly: settings.backup.keep_weekly,
        monthly: settings.backup.keep_monthly,
    };
    let pruned = {
        let place = Arc::clone(&place);
        blocking(move || run(&place, (&installation, latest.as_deref()), policy, mode)).await.map_err(BootError::from)
    };
    let began = began.with("place", place.describe());
    let began = match &pruned {
        Ok(pruned) => {
            began.with("removed", pruned.fates.iter().filter(|fate| fate.goes()).map(|fate| fate.name.clone()).collect::<Vec<_>>())
        }
        Err(_) => began,
    };
    if mode == Mode::ForReal {
        note(&store, Verb::Prune, began, pruned.as_ref().map(|pruned| &pruned.proven)).await;
    }
    lock.release().await;
    store.db().close().await;
    pruned
}

/// Whether anything is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is.
    ForReal,
    /// It is only said what would be.
    DryRun,
}

fn run(place: &Place, (installation, latest): (&str, Option<&str>), policy: Policy, mode: Mode) -> Result<Pruned, BackupError> {
    let found = place.archives(Some(installation))?;
    let mut candidates: Vec<Candidate> = found.iter().map(candidate).collect();
    let proven = prove(place, &found, &mut candidates)?;
    let mut fates = decide(&candidates, policy, latest, now());
    // A date may be wrong; that it is the only one known to be good is not.
    for fate in fates.iter_mut().filter(|fate| fate.name == proven.archive && fate.goes()) {
        fate.reasons.push("newest good one");
    }
    let mut freed = 0;
    for fate in fates.iter().filter(|fate| fate.goes()) {
        freed += found.iter().find(|one| one.name.as_str() == fate.name).and_then(|one| one.size).unwrap_or_default();
        if mode == Mode::ForReal {
            remove(place, &fate.name)?;
        }
    }
    Ok(Pruned { fates, proven, freed })
}

/// Reads from the newest on until one is good. Those that turn out not to be count as what they are.
fn prove(place: &Place, found: &[Found], candidates: &mut [Candidate]) -> Result<Manifest, BackupError> {
    let mut why = None;
    let now = now();
    // Dates that have not come yet are doubtful: they are tried last.
    let (ahead, sound): (Vec<&Found>, Vec<&Found>) = found.iter().partition(|one| one.created_at() > now);
    for manifest in sound.into_iter().chain(ahead).filter_map(Found::manifest) {
        match place.check(manifest) {
            Ok(()) => return Ok(manifest.clone()),
            Err(error) => {
                tracing::error!(archive = manifest.archive, error = error.chain(), "a backup is damaged");
                for one in candidates.iter_mut().filter(|one| one.name == manifest.archive) {
                    one.whole = false;
                }
                why = Some(error);
            }
        }
    }
    let none = BackupError::new(format!("there is no good backup in {}, so nothing is removed", place.describe()));
    let none = none.hint("make one with `certctl-server backup create`");
    Err(match why {
        Some(error) => none.because(error),
        None => none,
    })
}

fn candidate(found: &Found) -> Candidate {
    Candidate { name: found.name.as_str().to_owned(), created_at: found.created_at(), whole: found.manifest().is_some() }
}

/// The manifest goes first: what is half removed does not look whole.
fn remove(place: &Place, name: &str) -> Result<(), BackupError> {
    if let Some(archive) = ArchiveName::parse(name) {
        place.remove(&archive.manifest())?;
        fault::point("prune.half");
        place.remove(name)?;
    }
    Ok(())
}
