//! `cargo xtask test`: everything that can be tested on this machine, against real software, with a count at the end.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

use crate::failure::Failure;
use crate::process::{command, path_with, run as run_command, shown};
use crate::{say, setup};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Passed to `cargo test` as they are, for example `-p certctl-store -- claims`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo_args: Vec<String>,
}

/// Installs what is missing, builds, tests, counts. An ignored test is a failure: what cannot run must say why and fail.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let started = Instant::now();
    setup::run(&setup::Args::default())?;
    let path = path_with(setup::tools_dir()?);

    let chosen = args.cargo_args.iter().any(|word| word == "-p" || word == "--package" || word.starts_with("--package="));
    if !chosen {
        // The end-to-end tests run the programs beside them, so these are built first; with the test targets, so that nothing is compiled twice.
        say::title("Building");
        run_command(command("cargo").args(["build", "--workspace", "--all-targets"]))?;
    }

    say::title("Testing");
    let mut cargo = command("cargo");
    cargo.args(["test", "--no-fail-fast"]).env("PATH", path).stdout(Stdio::piped());
    if !chosen {
        cargo.arg("--workspace");
    }
    cargo.args(&args.cargo_args);
    let mut child = cargo.spawn().map_err(|error| Failure::new("cannot start cargo").because(error))?;
    let mut count = Count::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.map_err(|error| Failure::new("cannot read what cargo test prints").because(error))?;
            count.read(&line);
            say::line(line);
        }
    }
    let status = child.wait().map_err(|error| Failure::new("cannot wait for cargo").because(error))?;

    say::line(format_args!("\n{} test programs in {}", count.programs, say::seconds(started.elapsed())));
    say::line(format_args!("tests: {} passed, {} failed, {} skipped", count.passed, count.failed, count.ignored));
    count
        .verdict()
        .and_then(|()| if status.success() { Ok(()) } else { Err(Failure::new(format!("`{}` ended with {status}", shown(&cargo)))) })
}

/// What all `test result:` lines say together.
#[derive(Default)]
struct Count {
    programs: u32,
    passed: u32,
    failed: u32,
    ignored: u32,
}

impl Count {
    /// Takes in one line of output; only `test result: ok. 3 passed; 0 failed; 1 ignored; ...` counts.
    fn read(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        self.programs += 1;
        let numbers = result.split(['.', ';']).filter_map(|part| part.trim().split_once(' '));
        for (number, word) in numbers {
            let Ok(number) = number.parse::<u32>() else { continue };
            match word {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    fn verdict(&self) -> Result<(), Failure> {
        if self.failed > 0 {
            return Err(Failure::new(format!("{} tests failed", self.failed)));
        }
        if self.ignored > 0 {
            let failure = Failure::new(format!("{} tests are ignored", self.ignored));
            return Err(
                failure.hint("a test that needs a missing program fails and names the command that installs it; it is never ignored")
            );
        }
        if self.passed == 0 {
            return Err(Failure::new("no test ran"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(lines: &[&str]) -> Count {
        let mut count = Count::default();
        lines.iter().for_each(|line| count.read(line));
        count
    }

    #[test]
    fn sums_over_all_programs() {
        let count = count(&[
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 0.12s",
            "test a ... ok",
            "test result: ok. 14 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ]);
        assert_eq!((count.programs, count.passed, count.failed, count.ignored), (2, 17, 0, 0));
        assert!(count.verdict().is_ok());
    }

    #[test]
    fn failed_ignored_and_no_tests_are_no_success() {
        let failed = count(&["test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s"]);
        assert_eq!(failed.verdict().unwrap_err().chain(), "2 tests failed");
        let ignored = count(&["test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s"]);
        assert_eq!(ignored.verdict().unwrap_err().chain(), "1 tests are ignored");
        assert_eq!(count(&[]).verdict().unwrap_err().chain(), "no test ran");
    }
}
