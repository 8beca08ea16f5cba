//! `cargo xtask demo`: the whole life of one certificate, told by the real programs on this machine.
//!
//! Everything it makes is in one folder and every process it starts is its own; when it ends, only the folder is left.

mod database;
mod folder;
mod steps;
mod story;
mod tls;
mod web;

use std::path::PathBuf;
use std::time::Duration;

use crate::children::Children;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::{binaries, say, setup, workspace};

use self::database::ScratchDatabase;
use self::folder::Folder;
use self::steps::Steps;
use self::story::Stage;
use self::web::Web;

/// Options of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder for everything that the demo makes [default: demo below cargo's target folder]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// End after the story; the exit status is 0 only if every step held
    #[arg(long)]
    once: bool,
    /// A PostgreSQL server to use instead of SQLite; the demo makes a database of its own there and drops it at the end
    #[arg(long, value_name = "postgres://...")]
    database: Option<String>,
    /// Do not use nginx; deploy plain files for a small TLS listener
    #[arg(long)]
    without_nginx: bool,
}

/// Plays the story, then stays up until Ctrl-C.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let interrupt = Interrupt::listen()?;
    say::title("Building (minutes the first time, seconds after that)");
    let binaries = binaries::build()?;
    let web = if args.without_nginx { Web::Listener } else { nginx_or_listener() };

    let folder = match args.dir {
        Some(dir) => Folder::claim(&dir)?,
        None => Folder::claim(&workspace::target_dir()?.join("demo"))?,
    };
    let database = args.database.as_deref().map(ScratchDatabase::create).transpose()?;
    let mut children = Children::new(folder.logs()?);
    let mut steps = Steps::begin();

    let played = {
        let mut stage = Stage {
            binaries: &binaries,
            folder: &folder,
            database: database.as_ref(),
            web,
            interrupt: &interrupt,
            children: &mut children,
            steps: &mut steps,
        };
        story::play(&mut stage)
    };
    let played = match played {
        Ok(ending) => {
            steps.sum_up();
            if args.once { Ok(()) } else { stay_up(&ending, &interrupt, &mut children) }
        }
        Err(failure) => {
            children.show_last_words();
            Err(failure)
        }
    };

    say::title("Cleaning up");
    let stopped = steps.step("every process has ended", |_| children.stop());
    let dropped = database.map_or(Ok(()), |database| steps.step("the scratch database is dropped", |_| database.remove()));
    say::line(format_args!("  what it made is in {}", folder.path().display()));
    played.and(stopped).and(dropped)
}

/// nginx where there is one or one can be installed; elsewhere says why not and what is used instead.
fn nginx_or_listener() -> Web {
    match setup::install_nginx() {
        Ok(program) => Web::Nginx { program },
        Err(failure) => {
            say::line(format_args!("\nnginx cannot be used here ({}).", failure.chain()));
            say::line("The demo deploys plain files instead, for a small TLS listener that comes with the agent.");
            Web::Listener
        }
    }
}

fn stay_up(ending: &story::Ending, interrupt: &Interrupt, children: &mut Children) -> Result<(), Failure> {
    say::title("It stays up until Ctrl-C. Try next, in another terminal:");
    for line in &ending.try_next {
        say::line(format_args!("  {line}"));
    }
    while !interrupt.raised_within(Duration::from_secs(1)) {
        children.all_alive()?;
    }
    Ok(())
}
