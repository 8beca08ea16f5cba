//! The one way to print: data to standard output, errors to standard error.

use std::io::{ErrorKind, Write as _};

use certctl_connector_core::ConnectorError;
use clap_complete::Shell;

/// Prints a line of data. A reader that has gone away (`| head`) is not an error.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        tracing::warn!(%error, "standard output cannot be written");
    }
}

/// Prints what a person should know beside the data.
pub(crate) fn remark(line: &str) {
    if let Err(error) = writeln!(std::io::stderr().lock(), "{line}") {
        tracing::debug!(%error, "standard error cannot be written");
    }
}

/// Prints an error with what to do next.
pub(crate) fn error(error: &ConnectorError) {
    remark(&format!("error: {}", error.explain()));
    if let Some(hint) = error.advice() {
        remark(&format!("hint: {hint}"));
    }
}

/// Prints a completion script.
pub(crate) fn completions(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::description(), "certctl-agent", &mut script);
    say(String::from_utf8_lossy(&script).trim_end());
}
