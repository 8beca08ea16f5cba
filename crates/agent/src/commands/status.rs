//! `certctl-agent status`: what the state directory tells, without asking the server or the running agent.

use std::path::PathBuf;
use std::process::ExitCode;

use certctl_connector_core::ConnectorError;
use certctl_domain::time::Timestamp;
use clap::Args;
use serde::Serialize;

use super::output::say;
use crate::agent::{JOURNAL, not_enrolled};
use crate::clock;
use crate::identity::{Identity, Trust};
use crate::keys::{KeyCount, Keys};
use crate::outbox::Outbox;
use crate::settings::Settings;
use crate::state::{StateDir, entries};
use crate::undertaking::Undertaking;
use crate::vitals::{TroubleKind, Vitals};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How the agent on this machine is.
#[derive(Debug, Serialize)]
struct Status {
    healthy: bool,
    /// Why it is not healthy; each with what to do.
    problems: Vec<Problem>,
    agent_id: String,
    name: String,
    server: String,
    trust: Trust,
    enrolled_at: Timestamp,
    state_dir: PathBuf,
    /// The process that runs, if one does.
    running_pid: Option<u32>,
    #[serde(flatten)]
    vitals: Option<Vitals>,
    keys: KeyCount,
    /// Deployments that have begun and whose end is not written down.
    jobs_begun: usize,
    /// Targets with a deployment that was cut short or runs.
    open_journals: Vec<String>,
    /// Results that the server has not taken yet.
    outbox: usize,
}

#[derive(Debug, Serialize)]
struct Problem {
    what: String,
    hint: String,
}

pub(super) fn execute(settings: &Settings, options: &Options) -> Result<ExitCode, ConnectorError> {
    let state = StateDir::existing(&settings.state_dir)?.ok_or_else(|| {
        ConnectorError::permanent(format!("this agent is not enrolled: {} does not exist", settings.state_dir.display()))
            .hint("certctl-agent enroll, or --state-dir if its state is elsewhere")
    })?;
    let status = Status::look(&state, clock::now())?;
    if options.json {
        let json = serde_json::to_string_pretty(&status)
            .map_err(|e| ConnectorError::permanent("the status cannot be written as JSON").caused_by(e))?;
        say(&json);
    } else {
        say(&status.text(clock::now()));
    }
    Ok(if status.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Status {
    fn look(state: &StateDir, now: Timestamp) -> Result<Self, ConnectorError> {
        let identity = Identity::load(state)?.ok_or_else(|| not_enrolled(state))?;
        let vitals = Vitals::load(state)?;
        let running_pid = state.holder()?;
        let mut problems = Vec::new();
        match (&vitals, running_pid) {
            (_, None) => problems.push(Problem::new("it does not run", "systemctl start certctl-agent, or certctl-agent run")),
            (None, Some(_)) => problems.push(Problem::new("it has just started", "look again in a moment")),
            (Some(vitals), Some(_)) => judge(vitals, now, &mut problems),
        }
        if let Some(vitals) = vitals.as_ref().filter(|vitals| vitals.clock_is_off()) {
            let seconds = vitals.clock_skew_ms.unwrap_or_default() / 1_000;
            problems.push(Problem::new(
                format!("this machine's clock is {seconds} s ahead of the server's"),
                "systemctl enable --now systemd-timesyncd",
            ));
        }
        Ok(Self {
            healthy: problems.is_empty(),
            problems,
            agent_id: identity.agent_id.to_string(),
            name: identity.name,
            server: identity.server,
            trust: identity.trust,
            enrolled_at: identity.enrolled_at,
            state_dir: state.path().to_owned(),
            running_pid,
            vitals,
            keys: Keys::count(state)?,
            jobs_begun: Undertaking::open(state)?.len(),
            open_journals: open_journals(state)?,
            outbox: Outbox::waiting(state)?,
        })
    }

    fn text(&self, now: Timestamp) -> String {
        let ago =
            |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |at| format!("{at} ({} ago)", span(now.since(at).as_secs())));
        let vitals = self.vitals.as_ref();
        let mut rows = vec![
            ("agent", format!("{} ({})", self.name, self.agent_id)),
            ("server", self.server.clone()),
            ("enrolled", self.enrolled_at.to_string()),
            ("state", self.state_dir.display().to_string()),
            ("running", self.running_pid.map_or_else(|| "no".to_owned(), |pid| format!("process {pid}"))),
            ("last contact", ago(vitals.and_then(|v| v.last_contact_at))),
            (
                "clock",
                vitals
                    .and_then(|v| v.clock_skew_ms)
                    .map_or_else(|| "not measured yet".to_owned(), |ms| format!("{ms:+} ms against the server")),
            ),
            ("keys", format!("{} for {} certificates", self.keys.keys, self.keys.certificates)),
            ("in work", format!("{} jobs, {} results to be sent", self.jobs_begun, self.outbox)),
        ];
        if !self.open_journals.is_empty() {
            rows.push(("open journals", self.open_journals.join(", ")));
        }
        if let Some(result) = vitals.and_then(|v| v.last_result.as_ref()) {
            rows.push(("last job", format!("{} {}: {} ({})", result.job_id, result.status, result.detail, ago(Some(result.at)))));
        }
        for problem in &self.problems {
            rows.push(("problem", problem.what.clone()));
            rows.push(("hint", problem.hint.clone()));
        }
        rows.push(("verdict", if self.healthy { "well" } else { "needs attention" }.to_owned()));
        rows.iter().map(|(name, value)| format!("{name:<14}{value}")).collect::<Vec<_>>().join("\n")
    }
}

impl Problem {
    fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

fn judge(vitals: &Vitals, now: Timestamp, problems: &mut Vec<Problem>) {
    let heard = vitals.last_contact_at.unwrap_or(vitals.started_at);
    match &vitals.trouble {
        Some(trouble) if trouble.kind == TroubleKind::Refused => {
            problems.push(Problem::new(
                format!("the server does not accept this agent: {}", trouble.what),
                trouble.hint.clone().unwrap_or_default(),
            ));
        }
        trouble if now.since(heard).as_secs() > LONG_AGO => {
            let why = trouble.as_ref().map_or_else(String::new, |trouble| format!(": {}", trouble.what));
            let hint = trouble.as_ref().and_then(|trouble| trouble.hint.clone()).unwrap_or_else(|| "see the agent's log".to_owned());
            problems.push(Problem::new(format!("the server has not answered for {}{why}", span(now.since(heard).as_secs())), hint));
        }
        _ => {}
    }
}

/// The deployment engine's open journals, by target.
fn open_journals(state: &StateDir) -> Result<Vec<String>, ConnectorError> {
    let targets = entries(&state.join(JOURNAL).join("targets"))?;
    let open = targets.iter().filter(|target| target.join("journal.jsonl").exists());
    Ok(open.filter_map(|target| Some(target.file_name()?.to_string_lossy().into_owned())).collect())
}

fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Several heartbeats have then failed.
const LONG_AGO: u64 = 180;

pub(super) const EXAMPLES: &str = "\
Examples:
  certctl-agent status
  certctl-agent status --json | jq .problems

Exit code 0: enrolled, running, and the server answered in the last three minutes. Exit code 1: not so, and why.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_at_a_glance() {
        for (seconds, text) in [(5, "5s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (172_800, "2d")] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn an_agent_without_identity_says_how_to_enroll() {
        let temporary = tempfile::tempdir().unwrap();
        let state = StateDir::create(temporary.path()).unwrap();
        assert!(Status::look(&state, Timestamp::UNIX_EPOCH).unwrap_err().advice().unwrap().contains("certctl-agent enroll"));
    }
}
