//! The write-ahead journal: what is about to be done, one JSON line each, on disk before it is done.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::exec::Command;
use certctl_connector_core::files::{Existing, FinalAttributes, explain};
use certctl_connector_core::probe::KeyKind;
use certctl_connector_core::report::{Failure, Served};
use certctl_domain::time::Timestamp;
use certctl_domain::x509::Fingerprint;
use serde::{Deserialize, Serialize};

use super::live::LiveUpdate;
use super::state::TargetState;
use crate::observation::Observation;

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum Record {
    /// Everything that is needed to go on or back. Nothing has been touched.
    Begin(Box<Begin>),
    /// Old files are backed up, new ones written beside them.
    Staged,
    /// The service's test accepted the new files.
    Checked,
    /// The first rename is about to happen.
    Swapping,
    /// Every new file is in its place; the service has not been told.
    Swapped,
    /// The service has been told.
    Reloaded,
    /// Done; clearing away.
    Committed,
    /// The old files are about to be put back.
    RollingBack(Failure),
    /// They are back; the service has not been told.
    Restored,
    /// Back as before; clearing away.
    RolledBack,
    /// A person must look.
    RollbackFailed {
        /// Why.
        reason: String,
    },
}

/// What a deployment is about to do. Holds no secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Begin {
    pub(super) deployment: String,
    pub(super) target: String,
    pub(super) started: Timestamp,
    /// The name of this deployment's backup; sorts by time.
    pub(super) backup: String,
    /// Leaf first.
    pub(super) chain: Vec<Fingerprint>,
    pub(super) key_kind: Option<KeyKind>,
    pub(super) files: Vec<FileRecord>,
    #[serde(default)]
    pub(super) live: Option<LiveUpdate>,
    pub(super) reload: Option<Command>,
    pub(super) observation: Observation,
    /// What was served before.
    pub(super) baseline: Vec<Served>,
    pub(super) backups: u32,
}

/// One file of a deployment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FileRecord {
    /// The path as planned.
    pub(super) path: PathBuf,
    /// The file itself, links followed.
    pub(super) real: PathBuf,
    /// The name of the staged file, in the same directory.
    pub(super) temporary: String,
    /// The name of the backup; none when there was no file.
    pub(super) backup: Option<String>,
    #[serde(default)]
    pub(super) old: Option<OldFile>,
    pub(super) new_sha256: String,
    pub(super) new_attributes: FinalAttributes,
    /// The file is as it should be already: neither staged nor swapped.
    pub(super) unchanged: bool,
}

/// What a file was before.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct OldFile {
    pub(super) sha256: String,
    pub(super) attributes: FinalAttributes,
    /// The leaf certificate in it.
    pub(super) leaf: Option<Fingerprint>,
}

impl OldFile {
    pub(super) fn new(existing: &Existing, leaf: Option<Fingerprint>) -> Self {
        Self { sha256: existing.sha256.clone(), attributes: existing.attributes.clone(), leaf }
    }
}

impl Begin {
    /// Whether every file was there before, so that there is a pair to go back to.
    pub(super) fn had_pair(&self) -> bool {
        self.files.iter().all(|file| file.old.is_some())
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.chain.first().cloned().unwrap_or_else(|| Fingerprint::from_bytes(&[0; 32]))
    }
}

/// An open journal.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    file: Arc<File>,
    path: PathBuf,
}

impl Journal {
    /// Starts a journal; it is on disk, and so is its name, when this returns.
    pub(super) fn begin(state: &TargetState, begin: Begin) -> Result<Self, ConnectorError> {
        let path = state.journal();
        let file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(&path).map_err(|e| explain("create", &path, e))?;
        let journal = Self { file: Arc::new(file), path };
        journal.append(&Record::Begin(Box::new(begin)))?;
        state.sync()?;
        Ok(journal)
    }

    /// Opens the journal of a deployment that was cut short, with its records; `None` when there is none, or when it was cut
    /// short before its first record was whole (nothing had been touched then).
    pub(super) fn open(state: &TargetState) -> Result<Option<(Self, Begin, Vec<Record>)>, ConnectorError> {
        let path = state.journal();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(explain("read", &path, error)),
        };
        let whole = text.rfind('\n').map_or("", |end| text.get(..=end).unwrap_or_default());
        let mut records = Vec::new();
        for (number, line) in whole.lines().enumerate() {
            records.push(serde_json::from_str(line).map_err(|e| damaged(&path, number + 1).caused_by(e))?);
        }
        let file = OpenOptions::new().append(true).open(&path).map_err(|e| explain("open", &path, e))?;
        // A torn last line: its step was not taken. The next record must not be glued to it.
        file.set_len(whole.len() as u64).map_err(|e| explain("mend", &path, e))?;
        let journal = Self { file: Arc::new(file), path };
        let mut records = records.into_iter();
        match records.next() {
            None => {
                journal.discard()?;
                Ok(None)
            }
            Some(Record::Begin(begin)) => Ok(Some((journal, *begin, records.collect()))),
            Some(_) => Err(damaged(&journal.path, 1)),
        }
    }

    /// Writes a record; it is on disk when this returns. One that was cut short, as on a full disk, is taken off again: the next must not
    /// be glued to it.
    pub(super) fn append(&self, record: &Record) -> Result<(), ConnectorError> {
        let mut line =
            serde_json::to_vec(record).map_err(|e| ConnectorError::permanent("a journal record cannot be written").caused_by(e))?;
        line.push(b'\n');
        let before = self.file.metadata().map_err(|e| explain("examine", &self.path, e))?.len();
        let written = (&*self.file).write_all(&line).and_then(|()| self.file.sync_data());
        written.map_err(|error| {
            if let Err(second) = self.file.set_len(before) {
                tracing::warn!(error = %explain("mend", &self.path, second).explain(), "a torn journal record could not be taken off");
            }
            explain("write", &self.path, error)
        })
    }

    /// Ends the journal; it stays readable as the last one.
    pub(super) fn close(&self, state: &TargetState) -> Result<(), ConnectorError> {
        fs::rename(&self.path, state.last_journal()).map_err(|e| explain("close", &self.path, e))?;
        state.sync()
    }

    fn discard(&self) -> Result<(), ConnectorError> {
        fs::remove_file(&self.path).map_err(|e| explain("remove", &self.path, e))
    }
}

fn damaged(path: &Path, line: usize) -> ConnectorError {
    ConnectorError::permanent(format!("line {line} of the deployment journal {} is damaged", path.display()))
        .hint("compare the target's files with the newest directory under backups/ beside the journal, put back what is needed, then move the journal away")
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test starts itself again")]
mod tests {
    use super::*;

    const LIMITED: &str = "CERTCTL_TEST_LIMITED_FILES";

    fn begin() -> Begin {
        Begin {
            deployment: "job-1".into(),
            target: "tgt-1".into(),
            started: Timestamp::UNIX_EPOCH,
            backup: "1-job-1".into(),
            chain: Vec::new(),
            key_kind: None,
            files: Vec::new(),
            live: None,
            reload: None,
            observation: Observation::None { reason: String::new() },
            baseline: Vec::new(),
            backups: 3,
        }
    }

    #[test]
    fn a_record_that_was_cut_short_does_not_spoil_the_next() {
        if std::env::var_os(LIMITED).is_none() {
            // No file of the process may grow beyond 4 KiB: a write ends in the middle, as on a full disk.
            let limited = r#"trap "" XFSZ; ulimit -f 8; exec "$0" "$@""#;
            let name = "deploy::journal::tests::a_record_that_was_cut_short_does_not_spoil_the_next";
            let mut again = std::process::Command::new("sh");
            again.args(["-c", limited]).arg(std::env::current_exe().unwrap()).args([name, "--exact", "--nocapture"]).env(LIMITED, "1");
            let output = again.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let state = TargetState::open(folder.path(), "tgt-1").unwrap();
        let journal = Journal::begin(&state, begin()).unwrap();
        journal.append(&Record::RollbackFailed { reason: "x".repeat(8_000) }).unwrap_err();
        journal.append(&Record::Restored).unwrap();
        let (_, _, records) = Journal::open(&state).unwrap().unwrap();
        assert!(matches!(&records[..], [Record::Restored]), "{records:?}");
    }
}
