//! `cargo xtask helm`: renders the chart in every situation that it is meant for and judges what comes out, without a cluster.
//!
//! A check is a function from what was rendered to a list of findings. To add one: a function in a file below `helm/`, a line in
//! [`CHECKS`], and in `helm/mutations.rs` a way to break the chart that it must find.

mod acceptance;
mod alerts;
mod cases;
mod chart;
mod cluster;
mod dashboard;
mod guide;
mod mutations;
mod objects;
mod pages;
mod references;
mod refusals;
mod schemas;
mod security;
mod settings;
mod table;
mod used;
mod values;

use std::path::Path;
use std::time::Instant;

use crate::codegen::Page;
use crate::failure::Failure;
use crate::{files, say, workspace};

use self::chart::{Rendered, Tools, World};

/// Options of `cargo xtask helm`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Break a copy of the chart in known ways, one after the other, and see that each is found
    #[arg(long)]
    mutations: bool,
    /// Write what is kept beside the chart: rendered examples, rules, the page of all values
    #[arg(long, conflicts_with = "mutations")]
    write: bool,
    /// Install, upgrade, roll back and remove the chart in a real cluster without containers; `cargo xtask setup --cluster` brings it
    #[arg(long, conflicts_with_all = ["mutations", "write"])]
    cluster: bool,
}

/// Judges the chart, or the judges.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let root = workspace::root()?;
    let tools = Tools::find()?;
    if args.write {
        return write(&root, &tools);
    }
    if args.mutations {
        return mutations::run(&root, &tools);
    }
    if args.cluster {
        return cluster::run(&root, &tools);
    }
    say::title("The six combinations");
    let world = World::look(&root, &tools)?;
    let six = world.rendered.iter().filter(|rendered| rendered.case.is_of_the_six());
    let held = six.map(judge_one).filter(|held| *held).count();
    say::line(format_args!("{held}/{} matrix combinations pass", cases::SIX.len()));
    say::title("The chart");
    let mut findings = if held == cases::SIX.len() { 0 } else { 1 };
    for check in &CHECKS {
        findings += judge(check, &world)?;
    }
    match findings {
        0 => Ok(()),
        1 => Err(Failure::new("1 finding about the chart")),
        many => Err(Failure::new(format!("{many} findings about the chart"))),
    }
}

/// The pages that are made from the chart, for `cargo xtask codegen`.
pub(crate) fn pages(root: &Path) -> Result<Vec<Page>, Failure> {
    let tools = Tools::find()?;
    pages::all(root, &tools)
}

fn write(root: &Path, tools: &Tools) -> Result<(), Failure> {
    for page in pages::all(root, tools)? {
        files::write(&root.join(&page.path), &page.text)?;
        say::line(format_args!("wrote {}", page.path));
    }
    Ok(())
}

/// The pages whose commands are rendered or looked up among what was rendered.
pub(crate) const GUIDES: [&str; 3] = guide::PAGES;

/// One thing that is asked of the chart.
struct Check {
    name: &'static str,
    run: fn(&World<'_>) -> Result<Vec<String>, Failure>,
}

const CHECKS: [Check; 17] = [
    Check { name: "every case renders, every example lints", run: chart::check },
    Check { name: "each renders the objects that it should, and no other", run: table::check },
    Check { name: "values that do not go together are refused with a sentence", run: refusals::check },
    Check { name: "zero survives", run: refusals::zero_survives },
    Check { name: "objects fit the schemas of Kubernetes", run: schemas::check },
    Check { name: "pods keep to Pod Security `restricted`", run: security::check },
    Check { name: "secrets stand in Secrets alone", run: security::secrets },
    Check { name: "what is referred to is there, and before it is needed", run: references::check },
    Check { name: "what selects something finds it", run: references::selectors },
    Check { name: "settings are those of the programs, files are mounted", run: settings::check },
    Check { name: "values and schema agree", run: values::check },
    Check { name: "every value has an effect", run: used::check },
    Check { name: "alerts fire, stay silent and resolve", run: alerts::check },
    Check { name: "the dashboard speaks of metrics, labels and pages that there are", run: dashboard::check },
    Check { name: "the guide's commands render and name what there is", run: guide::check },
    Check { name: "the table of acceptance names what there is", run: acceptance::check },
    Check { name: "what is kept beside the chart is fresh", run: pages::check },
];

fn judge(check: &Check, world: &World<'_>) -> Result<usize, Failure> {
    let started = Instant::now();
    let findings = (check.run)(world)?;
    if findings.is_empty() {
        say::held(check.name, started.elapsed());
    } else {
        say::broke(check.name);
    }
    for finding in &findings {
        say::line(format_args!("      {finding}"));
    }
    Ok(findings.len())
}

/// The six are judged one by one, and say so: it is the matrix that the guard script is known for.
fn judge_one(rendered: &Rendered) -> bool {
    let complaint = match &rendered.outcome {
        Err(why) => Some(why.clone()),
        Ok(_) => table::complaint(rendered),
    };
    match complaint {
        None => say::line(format_args!("  PASS {}: {}", rendered.case.name, table::listed(rendered))),
        Some(ref why) => say::line(format_args!("  FAIL {}: {why}", rendered.case.name)),
    }
    complaint.is_none()
}
