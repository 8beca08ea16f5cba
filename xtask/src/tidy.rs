//! `cargo xtask tidy`: the rules of the house, each a function from what is there to a list of offences.
//!
//! A rule that only a reviewer knows is forgotten; one that runs is not. To add a rule: a file below `tidy/` with a planted offence in its
//! tests, and one line in [`run`].

mod crates;
mod expand;
mod features;
mod generated;
mod links;
mod mainpath;
mod migrations;
mod paths;
mod shape;
mod snapshots;
mod tree;
mod walls;
mod words;
mod workflows;

use std::fmt;
use std::time::Instant;

use crate::failure::Failure;
use crate::{binaries, docs, say, workspace};

use self::tree::Tree;

/// Options of `cargo xtask tidy`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the rules that have to build the programs: generated files are fresh, pages say what the programs do
    #[arg(long)]
    without_generated: bool,
}

/// Runs every rule and fails where one is broken.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let root = workspace::root()?;
    let tree = Tree::read(&root)?;
    say::title("The rules of the house");
    let mut report = Report::default();
    report.rule("crates call only the rooms they may", || walls::check(&walls::Graph::read()?))?;
    report.rule("no banned crate, no unknown license", || crates::check(&tree, &crates::Tree::read()?))?;
    report.rule("programs and tests share one build", || Ok(features::check(&features::Features::read()?)))?;
    report.rule("no banned word", || Ok(words::check(&tree)))?;
    report.rule("no path of this machine", || Ok(paths::check(&tree, &paths::of_this_machine(&root))))?;
    report.rule("files are short, say what they are, and obey the lints", || Ok(shape::check(&tree)))?;
    report.rule("migrations stand in pairs", || Ok(migrations::check(&tree)))?;
    report.rule("migrations let older programs go on", || Ok(expand::check(&tree)))?;
    report.rule("links in documents resolve", || Ok(links::check(&tree)))?;
    report.rule("the main path names real files", || Ok(mainpath::check(&tree)))?;
    report.rule("every snapshot belongs to a test", || Ok(snapshots::check(&tree)))?;
    report.rule("workflows run what every machine runs", || Ok(workflows::check(&tree)))?;
    if !args.without_generated {
        report.rule("generated files are fresh", || Ok(generated::check(&tree, &crate::codegen::pages()?)))?;
        let binaries = binaries::build()?;
        for rule in &docs::RULES {
            report.rule(rule.name, || Ok(rule.check(&root, &binaries)?.into_iter().map(Offence::from).collect()))?;
        }
    }
    report.verdict()
}

/// One place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
struct Offence {
    place: String,
    what: String,
}

impl Offence {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }

    fn at(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self::new(format!("{path}:{line}"), what)
    }
}

impl From<docs::Finding> for Offence {
    fn from(finding: docs::Finding) -> Self {
        Self::at(&finding.page, finding.line, finding.what)
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

#[derive(Default)]
struct Report {
    offences: usize,
}

impl Report {
    fn rule(&mut self, name: &str, check: impl FnOnce() -> Result<Vec<Offence>, Failure>) -> Result<(), Failure> {
        let started = Instant::now();
        let offences = check()?;
        if offences.is_empty() {
            say::held(name, started.elapsed());
        } else {
            say::broke(name);
        }
        for offence in &offences {
            say::line(format_args!("      {offence}"));
        }
        self.offences += offences.len();
        Ok(())
    }

    fn verdict(self) -> Result<(), Failure> {
        match self.offences {
            0 => Ok(()),
            1 => Err(Failure::new("1 offence against the rules of the house")),
            many => Err(Failure::new(format!("{many} offences against the rules of the house"))),
        }
    }
}
