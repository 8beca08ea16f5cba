//! Why a command failed, its exit code, and how that is told: what and why, a hint with the next step, the fields that are wrong.

use std::fmt::Write as _;

use certctl_api::client::ClientError;

use crate::output::terminal::plain;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command or the configuration cannot be understood.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// Nobody is logged in at the server.
    #[error("there is no API key for {server}")]
    NotLoggedIn {
        /// The server.
        server: String,
    },
    /// A file, the terminal or another thing of this machine.
    #[error("{what}: {source}")]
    Local {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The server refused, or was not reached.
    #[error(transparent)]
    Server(#[from] ClientError),
    /// The answer has not the form that this program knows.
    #[error("the server's answer cannot be read: {0}")]
    Answer(String),
    /// The command was understood and the server did its part, but the work that was asked for failed.
    #[error("{message}")]
    Work {
        /// What failed and why.
        message: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// The work that was waited for is still going on.
    #[error("{message}")]
    StillGoing {
        /// Where it stands.
        message: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// A secret was made, and could not be shown the only time that it is shown.
    #[error("{message}")]
    Unseen {
        /// What was made, and why it could not be shown.
        message: String,
        /// How to be rid of it.
        hint: String,
    },
    /// Somebody pressed Ctrl-C.
    #[error("stopped waiting; the work goes on at the server")]
    Interrupted,
    /// The reader of the output went away, as `head` does. Nothing is said about it.
    #[error("nobody reads the output")]
    NobodyReads,
}

impl Failure {
    /// A mistake in the command.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: None }
    }

    /// A mistake of a file or terminal.
    pub(crate) fn local(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Local { what, source }
    }

    /// Adds what to do next, where the kind of failure has room for it.
    #[must_use]
    pub(crate) fn hint(mut self, next: impl Into<String>) -> Self {
        match &mut self {
            Self::Usage { hint, .. } | Self::Work { hint, .. } | Self::StillGoing { hint, .. } => *hint = Some(next.into()),
            Self::Unseen { hint, .. } => *hint = next.into(),
            Self::NotLoggedIn { .. } | Self::Local { .. } | Self::Server(_) | Self::Answer(_) | Self::Interrupted | Self::NobodyReads => {}
        }
        self
    }

    /// The exit code; see [`EXIT_CODES`].
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NobodyReads => 0,
            Self::Local { .. } | Self::Answer(_) | Self::Unseen { .. } | Self::Server(ClientError::Answer { .. }) => 1,
            Self::Usage { .. } | Self::Server(ClientError::Config(_)) => 2,
            Self::NotLoggedIn { .. } => 3,
            Self::Server(ClientError::Network { .. }) => 7,
            Self::Server(ClientError::Problem(problem)) => match problem.status {
                401 | 403 => 3,
                404 => 4,
                409 | 412 => 5,
                429 => 6,
                _ => 1,
            },
            Self::Work { .. } => 8,
            Self::StillGoing { .. } => 9,
            Self::Interrupted => 130,
        }
    }

    /// What is written to standard error; nothing when nobody needs to know.
    pub(crate) fn told(&self) -> String {
        let mut told = String::new();
        if matches!(self, Self::NobodyReads) {
            return told;
        }
        line(&mut told, "error", &self.to_string());
        if let Self::Server(ClientError::Problem(problem)) = self {
            for error in &problem.errors {
                // A refusal of one field is its own detail already.
                let said = format!("{}: {}", error.field, error.message);
                if !problem.detail.contains(&said) {
                    line(&mut told, "  field", &said);
                }
            }
        }
        if let Some(hint) = self.next() {
            line(&mut told, "hint", &hint);
        }
        if let Self::Server(ClientError::Problem(problem)) = self
            && !problem.request_id.is_empty()
        {
            line(&mut told, "request id", &problem.request_id);
        }
        told
    }

    fn next(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } | Self::Work { hint, .. } | Self::StillGoing { hint, .. } => hint.clone(),
            Self::Unseen { hint, .. } => Some(hint.clone()),
            Self::NotLoggedIn { server } => Some(format!("certctl login --server {server}, or set CERTCTL_API_KEY")),
            Self::Server(ClientError::Network { why, .. }) if why.contains("certificate") => Some(
                "give the PEM file of the server's CA with --ca FILE, and call the server by a name that its certificate has".to_owned(),
            ),
            Self::Server(error) => error.hint().map(str::to_owned).or_else(|| {
                let hint = match error.status()? {
                    401 => "the key may be mistyped, expired or revoked: certctl login",
                    403 => "see what you may do: certctl actors me",
                    429 => "wait a little and try again",
                    500..=599 => "give the request id to whoever runs the server",
                    _ => return None,
                };
                Some(hint.to_owned())
            }),
            Self::Answer(_) => Some("compare the versions of program and server: certctl version".to_owned()),
            Self::Local { .. } | Self::Interrupted | Self::NobodyReads => None,
        }
    }
}

/// The exit codes, for the help text and the reference page.
pub(crate) const EXIT_CODES: &[(u8, &str)] = &[
    (0, "done"),
    (1, "failed in a way that has no code of its own"),
    (2, "the command, its arguments or the configuration cannot be understood"),
    (3, "not logged in, or not allowed"),
    (4, "not found"),
    (5, "conflict: it exists already, is in use, or was changed by somebody else"),
    (6, "too many requests"),
    (7, "the server was not reached, or its TLS certificate is not trusted"),
    (8, "the work failed: the job, the check or the deployment that was asked for"),
    (9, "the work did not end within --timeout"),
    (130, "interrupted while waiting"),
];

/// One line for people; what came from elsewhere cannot move the cursor or hide text.
fn line(told: &mut String, label: &str, text: &str) {
    // Writing to a String cannot fail.
    if writeln!(told, "{label}: {}", plain(text)).is_err() {
        told.clear();
    }
}

#[cfg(test)]
mod tests {
    use certctl_api::problem::Problem;
    use certctl_domain::noun::FieldError;

    use super::*;

    fn problem(status: u16) -> Failure {
        Failure::Server(ClientError::Problem(Box::new(Problem { status, detail: format!("detail {status}"), ..Problem::default() })))
    }

    #[test]
    fn every_failure_has_a_documented_exit_code() {
        let failures = [
            (Failure::NobodyReads, 0),
            (Failure::Answer("x".into()), 1),
            (Failure::local("x")(std::io::Error::other("y")), 1),
            (problem(400), 1),
            (problem(500), 1),
            (Failure::Unseen { message: "x".into(), hint: "y".into() }, 1),
            (Failure::usage("x"), 2),
            (Failure::Server(ClientError::Config("x".into())), 2),
            (Failure::NotLoggedIn { server: "x".into() }, 3),
            (problem(401), 3),
            (problem(403), 3),
            (problem(404), 4),
            (problem(409), 5),
            (problem(412), 5),
            (problem(429), 6),
            (Failure::Work { message: "x".into(), hint: None }, 8),
            (Failure::StillGoing { message: "x".into(), hint: None }, 9),
            (Failure::Interrupted, 130),
        ];
        for (failure, code) in failures {
            assert_eq!(failure.exit_code(), code, "{failure:?}");
            assert!(EXIT_CODES.iter().any(|(known, _)| *known == code), "{code}");
        }
    }

    #[test]
    fn a_problem_tells_fields_hint_and_request_id() {
        let failure = Failure::Server(ClientError::Problem(Box::new(Problem {
            status: 400,
            detail: "the certificate is not as it should be".into(),
            hint: Some("use certctl targets list".into()),
            request_id: "req-1".into(),
            errors: vec![
                FieldError { field: "name".into(), message: "must not be empty".into() },
                FieldError { field: "sans".into(), message: "has \u{1b}[2J\u{202e} in it".into() },
            ],
            ..Problem::default()
        })));
        insta::assert_snapshot!(failure.told(), @r"
        error: the certificate is not as it should be
          field: name: must not be empty
          field: sans: has \u{1b}[2J\u{202e} in it
        hint: use certctl targets list
        request id: req-1
        ");
        assert_eq!(Failure::NobodyReads.told(), "");
    }
}
