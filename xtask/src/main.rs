//! The project's own commands, run as `cargo xtask <command>`; each one does the same on every machine and in CI.

mod bench;
mod binaries;
mod children;
mod codegen;
mod demo;
mod docs;
mod failure;
mod files;
mod helm;
mod interrupt;
mod process;
mod release;
mod say;
mod setup;
mod test;
mod tidy;
mod upgrade;
mod walls;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the tests and the demo need; says what it does, and does nothing twice
    Setup(setup::Args),
    /// Show the whole life of one certificate with the real binaries and a real nginx
    Demo(demo::Args),
    /// Run every test against real software and say how many ran
    Test(test::Args),
    /// Check the rules of the house: walls, links, generated files, banned words and crates
    Tidy(tidy::Args),
    /// Render the Helm chart in every situation and judge it, without a cluster
    Helm(helm::Args),
    /// Hold the pages against the programs: every block is run, rendered or parsed by somebody, and every name exists
    Docs(docs::Args),
    /// Measure the server under load, each workload beside a limit of the same run
    Bench(bench::Args),
    /// Upgrade two replicas from an older revision to this one under traffic, and take them back
    Upgrade(upgrade::Args),
    /// Make what a release publishes: packages, archives, bills of materials, check sums and their signature
    Release(release::Args),
    /// Write the generated reference pages under docs/reference
    Codegen(codegen::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Setup(args) => setup::run(&args),
        Command::Demo(args) => demo::run(args),
        Command::Test(args) => test::run(&args),
        Command::Tidy(args) => tidy::run(&args),
        Command::Helm(args) => helm::run(&args),
        Command::Docs(args) => docs::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Upgrade(args) => upgrade::run(&args),
        Command::Release(args) => release::run(&args),
        Command::Codegen(args) => codegen::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say::failure(&failure);
            ExitCode::FAILURE
        }
    }
}
