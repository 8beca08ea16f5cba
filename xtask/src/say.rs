//! Words for the person at the terminal. Color only where it is a terminal and never as the only carrier of meaning.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::failure::Failure;
use crate::process::variable;

/// A heading, with an empty line before it.
pub(crate) fn title(text: impl Display) {
    line(format_args!("\n{}", paint(Paint::Bold, text)));
}

/// A plain line.
pub(crate) fn line(text: impl Display) {
    // A reader that closed the pipe has seen enough; that is no error of ours.
    writeln!(io::stdout().lock(), "{text}").ok();
}

/// A plain line without an end, for a step that will be finished on the same line.
pub(crate) fn start(text: impl Display) {
    if io::stdout().is_terminal() {
        write!(io::stdout().lock(), "  … {text}").and_then(|()| io::stdout().flush()).ok();
    }
}

/// A step that held, with the time that it took.
pub(crate) fn held(text: impl Display, took: Duration) {
    let took = paint(Paint::Dim, format_args!("({})", seconds(took)));
    finish(format_args!("  {} {text} {took}", paint(Paint::Green, "✓")));
}

/// A step that did not hold.
pub(crate) fn broke(text: impl Display) {
    finish(format_args!("  {} {text}", paint(Paint::Red, "✗")));
}

/// A detail under the step before it.
pub(crate) fn detail(text: impl Display) {
    line(format_args!("      {}", paint(Paint::Dim, text)));
}

/// A failure with its causes on standard error, its hint on a line of its own.
pub(crate) fn failure(failure: &Failure) {
    let mut out = io::stderr().lock();
    writeln!(out, "error: {}", failure.chain()).ok();
    if let Some(hint) = failure.advice() {
        writeln!(out, "hint: {hint}").ok();
    }
}

/// A duration as a person says it: `0.4 s`, `2 min 05 s`.
pub(crate) fn seconds(took: Duration) -> String {
    if took < Duration::from_secs(60) {
        return format!("{:.1} s", took.as_secs_f64());
    }
    format!("{} min {:02} s", took.as_secs() / 60, took.as_secs() % 60)
}

/// Replaces the unfinished line of [`start`] on a terminal.
fn finish(text: impl Display) {
    if io::stdout().is_terminal() {
        line(format_args!("\r\x1b[K{text}"));
    } else {
        line(text);
    }
}

#[derive(Clone, Copy)]
enum Paint {
    Bold,
    Dim,
    Green,
    Red,
}

fn paint(paint: Paint, text: impl Display) -> String {
    if !io::stdout().is_terminal() || variable("NO_COLOR").is_some_and(|set| !set.is_empty()) {
        return text.to_string();
    }
    let code = match paint {
        Paint::Bold => "1",
        Paint::Dim => "2",
        Paint::Green => "32",
        Paint::Red => "31",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_speech() {
        assert_eq!(seconds(Duration::from_millis(440)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }
}
