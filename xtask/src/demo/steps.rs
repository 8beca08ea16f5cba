//! Steps: each is named before it runs and judged after it, so that a reader sees where the story is and where it broke.

use std::fmt::Display;
use std::time::Instant;

use crate::failure::Failure;
use crate::say;

/// The steps so far.
pub(crate) struct Steps {
    began: Instant,
    held: usize,
}

/// What a step wants to say beside that it held.
#[derive(Default)]
pub(crate) struct Notes {
    lines: Vec<String>,
}

impl Notes {
    /// A detail for the reader, shown under the step.
    pub(crate) fn add(&mut self, line: impl Display) {
        self.lines.push(line.to_string());
    }
}

impl Steps {
    /// None yet.
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), held: 0 }
    }

    /// Runs one step and shows how it went.
    pub(crate) fn step<T>(&mut self, name: &str, act: impl FnOnce(&mut Notes) -> Result<T, Failure>) -> Result<T, Failure> {
        let began = Instant::now();
        say::start(name);
        let mut notes = Notes::default();
        let outcome = act(&mut notes);
        match &outcome {
            Ok(_) => {
                self.held += 1;
                say::held(name, began.elapsed());
            }
            Err(_) => say::broke(name),
        }
        notes.lines.iter().for_each(say::detail);
        outcome.map_err(|failure| {
            let hint = failure.advice().map(str::to_owned);
            let outer = Failure::new(format!("the step \"{name}\" did not hold")).because(failure);
            if let Some(hint) = hint { outer.hint(hint) } else { outer }
        })
    }

    /// Says that all held.
    pub(crate) fn sum_up(&self) {
        say::line(format_args!("\n{} steps, all held, in {}.", self.held, say::seconds(self.began.elapsed())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_step_is_named_and_keeps_its_hint() {
        let mut steps = Steps::begin();
        assert_eq!(steps.step("first", |_| Ok(1)).unwrap(), 1);
        let failure = steps.step::<()>("second", |_| Err(Failure::new("no answer").hint("see the log"))).unwrap_err();
        assert_eq!(failure.chain(), "the step \"second\" did not hold: no answer");
        assert_eq!(failure.advice(), Some("see the log"));
        assert_eq!(steps.held, 1);
    }
}
