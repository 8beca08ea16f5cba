//! Writes the reference pages from the programs themselves, so that they cannot say anything else than the code does.

use std::path::Path;

use crate::binaries::{self, Binaries};
use crate::failure::Failure;
use crate::process::{capture, command};
use crate::{files, helm, say, workspace};

/// Options of `cargo xtask codegen`.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// One generated page: its path in the repository and its text.
pub(crate) struct Page {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Builds the programs and writes every page.
pub(crate) fn run(_: &Args) -> Result<(), Failure> {
    let root = workspace::root()?;
    for page in pages()? {
        let path = root.join(&page.path);
        let fresh = files::read(&path).is_ok_and(|old| old == page.text);
        if !fresh {
            files::write(&path, &page.text)?;
        }
        say::line(format_args!("{} {}", if fresh { "unchanged" } else { "wrote    " }, page.path));
    }
    Ok(())
}

/// Builds the programs and returns every page as it should be.
pub(crate) fn pages() -> Result<Vec<Page>, Failure> {
    let binaries = binaries::build()?;
    let asked =
        PAGES.iter().map(|source| Ok(Page { path: source.path.to_owned(), text: ask((source.program)(&binaries)?, source.arguments)? }));
    let mut pages = asked.collect::<Result<Vec<_>, Failure>>()?;
    pages.extend(helm::pages(&workspace::root()?)?);
    Ok(pages)
}

/// Asks a program for a page. It sees no environment: a page must not depend on whose machine wrote it.
fn ask(program: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let text = capture(command(program).args(arguments).env_clear())?;
    let text = text.trim_end();
    if text.is_empty() {
        return Err(Failure::new(format!("`{} {}` printed nothing", program.display(), arguments.join(" "))));
    }
    Ok(format!("{text}\n"))
}

struct Source {
    path: &'static str,
    program: fn(&Binaries) -> Result<&Path, Failure>,
    arguments: &'static [&'static str],
}

const PAGES: [Source; 5] = [
    Source { path: "docs/reference/openapi.json", program: Binaries::server, arguments: &["openapi"] },
    Source { path: "docs/reference/configuration.md", program: Binaries::server, arguments: &["config", "reference"] },
    Source { path: "docs/reference/metrics.md", program: Binaries::server, arguments: &["metrics", "reference"] },
    Source { path: "docs/reference/permissions.md", program: Binaries::server, arguments: &["permissions", "reference"] },
    Source { path: "docs/reference/cli.md", program: Binaries::cli, arguments: &["reference"] },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_with_one_line_end_and_sees_no_environment() {
        assert_eq!(ask(Path::new("/bin/echo"), &["hello"]).unwrap(), "hello\n");
        let environment = ask(Path::new("/usr/bin/env"), &["/usr/bin/printenv"]);
        assert!(environment.is_err(), "an empty environment prints nothing and ends with status 1");
    }

    #[test]
    fn an_empty_page_is_refused() {
        assert!(ask(Path::new("/bin/true"), &[]).is_err());
    }
}
