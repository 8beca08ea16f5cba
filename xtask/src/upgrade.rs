//! `cargo xtask upgrade`: the programs of an older revision are built, and two replicas of them are upgraded to this one under traffic and
//! taken back. Not part of the tests, since it builds everything a second time.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::process::{capture, command, path_with, run as run_command};
use crate::{say, setup, workspace};

/// Options of `cargo xtask upgrade`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to upgrade from: a tag, a branch or a commit whose schema is older than this one's
    #[arg(long, value_name = "REVISION", required_unless_present = "programs")]
    from: Option<String>,
    /// Folder with programs of it that are built already, such as those of a release
    #[arg(long, value_name = "FOLDER", conflicts_with = "from")]
    programs: Option<PathBuf>,
}

/// Builds both, and has the end-to-end test do the rest.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let root = workspace::root()?;
    let older = match (&args.programs, &args.from) {
        (Some(folder), _) => {
            folder.canonicalize().map_err(|error| Failure::new(format!("no folder {}", folder.display())).because(error))?
        }
        (None, Some(revision)) => build(&root, revision)?,
        (None, None) => return Err(Failure::new("say what to upgrade from: --from or --programs")),
    };
    say::title("Building this revision");
    run_command(command("cargo").current_dir(&root).args(["build", "--workspace", "--bins"]))?;
    say::title("Upgrading two replicas, and taking them back");
    let mut test = command("cargo");
    // Of the whole workspace, since a single package would have other features, and everything below it would be compiled again.
    test.current_dir(&root).args([
        "test",
        "--workspace",
        "--features",
        "certctl-e2e/upgrade",
        "--test",
        "e2e",
        "--",
        "upgrade::",
        "--nocapture",
    ]);
    run_command(test.env("CERTCTL_OLDER_PROGRAMS", older).env("PATH", path_with(setup::tools_dir()?)))
}

/// Builds the programs of a revision, in a work tree and a target folder of its own; gives where they are.
fn build(root: &std::path::Path, revision: &str) -> Result<PathBuf, Failure> {
    let mut git = command("git");
    let commit = capture(git.current_dir(root).args(["rev-parse", "--verify", "--short=12", &format!("{revision}^{{commit}}")]))
        .map_err(|error| error.hint("a tag, a branch or a commit of this clone"))?;
    let commit = commit.trim();
    let place = root.join("target").join("upgrade").join(commit);
    say::title(format_args!("Building {commit}, which is {revision}"));
    if !place.join("tree").exists() {
        run_command(command("git").current_dir(root).args(["worktree", "add", "--detach"]).arg(place.join("tree")).arg(commit))?;
    }
    let mut cargo = command("cargo");
    cargo.current_dir(place.join("tree")).env("CARGO_TARGET_DIR", place.join("target"));
    run_command(cargo.args(["build", "--workspace", "--bins"]))?;
    Ok(place.join("target").join("debug"))
}
