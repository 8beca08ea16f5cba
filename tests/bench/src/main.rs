//! `cargo xtask bench`: the real server under load, each workload beside a limit that is measured in the same run.

mod compare;
mod failure;
mod figure;
mod files;
mod http;
mod limits;
mod load;
mod postgres;
mod process;
mod report;
mod rows;
mod say;
mod seed;
mod server;
mod tls;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};

use crate::compare::Pace;
use crate::failure::{Context as _, Failure, Result};
use crate::figure::Row;
use crate::report::Circumstances;
use crate::rows::{WORKLOADS, Workload};
use crate::world::{FLEET, World};

/// The bench. `cargo xtask bench` builds and calls it.
#[derive(Debug, Parser)]
#[command(name = "certctl-bench")]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Measure
    Run(Options),
    /// Be the server that the product is held against
    #[command(hide = true)]
    Bare(limits::Args),
}

#[derive(Debug, clap::Args)]
struct Options {
    /// The program `certctl-server`
    #[arg(long)]
    server: PathBuf,
    /// Only workloads with this in their names
    #[arg(long)]
    only: Option<String>,
    /// At most 50 000 certificates, and shorter rounds
    #[arg(long)]
    quick: bool,
    /// Write the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the page of the documentation
    #[arg(long)]
    write: Option<PathBuf>,
    /// The revision of the source, for the report
    #[arg(long, default_value = "unknown")]
    revision: String,
    /// What was typed, for the report
    #[arg(long, default_value = "cargo xtask bench")]
    typed: String,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().role {
        // One thread: the load generator leaves the other processors to what it measures.
        Role::Run(options) => block_on(&mut tokio::runtime::Builder::new_current_thread(), until_interrupted(measure(options))),
        Role::Bare(args) => block_on(&mut tokio::runtime::Builder::new_multi_thread(), limits::serve(args)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say::progress(format_args!("error: {}", failure.chain()));
            ExitCode::FAILURE
        }
    }
}

fn block_on(runtime: &mut tokio::runtime::Builder, work: impl Future<Output = Result<()>>) -> Result<()> {
    runtime.enable_all().build().context("cannot start threads")?.block_on(work)
}

/// Ctrl-C ends it as everything else does: what it started stops, and its folder goes.
async fn until_interrupted(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        outcome = work => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
    }
}

async fn measure(options: Options) -> Result<()> {
    let begun = Instant::now();
    let chosen = chosen(&options)?;
    let pace =
        if options.quick { Pace { rounds: 2, each: Duration::from_secs(1) } } else { Pace { rounds: 3, each: Duration::from_secs(2) } };
    let mut world = World::open(options.server.clone(), pace).await?;
    let around = Circumstances::look(&mut world.sql().await?, options.typed, options.revision).await?;
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for workload in chosen {
        if !options.quick {
            world.grow(workload.at).await?;
        }
        let started = Instant::now();
        match (workload.run)(&world).await {
            Ok(some) => {
                tell(workload.name, &some, started);
                rows.extend(some);
            }
            // The others are still worth knowing.
            Err(failure) => {
                say::progress(format_args!("{}: error: {}", workload.name, failure.chain()));
                failed.push(workload.name);
            }
        }
    }
    report::print(&rows, &around);
    if let Some(path) = &options.json {
        report::write_json(path, &rows, &around)?;
    }
    if let Some(path) = &options.write {
        report::write_page(path, &rows, &around)?;
    }
    let met = rows.iter().flat_map(|row| &row.goals).filter(|goal| goal.is_met()).count();
    let goals = rows.iter().map(|row| row.goals.len()).sum::<usize>();
    let took = begun.elapsed().as_secs();
    say::line(format_args!("\n{met} of {goals} goals are met; measured in {} min {:02} s", took / 60, took % 60));
    if failed.is_empty() { Ok(()) } else { Err(Failure::new(format!("could not be measured: {}", failed.join(", ")))) }
}

/// What is to be measured; in a quick run nothing that needs a million certificates to mean something.
fn chosen(options: &Options) -> Result<Vec<&'static Workload>> {
    let fits = |workload: &&Workload| options.only.as_ref().is_none_or(|part| workload.name.contains(part.as_str()));
    let worth = |workload: &&Workload| !(options.quick && workload.at > FLEET && workload.name.contains("1 000 000"));
    let chosen: Vec<&Workload> = WORKLOADS.iter().filter(fits).filter(worth).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = WORKLOADS.iter().map(|workload| workload.name).collect();
        return Err(Failure::new(format!("there is no such workload; there are: {}", names.join(", "))));
    }
    Ok(chosen)
}

fn tell(name: &str, rows: &[Row], started: Instant) {
    say::progress(format_args!("{name} ({:.0} s)", started.elapsed().as_secs_f64()));
    for row in rows {
        let goals: Vec<String> = row.goals.iter().map(figure::Goal::text).collect();
        say::progress(format_args!("    {}: {}", row.workload, goals.join("; ")));
    }
}
