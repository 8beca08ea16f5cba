//! `cargo xtask bench`: builds the server and the bench as they are released, and lets the bench measure.
//!
//! The bench is a crate of its own (`tests/bench`), so that these commands stay quick to compile.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::process::{capture, command, run as run_command};
use crate::{binaries, say, workspace};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only workloads with this in their names, such as `get`, `pages` or `ocsp`; a wrong one lists them
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// At most 50 000 certificates, and shorter rounds: to see whether a change helps
    #[arg(long)]
    quick: bool,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write docs/reference/performance.md
    #[arg(long, conflicts_with_all = ["only", "quick", "profile"])]
    write: bool,
    /// Profile of cargo; figures of `dev` mean nothing, but it builds sooner while the bench itself is changed
    #[arg(long, default_value = "release")]
    profile: String,
}

/// Builds, measures, prints the table. A missed goal is no failure; a wrong answer is.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    say::title("Building (many minutes the first time)");
    let programs = binaries::build_some(&["--profile", &args.profile, "--package", "certctl-server", "--package", "certctl-bench"])?;
    say::title("Measuring (about a quarter of an hour without --quick)");
    let mut bench = command(programs.bench()?);
    bench.args(["run", "--server"]).arg(programs.server()?);
    bench.args(["--revision", &revision()?, "--typed", &args.typed()]);
    if let Some(part) = &args.only {
        bench.args(["--only", part]);
    }
    if args.quick {
        bench.arg("--quick");
    }
    if let Some(file) = &args.json {
        bench.arg("--json").arg(file);
    }
    if args.write {
        bench.arg("--write").arg(workspace::root()?.join(PAGE));
    }
    run_command(&mut bench)
}

impl Args {
    /// What was typed, but for where the figures go.
    fn typed(&self) -> String {
        let mut typed = "cargo xtask bench".to_owned();
        if let Some(part) = &self.only {
            typed.push_str(&format!(" --only '{part}'"));
        }
        for (given, word) in [(self.quick, " --quick"), (self.write, " --write")] {
            typed.push_str(if given { word } else { "" });
        }
        if self.profile != "release" {
            typed.push_str(&format!(" --profile {}", self.profile));
        }
        typed
    }
}

/// The commit, and whether something else than it was measured.
fn revision() -> Result<String, Failure> {
    let commit = capture(command("git").args(["rev-parse", "--short=12", "HEAD"]))?;
    let changes = capture(command("git").args(["status", "--porcelain", "--untracked-files=no"]))?;
    Ok(format!("{}{}", commit.trim(), if changes.trim().is_empty() { "" } else { ", with changes" }))
}

const PAGE: &str = "docs/reference/performance.md";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        Cli::try_parse_from([&["bench"], words].concat()).map(|cli| cli.args)
    }

    #[test]
    fn the_report_says_what_was_typed() {
        assert_eq!(parse(&[]).unwrap().typed(), "cargo xtask bench");
        let args = parse(&["--quick", "--only", "pages at 50", "--profile", "dev", "--json", "a"]).unwrap();
        assert_eq!(args.typed(), "cargo xtask bench --only 'pages at 50' --quick --profile dev");
    }

    #[test]
    fn the_page_is_written_by_a_whole_run_only() {
        assert!(parse(&["--write"]).is_ok());
        assert!(parse(&["--write", "--quick"]).is_err() && parse(&["--write", "--only", "get"]).is_err());
        assert!(parse(&["--write", "--profile", "dev"]).is_err());
    }
}
