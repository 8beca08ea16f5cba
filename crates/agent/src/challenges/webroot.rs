//! Answers as files below the root of what a web server shows.
//!
//! Others may write there, too. So nothing below the root is reached through a symbolic link, a file is only ever named by a token and has
//! nothing but its key authorization in it, and what was put out is noted beforehand, so that it is taken back also after a crash.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::challenge::HTTP_FOLDER;
use certctl_connector_core::files::{Attributes, Directory, FileMode, explain, temporary_name};
use certctl_domain::challenge::{KeyAuthorization, OpenChallenge};
use serde::{Deserialize, Serialize};

use crate::state::{StateDir, entries, read_json};

/// Where notes of what was put out are kept, below the state directory.
pub(crate) const DIRECTORY: &str = "challenges";

/// The files that were put out.
#[derive(Debug)]
pub(super) struct Webroot {
    state: StateDir,
    root: Option<PathBuf>,
    notes: BTreeMap<String, Note>,
}

/// A file that may have been put out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    root: PathBuf,
    key_authorization: KeyAuthorization,
}

impl Webroot {
    /// With what was put out before.
    pub(super) fn open(state: &StateDir, root: Option<PathBuf>) -> Result<Self, ConnectorError> {
        let notes = read_notes(state)?.into_iter().map(|note| (note.key_authorization.token().to_owned(), note)).collect();
        Ok(Self { state: state.clone(), root, notes })
    }

    /// Has a web server show an answer.
    pub(super) fn put_out(&mut self, challenge: &OpenChallenge) -> Result<(), ConnectorError> {
        let Some(root) = self.root.clone() else {
            return Err(ConnectorError::permanent("this agent is not set up to answer http-01")
                .hint("set acme_webroot or acme_http01_listen in its agent.toml"));
        };
        let note = Note { root, key_authorization: challenge.key_authorization.clone() };
        let token = note.key_authorization.token().to_owned();
        if self.notes.get(&token).is_some_and(|known| known.root != note.root) {
            self.take_back(&token)?;
        }
        if self.notes.get(&token) != Some(&note) {
            self.state.directory(DIRECTORY)?;
            self.state.write(&file(&token), &note)?;
            self.notes.insert(token, note.clone());
        }
        note.write()
    }

    /// Takes back all others.
    pub(super) fn keep_only(&mut self, wanted: impl Fn(&str) -> bool) {
        let others: Vec<String> = self.notes.keys().filter(|token| !wanted(token)).cloned().collect();
        for token in others {
            if let Err(error) = self.take_back(&token) {
                // Tried again with the next answer of the server.
                tracing::warn!(challenge.token = token, error = %error.explain(), hint = error.advice(), "an answer that is not needed any more cannot be taken back");
            }
        }
    }

    fn take_back(&mut self, token: &str) -> Result<(), ConnectorError> {
        if let Some(note) = self.notes.get(token) {
            note.remove()?;
            self.state.remove(&file(token))?;
            self.notes.remove(token);
            tracing::info!(challenge.token = token, "an answer was taken back");
        }
        Ok(())
    }
}

impl Note {
    fn write(&self) -> Result<(), ConnectorError> {
        let folder = HTTP_FOLDER.iter().try_fold(Directory::open(&self.root)?, |above, name| above.enter_or_make(name, FOLDER))?;
        let (token, text) = (self.key_authorization.token(), self.key_authorization.as_str());
        // A CA may be looking right now: what is there already stays.
        if is(&folder, token, text)? {
            return Ok(());
        }
        let attributes = Attributes { mode: Some(FileMode::PUBLIC), ..Attributes::keep_or(FileMode::PUBLIC) }.settle(None)?;
        let temporary = temporary_name()?;
        folder.create(&temporary, text.as_bytes(), &attributes)?;
        folder.rename(&temporary, token.as_ref()).inspect_err(|_| {
            if let Err(second) = folder.remove(&temporary) {
                tracing::warn!(error = %second.explain(), "a temporary file could not be removed");
            }
        })
    }

    /// What is not there any more is fine; folders stay for others.
    fn remove(&self) -> Result<(), ConnectorError> {
        let mut path = self.root.clone();
        path.extend(HTTP_FOLDER);
        if !path.is_dir() {
            return Ok(());
        }
        Directory::open(&path)?.remove(self.key_authorization.token())
    }
}

/// Takes back all that was put out, for an agent that will not run again.
///
/// # Errors
/// At the first that cannot be taken back.
pub(crate) fn take_back_all(state: &StateDir) -> Result<(), ConnectorError> {
    let mut webroot = Webroot::open(state, None)?;
    let tokens: Vec<String> = webroot.notes.keys().cloned().collect();
    tokens.iter().try_for_each(|token| webroot.take_back(token))
}

fn read_notes(state: &StateDir) -> Result<Vec<Note>, ConnectorError> {
    let mut notes = Vec::new();
    for path in entries(&state.join(DIRECTORY))? {
        if path.extension().is_some_and(|extension| extension == "json") {
            notes.extend(read_json::<Note>(&path)?);
        }
    }
    Ok(notes)
}

/// Whether the file is a plain one with this text.
fn is(folder: &Directory, name: &str, text: &str) -> Result<bool, ConnectorError> {
    // A link of that name is replaced, not followed.
    let Ok(Some(file)) = folder.open_file(name.as_ref()) else {
        return Ok(false);
    };
    let path = folder.path().join(name);
    if !file.metadata().map_err(|e| explain("examine", &path, e))?.is_file() {
        return Ok(false);
    }
    let mut found = Vec::with_capacity(text.len() + 1);
    file.take(text.len() as u64 + 1).read_to_end(&mut found).map_err(|e| explain("read", &path, e))?;
    Ok(found == text.as_bytes())
}

fn file(token: &str) -> String {
    format!("{DIRECTORY}/{token}.json")
}

/// As a web server can enter it.
const FOLDER: u32 = 0o755;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use super::*;

    struct Host {
        _temporary: tempfile::TempDir,
        root: PathBuf,
        state: StateDir,
    }

    fn host() -> Host {
        let temporary = tempfile::tempdir().unwrap();
        let here = temporary.path().canonicalize().unwrap();
        let root = here.join("www");
        std::fs::create_dir(&root).unwrap();
        Host { state: StateDir::create(&here.join("state")).unwrap(), root, _temporary: temporary }
    }

    fn challenge(text: &str) -> OpenChallenge {
        OpenChallenge {
            kind: certctl_domain::challenge::ChallengeKind::Http01,
            key_authorization: KeyAuthorization::parse(text).unwrap(),
            server_name: None,
            expires_at: "2090-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn an_answer_can_be_read_by_a_web_server_and_is_taken_back() {
        let host = host();
        let mut webroot = Webroot::open(&host.state, Some(host.root.clone())).unwrap();
        webroot.put_out(&challenge("tok.thumb")).unwrap();
        let folder = host.root.join(".well-known/acme-challenge");
        assert_eq!(std::fs::read_to_string(folder.join("tok")).unwrap(), "tok.thumb");
        assert_eq!((mode(&folder.join("tok")), mode(&folder), mode(&host.root.join(".well-known"))), (0o644, 0o755, 0o755));
        let before = folder.join("tok").metadata().unwrap().modified().unwrap();
        webroot.put_out(&challenge("tok.thumb")).unwrap();
        assert_eq!(folder.join("tok").metadata().unwrap().modified().unwrap(), before, "what is right stays");
        webroot.put_out(&challenge("tok.other")).unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("tok")).unwrap(), "tok.other");
        webroot.keep_only(|token| token == "tok");
        assert!(folder.join("tok").exists());
        webroot.keep_only(|_| false);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        assert_eq!(entries(&host.state.join(DIRECTORY)).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn what_was_put_out_before_a_crash_is_taken_back_also_from_an_earlier_root() {
        let host = host();
        Webroot::open(&host.state, Some(host.root.clone())).unwrap().put_out(&challenge("tok.thumb")).unwrap();
        let old = host.root.join(".well-known/acme-challenge/tok");
        let other = host.root.with_file_name("www2");
        std::fs::create_dir(&other).unwrap();
        let mut webroot = Webroot::open(&host.state, Some(other.clone())).unwrap();
        webroot.put_out(&challenge("tok.thumb")).unwrap();
        assert!(!old.exists() && other.join(".well-known/acme-challenge/tok").exists());
        take_back_all(&host.state).unwrap();
        assert!(!other.join(".well-known/acme-challenge/tok").exists());
        // What others have removed is no trouble.
        webroot = Webroot::open(&host.state, Some(other.clone())).unwrap();
        webroot.put_out(&challenge("tok.thumb")).unwrap();
        std::fs::remove_dir_all(&other).unwrap();
        webroot.keep_only(|_| false);
        assert_eq!(entries(&host.state.join(DIRECTORY)).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_link_below_the_root_leads_nowhere() {
        let host = host();
        let elsewhere = host.root.with_file_name("elsewhere");
        std::fs::create_dir_all(elsewhere.join("acme-challenge")).unwrap();
        symlink(&elsewhere, host.root.join(".well-known")).unwrap();
        let mut webroot = Webroot::open(&host.state, Some(host.root.clone())).unwrap();
        let error = webroot.put_out(&challenge("tok.thumb")).unwrap_err();
        assert!(error.to_string().contains("symbolic link") && error.advice().unwrap().contains("elsewhere"), "{error:?}");
        std::fs::remove_file(host.root.join(".well-known")).unwrap();
        std::fs::create_dir(host.root.join(".well-known")).unwrap();
        symlink(elsewhere.join("acme-challenge"), host.root.join(".well-known/acme-challenge")).unwrap();
        webroot.put_out(&challenge("tok.thumb")).unwrap_err();
        assert_eq!(std::fs::read_dir(elsewhere.join("acme-challenge")).unwrap().count(), 0);
        // A link of the file's name is replaced by the file.
        std::fs::remove_file(host.root.join(".well-known/acme-challenge")).unwrap();
        std::fs::create_dir(host.root.join(".well-known/acme-challenge")).unwrap();
        let victim = elsewhere.join("victim");
        crate::state::write_private(&victim, b"precious").unwrap();
        symlink(&victim, host.root.join(".well-known/acme-challenge/tok")).unwrap();
        webroot.put_out(&challenge("tok.thumb")).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        assert!(host.root.join(".well-known/acme-challenge/tok").symlink_metadata().unwrap().is_file());
    }
}
