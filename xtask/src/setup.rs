//! `cargo xtask setup`: brings what the tests and the demo need onto a Debian machine, says what it does, and does nothing twice.

mod apt;
mod elsewhere;
mod golang;
pub(crate) mod kubernetes;
mod needs;

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::failure::Failure;
use crate::process::find_program;
use crate::say;

use self::elsewhere::Packaged;
use self::golang::Module;
use self::needs::Need;

pub(crate) use self::needs::nginx;

/// Options of `cargo xtask setup`.
#[derive(Default, clap::Args)]
pub(crate) struct Args {
    /// Only report; install nothing, and fail where something is missing
    #[arg(long)]
    check: bool,
    /// Also what `cargo xtask helm --cluster` needs; building it takes a quarter of an hour
    #[arg(long)]
    cluster: bool,
}

/// Installs what is missing, or says how to.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    say::title("What the tests and the demo need");
    let missing: Vec<&Need> = needs::ALL.iter().filter(|need| report(need).is_none()).collect();
    let tools = tools_dir()?;
    let unbuilt: Vec<&Module> = golang::ALL.iter().filter(|built| report_built(built, &tools).is_none()).collect();
    let absent: Vec<&Packaged> = elsewhere::ALL.iter().filter(|packaged| report_packaged(packaged, &tools).is_none()).collect();
    let cluster = args.cluster && !report_cluster(&tools);
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    if args.cluster && find_program("etcd").is_none() {
        packages.push("etcd-server");
    }
    if packages.is_empty() && unbuilt.is_empty() && absent.is_empty() && !cluster {
        return Ok(());
    }
    if (cluster || !unbuilt.is_empty()) && golang::go().is_none() {
        packages.push("golang-go");
    }
    if args.check {
        return Err(how_to(&packages));
    }
    if !packages.is_empty() {
        install(&packages)?;
    }
    for need in missing {
        need.find().ok_or_else(|| Failure::new(format!("{} is still missing after the installation", need.name)).hint(need.elsewhere))?;
    }
    for built in unbuilt {
        let started = Instant::now();
        say::line(format_args!("  … {}: building it with Go into {}", built.name, tools.display()));
        let version = built.install(&tools)?;
        say::held(format_args!("{} {version}", built.name), started.elapsed());
    }
    for packaged in absent {
        let started = Instant::now();
        say::line(format_args!("  … {}: installing it into {}", packaged.name, tools.display()));
        packaged.install(&tools)?;
        say::held(format_args!("{}", packaged.name), started.elapsed());
    }
    if cluster {
        let started = Instant::now();
        say::line(format_args!("  … Kubernetes: building it with Go into {}; this takes a while", tools.display()));
        kubernetes::install(&tools)?;
        say::held(format_args!("Kubernetes {}", kubernetes::RELEASE), started.elapsed());
    }
    Ok(())
}

fn report_cluster(tools: &Path) -> bool {
    let found = kubernetes::installed(tools);
    if found {
        say::line(format_args!("  ✓ Kubernetes: {} in {}", kubernetes::RELEASE, tools.display()));
    } else {
        say::line("  ✗ Kubernetes: missing, needed to install the chart for real");
    }
    found
}

fn report_packaged(packaged: &Packaged, tools: &Path) -> Option<String> {
    let found = packaged.installed(tools);
    match &found {
        Some(place) => say::line(format_args!("  ✓ {}: {place}", packaged.name)),
        None => say::line(format_args!("  ✗ {}: missing, needed {}", packaged.name, packaged.why)),
    }
    found
}

fn report_built(built: &Module, tools: &Path) -> Option<String> {
    let found = built.installed(tools);
    match &found {
        Some(version) => say::line(format_args!("  ✓ {}: {version} in {}", built.name, tools.display())),
        None => say::line(format_args!("  ✗ {}: missing, needed {}", built.name, built.why)),
    }
    found
}

/// Installs nginx alone where that is possible; for the demo, which has another way where it is not.
pub(crate) fn install_nginx() -> Result<PathBuf, Failure> {
    if let Some(found) = nginx() {
        return Ok(found);
    }
    apt::install(&["nginx-light"])?;
    nginx().ok_or_else(|| Failure::new("nginx is still missing after the installation"))
}

/// Where tools live that no Debian package brings: in the user's cache, outside the repository, shared by all clones.
pub(crate) fn tools_dir() -> Result<PathBuf, Failure> {
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    home.map(|home| home.join(".cache/certctl-tools/bin")).ok_or_else(|| Failure::new("this user has no home folder").hint("set HOME"))
}

fn install(packages: &[&str]) -> Result<(), Failure> {
    let started = Instant::now();
    say::line(format_args!("  … apt-get install {}", packages.join(" ")));
    apt::install(packages).map_err(|error| how_to(packages).because(error))?;
    say::held(format_args!("installed {}", packages.join(" ")), started.elapsed());
    Ok(())
}

fn report(need: &Need) -> Option<PathBuf> {
    let found = need.find();
    match &found {
        Some(path) => say::line(format_args!("  ✓ {}: {}", need.name, path.display())),
        None => say::line(format_args!("  ✗ {}: missing, needed {}", need.name, need.why)),
    }
    found
}

/// What a person who may install packages has to type; nothing but what is built or fetched is missing when there is no package.
fn how_to(packages: &[&str]) -> Failure {
    if packages.is_empty() {
        return Failure::new("not everything that needs no package is here").hint("the same command without --check builds or fetches it");
    }
    let failure = Failure::new(format!("not everything is here; missing packages: {}", packages.join(", ")));
    failure.hint(format!("as root: apt-get update && apt-get install -y {}; then `cargo xtask setup` again", packages.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_is_a_command_that_can_be_pasted() {
        let failure = how_to(&["jq", "golang-go"]);
        assert_eq!(failure.chain(), "not everything is here; missing packages: jq, golang-go");
        assert!(failure.advice().unwrap().starts_with("as root: apt-get update && apt-get install -y jq golang-go;"));
        assert_eq!(how_to(&[]).chain(), "not everything that needs no package is here");
    }
}
