//! Where progress is shown: on a terminal with a line that is drawn again, elsewhere as plain lines, in silence not at all.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::terminal::plain;
use crate::output::{Output, say};

/// Where progress is shown.
pub(super) enum Screen {
    /// A terminal.
    Live(ProgressBar),
    /// A file or a pipe.
    Lines,
    /// Nowhere.
    Silence,
}

impl Screen {
    /// As the output wants it.
    pub(super) fn new(out: &Output) -> Self {
        if out.quiet {
            return Self::Silence;
        }
        if !out.live {
            return Self::Lines;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // The default look serves where the template would not parse.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self::Live(bar)
    }

    /// A line that stays.
    pub(super) fn line(&self, text: &str) {
        match self {
            Self::Live(bar) => bar.println(text),
            Self::Lines => say(text),
            Self::Silence => {}
        }
    }

    /// What goes on now; gone with the next one. Where lines stay, it is not said at all.
    pub(super) fn standing(&self, text: &str) {
        if let Self::Live(bar) = self {
            bar.set_message(plain(text));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Self::Live(bar) = self {
            bar.finish_and_clear();
        }
    }
}
