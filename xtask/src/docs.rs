//! `cargo xtask docs`: what the pages tell people to run is run, rendered or parsed by somebody, and what they name exists.
//!
//! A page or a block that nobody claims is a finding. Claims stand in [`claims::CLAIMS`]; the tests that run blocks fail by themselves
//! when they leave one out. A rule here is a function from the pages to a list of findings; `cargo xtask tidy` runs them all.

mod blocks;
mod cited;
mod claims;
mod commands;
mod configurations;
mod names;
mod shell;

use std::path::Path;
use std::time::Instant;

use crate::binaries::{self, Binaries};
use crate::failure::Failure;
use crate::{say, workspace};

use self::blocks::Page;
pub(crate) use self::cited::test_names;

/// Options of `cargo xtask docs`.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// One place in a page where it says what is not so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The page, from the root of the repository.
    pub(crate) page: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// What is wrong there.
    pub(crate) what: String,
}

impl Finding {
    fn new(page: &str, line: usize, what: impl Into<String>) -> Self {
        Self { page: page.to_owned(), line, what: what.into() }
    }
}

/// Judges every page.
pub(crate) fn run(_: &Args) -> Result<(), Failure> {
    let root = workspace::root()?;
    let binaries = binaries::build()?;
    say::title("The pages");
    let mut all = 0;
    for rule in &RULES {
        let started = Instant::now();
        let findings = rule.check(&root, &binaries)?;
        if findings.is_empty() {
            say::held(rule.name, started.elapsed());
        } else {
            say::broke(rule.name);
        }
        for finding in &findings {
            say::line(format_args!("      {}:{}: {}", finding.page, finding.line, finding.what));
        }
        all += findings.len();
    }
    match all {
        0 => Ok(()),
        1 => Err(Failure::new("1 finding about the pages")),
        many => Err(Failure::new(format!("{many} findings about the pages"))),
    }
}

/// One thing that is asked of the pages.
pub(crate) struct Rule {
    /// What holds.
    pub(crate) name: &'static str,
    run: fn(&Pages<'_>) -> Result<Vec<Finding>, Failure>,
}

impl Rule {
    /// Where it does not hold.
    pub(crate) fn check(&self, root: &Path, binaries: &Binaries) -> Result<Vec<Finding>, Failure> {
        (self.run)(&Pages { root, binaries, pages: blocks::read_all(root)? })
    }
}

/// Everything that is asked.
pub(crate) const RULES: [Rule; 5] = [
    Rule { name: "every block of a page is run, rendered or parsed by somebody", run: claims::check },
    Rule { name: "commands in pages are commands of the programs", run: commands::check },
    Rule { name: "settings, units and configurations in pages are taken by the programs", run: configurations::check },
    Rule { name: "paths, settings and metrics that pages name exist", run: names::check },
    Rule { name: "tests that pages cite exist", run: cited::check },
];

/// What the rules look at.
struct Pages<'a> {
    root: &'a Path,
    binaries: &'a Binaries,
    pages: Vec<Page>,
}
