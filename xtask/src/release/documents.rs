//! What comes with the programs: manual pages and completions, from what the programs say of themselves.

use std::path::Path;

use crate::failure::Failure;
use crate::files;
use crate::process::{capture, command};

use super::Release;
use super::programs::NAMES;

/// Writes them into `documents` of the staging folder.
pub(super) fn write(release: &Release) -> Result<(), Failure> {
    let folder = release.staging.join("documents");
    for name in NAMES {
        let program = release.programs.path(name);
        let help = capture(command(&program).arg("--help").env_clear())?;
        files::write(&folder.join(page_of(name)), &page(name, &release.version, &help))?;
    }
    for (name, shell, file) in COMPLETIONS {
        let script = capture(command(release.programs.path(name)).args(["completions", shell]).env_clear())?;
        files::write(&folder.join(file), &script)?;
    }
    Ok(())
}

/// The file of a program's manual page.
pub(super) fn page_of(name: &str) -> String {
    format!("{name}.{}", section(name))
}

/// Programs for everybody are in section 1, daemons in 8 (man(1)).
pub(super) fn section(name: &str) -> u8 {
    if name == "certctl" { 1 } else { 8 }
}

/// Completion scripts: the program, the shell, the file.
pub(super) const COMPLETIONS: [(&str, &str, &str); 6] = [
    ("certctl", "bash", "certctl.bash"),
    ("certctl", "zsh", "_certctl"),
    ("certctl", "fish", "certctl.fish"),
    ("certctl-agent", "bash", "certctl-agent.bash"),
    ("certctl-agent", "zsh", "_certctl-agent"),
    ("certctl-agent", "fish", "certctl-agent.fish"),
];

/// A manual page with the program's own help in it (man-pages(7)).
fn page(name: &str, version: &str, help: &str) -> String {
    let mut paragraphs = help.trim().splitn(2, "\n\n");
    let (first, rest) = (paragraphs.next().unwrap_or_default(), paragraphs.next().unwrap_or_default());
    let what = first.lines().next().unwrap_or_default().trim_end_matches('.');
    let title = name.to_uppercase();
    let body = format!("{first}\n\n{rest}");
    let body: Vec<String> = body.lines().map(escaped).collect();
    format!(
        ".TH {} {} \"\" \"certctl {version}\"\n.SH NAME\n{} \\- {}\n.SH DESCRIPTION\n.nf\n{}\n.fi\n",
        escaped(&title),
        section(name),
        escaped(name),
        escaped(what),
        body.join("\n")
    )
}

/// A line as roff(7) shows it unchanged.
fn escaped(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-").replace('`', "\\(ga").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

/// Where a folder keeps a document.
pub(super) fn document(release: &Release, name: impl AsRef<Path>) -> std::path::PathBuf {
    release.staging.join("documents").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_the_program_says() {
        let page = page("certctl-server", "1.2.3", "The control plane.\n\nUsage: certctl-server [X]\n.dot 'quoted' a\\b\n");
        assert!(page.starts_with(".TH CERTCTL\\-SERVER 8 \"\" \"certctl 1.2.3\"\n.SH NAME\ncertctl\\-server \\- The control plane\n"));
        assert!(page.contains("\nUsage: certctl\\-server [X]\n\\&.dot \\(aqquoted\\(aq a\\eb\n"));
    }
}
