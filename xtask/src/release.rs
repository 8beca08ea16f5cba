//! `cargo xtask release`: programs, Debian packages, archives, bills of materials, check sums and their signature, in one folder.
//!
//! Packing the same programs twice gives the same bytes: every time is `SOURCE_DATE_EPOCH`, or that of the commit. Only the signature differs,
//! as ECDSA signs with a fresh number each time.

mod archives;
mod documents;
mod images;
mod packages;
mod programs;
mod sbom;
mod signature;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::failure::Failure;
use crate::process::{capture, command, variable};
use crate::{binaries, files, say, workspace};

use self::programs::Programs;

/// Options of `cargo xtask release`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder for everything; made anew
    #[arg(long, value_name = "DIR", default_value = "target/release-files")]
    out: PathBuf,
    /// Pack the programs of this folder instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// PEM file with the ECDSA key (P-256) that signs; without it nothing is signed, and there is no script that installs the agent
    #[arg(long, value_name = "FILE")]
    sign_with: Option<PathBuf>,
    /// Where this release will be found, as `https://HOST/FOLDER`; goes into the script that installs the agent
    #[arg(long, value_name = "URL", requires = "sign_with")]
    published_at: Option<String>,
    /// Registry and folder before the names of the images, such as registry.example.test/tools
    #[arg(long, value_name = "PREFIX", default_value = "")]
    registry: String,
    /// Compress as little as possible, for tests
    #[arg(long)]
    quick: bool,
}

/// Everything that the parts of a release are made from.
struct Release {
    root: PathBuf,
    out: PathBuf,
    /// What is packed and then thrown away.
    staging: PathBuf,
    version: String,
    /// Seconds since 1970.
    date: String,
    programs: Programs,
    /// For gzip and xz, from 1 to 9; 1 leaves xz out, which is slow even then.
    level: u8,
}

/// Makes a release.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let started = Instant::now();
    let root = workspace::root()?;
    let out = root.join(&args.out);
    empty(&out)?;
    let staging = out.join(".staging");
    let from = match &args.programs {
        Some(folder) => folder.clone(),
        None => built()?,
    };
    let programs = Programs::stripped(&from, &staging.join("programs"))?;
    say::line(format_args!("  ✓ programs for {}, which need glibc {} or later", programs.architecture.debian, programs.glibc));
    let release = Release {
        version: version()?,
        date: date(&root)?,
        root,
        out: out.clone(),
        staging: staging.clone(),
        programs,
        level: if args.quick { 1 } else { 9 },
    };
    documents::write(&release)?;
    packages::write(&release)?;
    archives::write(&release)?;
    sbom::write(&release)?;
    images::write(&release, &args.registry)?;
    remove(&staging)?;
    if let Some(key) = &args.sign_with {
        signature::script(&release, key, args.published_at.as_deref())?;
    }
    signature::sums(&release)?;
    match &args.sign_with {
        Some(key) => signature::sign(&release, key)?,
        None => say::detail("not signed: give a key with --sign-with"),
    }
    for name in names_in(&out)? {
        say::detail(name);
    }
    say::held(format_args!("release {} in {}", release.version, out.display()), started.elapsed());
    Ok(())
}

/// Every program, built as it is released: the whole workspace, so that features are those of every other build.
fn built() -> Result<PathBuf, Failure> {
    let built = binaries::build_some(&["--workspace", "--release", "--locked"])?;
    let folder = built.server()?.parent().map(Path::to_path_buf);
    folder.ok_or_else(|| Failure::new("cargo built into no folder"))
}

/// The one number of programs, chart and images.
pub(crate) fn version() -> Result<String, Failure> {
    let members = workspace::members()?;
    let server = members.packages.iter().find(|package| package.name.as_str() == "certctl-server");
    server.map(|package| package.version.to_string()).ok_or_else(|| Failure::new("cargo knows no certctl-server"))
}

/// `SOURCE_DATE_EPOCH`, as <https://reproducible-builds.org/specs/source-date-epoch/> has it; without it the date of the commit.
fn date(root: &Path) -> Result<String, Failure> {
    let given = variable("SOURCE_DATE_EPOCH").map(|value| value.to_string_lossy().into_owned());
    let date = match given {
        Some(given) => given,
        None => capture(command("git").current_dir(root).args(["log", "-1", "--format=%ct"]))?.trim().to_owned(),
    };
    if date.is_empty() || !date.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Failure::new(format!("`{date}` is no date")).hint("SOURCE_DATE_EPOCH counts seconds since 1970"));
    }
    Ok(date)
}

/// Makes an empty folder of ours. One that has other things in it is left alone.
fn empty(folder: &Path) -> Result<(), Failure> {
    if folder.is_dir() && !names_in(folder)?.is_empty() && !folder.join("SHA256SUMS").is_file() && !folder.join(".staging").is_dir() {
        let failure = Failure::new(format!("{} has files of others in it", folder.display()));
        return Err(failure.hint("name an empty folder, or one that an earlier release was made in"));
    }
    remove(folder)?;
    files::make_dir(folder)
}

fn remove(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Err(error) if folder.exists() => Err(Failure::new(format!("cannot remove {}", folder.display())).because(error)),
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<(), Failure> {
    fs::remove_file(path).map_err(|error| Failure::new(format!("cannot remove {}", path.display())).because(error))
}

/// What is in a folder, sorted.
fn names_in(folder: &Path) -> Result<Vec<String>, Failure> {
    let failed = |error| Failure::new(format!("cannot read {}", folder.display())).because(error);
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut names: Vec<String> = entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}
