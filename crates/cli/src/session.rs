//! A command that talks to the server: the client, the output, and what all such commands need.

use std::time::Duration;

use certctl_api::client::{Client, ClientError};
use certctl_domain::time::Timestamp;
use url::Url;

use crate::app::App;
use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::input;
use crate::noun::Kind;
use crate::output::Output;

/// A command that talks to the server.
#[derive(Debug)]
pub(crate) struct Session {
    /// Calls the server.
    pub(crate) client: Client,
    /// Prints.
    pub(crate) out: Output,
    /// When the program began.
    pub(crate) now: Timestamp,
    /// The longest to wait for work to end.
    pub(crate) patience: Duration,
    asks: Asks,
}

/// What is done before something that cannot be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Nothing: `--yes` was given.
    Nothing,
    /// Somebody is asked.
    Somebody,
    /// Nobody is there to be asked.
    Nobody,
}

impl Session {
    /// For somebody with an API key.
    pub(crate) fn open(app: &App) -> Result<Self, Failure> {
        let connection = app.connection()?;
        if connection.token.is_none() {
            return Err(Failure::NotLoggedIn { server: connection.server });
        }
        Ok(Self {
            client: connection.client(app.call_limit())?,
            out: app.out.clone(),
            now: app.environment.now,
            patience: app.patience(),
            asks: app.asks(),
        })
    }

    /// A path of the API: the base, then each part escaped.
    pub(crate) fn path(&self, base: &str, parts: &[&str]) -> Result<String, Failure> {
        path(base, parts)
    }

    /// The id of what is called so, which may be its id or its name.
    pub(crate) async fn id_of(&self, kind: &Kind, name: &str) -> Result<String, Failure> {
        match self.client.get::<Doc>(&path(kind.path, &[name])?, &[]).await {
            Ok(doc) => Ok(doc::text(&doc, "id")),
            // Who may use it need not be allowed to look at it; then it is taken for an id.
            Err(error) if error.status() == Some(403) => Ok(name.to_owned()),
            Err(ClientError::Problem(mut problem)) if problem.status == 404 => {
                problem.detail = format!("there is no {} `{name}`", kind.one);
                problem.hint = Some(format!("see which there are: certctl {} list", kind.command));
                Err(ClientError::Problem(problem).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes sure that something is meant that cannot be undone.
    pub(crate) fn confirm(&self, question: &str) -> Result<(), Failure> {
        match self.asks {
            Asks::Nothing => Ok(()),
            Asks::Nobody => Err(Failure::usage(format!("{question} Nobody is there to answer")).hint("add --yes")),
            Asks::Somebody if input::ask_yes(question)? => Ok(()),
            Asks::Somebody => Err(Failure::usage("not confirmed; nothing was done")),
        }
    }
}

/// A path of the API: the base, then each part escaped, so that a name cannot lead elsewhere.
pub(crate) fn path(base: &str, parts: &[&str]) -> Result<String, Failure> {
    let fail = |part: &str| Failure::usage(format!("`{part}` cannot be a name"));
    let mut url: Url = "https://server/".parse().map_err(|_| fail(base))?;
    url.set_path(base);
    for part in parts {
        if part.is_empty() || matches!(*part, "." | "..") {
            return Err(fail(part));
        }
        url.path_segments_mut().map_err(|()| fail(part))?.push(part);
    }
    Ok(url.path().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_lead_elsewhere() {
        let escaped = |name| path("/api/v1/owners", &[name]).unwrap();
        assert_eq!(escaped("web ops"), "/api/v1/owners/web%20ops");
        assert_eq!(escaped("a/../b?c#d%2f"), "/api/v1/owners/a%2F..%2Fb%3Fc%23d%252f");
        assert_eq!(path("/api/v1/certificates", &["web", "renew"]).unwrap(), "/api/v1/certificates/web/renew");
        for name in ["", ".", ".."] {
            assert_eq!(path("/api/v1/owners", &[name]).unwrap_err().exit_code(), 2);
        }
    }
}
