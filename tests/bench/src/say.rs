//! Words for the person who waits: progress on standard error, the table on standard output.

use std::fmt::Display;
use std::io::{self, Write};

/// Something that goes on.
pub(crate) fn progress(text: impl Display) {
    // A reader that has gone is no error of ours.
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// A part of the result.
pub(crate) fn line(text: impl Display) {
    writeln!(io::stdout().lock(), "{text}").ok();
}
