//! Who runs, renders or parses which blocks. A new page with blocks gets a line here, and a block that nobody claims is a finding.

use std::path::Path;

use crate::failure::Failure;
use crate::{files, helm};

use super::{Finding, Pages, cited};

/// What becomes of the blocks of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Executor {
    /// This test takes them from the page and runs them; it fails when it leaves one out. By file and function.
    Test(&'static str, &'static str),
    /// `cargo xtask helm` renders what `helm` commands ask for and looks up what the others name.
    Chart,
    /// Settings of the server: `certctl-server config check`.
    Settings,
    /// A list of commands that may run: the agent reads it.
    Allowed,
    /// A drop-in for this unit: `systemd-analyze verify`.
    DropIn(&'static str),
    /// `nginx -t`.
    Nginx,
    /// `haproxy -c`.
    Haproxy,
    /// `promtool check config`.
    Prometheus,
    /// They change a host as only its administrator may, so no test runs them: `bash -n` reads them, our own commands in them are parsed,
    /// and what they take from the repository is there.
    Host,
    /// The program wrote the page, and `cargo xtask codegen` compares.
    Written,
    /// No command: output, a drawing, an example of code.
    Shown,
}

/// The blocks of a page with this behind their fence. `docs/divergences/` stands for all pages below.
struct Claim {
    page: &'static str,
    info: &'static str,
    executor: Executor,
}

const fn claim(page: &'static str, info: &'static str, executor: Executor) -> Claim {
    Claim { page, info, executor }
}

/// Every claim: one for each page and each kind of block on it.
const CLAIMS: &[Claim] = &[
    claim("README.md", "mermaid", Executor::Shown),
    claim("README.md", "sh", Executor::Host),
    claim("docs/concepts/lifecycle.md", "text", Executor::Shown),
    claim("docs/getting-started/quick-start.md", "sh", Executor::Host),
    claim("docs/operator/acme-issuer.md", "haproxy", Executor::Haproxy),
    claim("docs/operator/acme-issuer.md", "nginx", Executor::Nginx),
    claim("docs/operator/acme-issuer.md", "sh", Executor::Host),
    claim("docs/operator/acme-issuer.md", "toml", Executor::Allowed),
    claim("docs/operator/agent-privileges.md", "ini", Executor::DropIn("certctl-agent.service")),
    claim("docs/operator/agent-privileges.md", "js", Executor::Shown),
    claim("docs/operator/agent-privileges.md", "sh", Executor::Host),
    claim("docs/operator/agent-privileges.md", "toml", Executor::Allowed),
    claim("docs/operator/backup.md", "ini", Executor::DropIn("certctl-backup.service")),
    claim("docs/operator/backup.md", "sh", Executor::Test(BACKUPS, "every_command_of_the_runbook_works_as_it_stands")),
    claim("docs/operator/backup.md", "sh host", Executor::Host),
    claim("docs/operator/backup.md", "text", Executor::Shown),
    claim("docs/operator/backup.md", "toml", Executor::Settings),
    claim("docs/operator/ca-renewal.md", "sh", Executor::Test(GUIDES, "what_guides_say_in_passing_works")),
    claim("docs/operator/compose.md", "sh", Executor::Test(COMPOSE, "the_guide_works_line_by_line")),
    claim("docs/operator/docker.md", "sh", Executor::Test(COMPOSE, "images_are_built_as_the_page_says")),
    claim("docs/operator/ha.md", "haproxy", Executor::Test(HA, "a_server_less_behind_the_balancer_of_the_page")),
    claim("docs/operator/ha.md", "nginx", Executor::Nginx),
    claim("docs/operator/ha.md", "sh", Executor::Test(HA, "a_server_less_behind_the_balancer_of_the_page")),
    claim("docs/operator/ha.md", "toml", Executor::Settings),
    claim("docs/operator/haproxy.md", "haproxy", Executor::Haproxy),
    claim("docs/operator/haproxy.md", "sh", Executor::Test(GUIDES, "what_guides_say_in_passing_works")),
    claim("docs/operator/haproxy.md", "toml", Executor::Allowed),
    claim("docs/operator/helm.md", "sh", Executor::Chart),
    claim("docs/operator/install-systemd.md", "ini", Executor::DropIn("certctl-server.service")),
    claim("docs/operator/install-systemd.md", "sh", Executor::Host),
    claim("docs/operator/rbac.md", "sh", Executor::Test(ACCESS, "people_and_programs_get_what_they_need_and_no_more")),
    claim("docs/operator/rbac.md", "json", Executor::Test(ACCESS, "people_and_programs_get_what_they_need_and_no_more")),
    claim("docs/operator/revocation.md", "sh", Executor::Test(GUIDES, "what_guides_say_in_passing_works")),
    claim("docs/operator/migrations.md", "sh", Executor::Test(ROLLBACK, "the_commands_and_the_statement_of_the_page_on_migrations_work")),
    claim("docs/operator/migrations.md", "sql", Executor::Test(ROLLBACK, "the_commands_and_the_statement_of_the_page_on_migrations_work")),
    claim("docs/operator/revocation.md", "toml", Executor::Settings),
    claim("docs/operator/runbooks/disaster-recovery.md", "sh", Executor::Test(DISASTER, "what_is_lost_comes_back")),
    claim("docs/operator/runbooks/encryption-key-rotation.md", "sh", Executor::Test(ENCRYPTION, "the_key_is_changed_while_servers_work")),
    claim("docs/operator/runbooks/encryption-key-rotation.md", "toml", Executor::Test(ENCRYPTION, "the_key_is_changed_while_servers_work")),
    claim("docs/operator/runbooks/expiry-alerts.md", "sh", Executor::Test(EXPIRY, "a_certificate_that_is_not_renewed_is_found_and_helped")),
    claim("docs/operator/runbooks/postgres-backup.md", "sh", Executor::Test(BACKUPS, "every_command_of_the_runbook_works_as_it_stands")),
    claim("docs/operator/runbooks/prometheus-bearer-token.md", "sh", Executor::Chart),
    claim("docs/operator/runbooks/prometheus-bearer-token.md", "yaml", Executor::Prometheus),
    claim("docs/operator/runbooks/prometheus-by-rest.md", "sh", Executor::Test(METRICS_KEY, "the_calls_work_word_for_word")),
    claim(
        "docs/operator/runbooks/prometheus-by-rest.md",
        "yaml",
        Executor::Test(METRICS_KEY, "a_real_prometheus_scrapes_and_loses_nothing_when_its_key_changes"),
    ),
    claim(
        "docs/operator/runbooks/postgres-major-upgrade.md",
        "sh",
        Executor::Test(MAJOR, "the_runbook_moves_an_installation_to_another_major_version"),
    ),
    claim("docs/operator/runbooks/rollback.md", "sh", Executor::Test(ROLLBACK, "the_runbook_goes_back_with_the_data_where_it_does_not")),
    claim("docs/operator/tls.md", "sh", Executor::Test(TLS, "the_ca_changes_with_agents_in_place")),
    claim("docs/operator/tls.md", "toml", Executor::Test(TLS, "the_ca_changes_with_agents_in_place")),
    claim("docs/reference/cli.md", "sh", Executor::Written),
    claim("docs/reference/cli.md", "text", Executor::Written),
];

const BACKUPS: &str = "tests/e2e/tests/e2e/backups/runbook.rs";
const ACCESS: &str = "tests/e2e/tests/e2e/runbooks/access.rs";
const COMPOSE: &str = "tests/e2e/tests/e2e/containers/guide.rs";
const MAJOR: &str = "tests/e2e/tests/e2e/backups/major.rs";
const ROLLBACK: &str = "tests/e2e/tests/e2e/server_life/rollback.rs";
const DISASTER: &str = "tests/e2e/tests/e2e/runbooks/disaster.rs";
const EXPIRY: &str = "tests/e2e/tests/e2e/runbooks/expiry.rs";
const GUIDES: &str = "tests/e2e/tests/e2e/runbooks/guides.rs";
const HA: &str = "tests/e2e/tests/e2e/runbooks/ha.rs";
const TLS: &str = "tests/e2e/tests/e2e/runbooks/tls.rs";
const ENCRYPTION: &str = "tests/e2e/tests/e2e/runbooks/encryption_key.rs";
const METRICS_KEY: &str = "tests/e2e/tests/e2e/runbook.rs";

/// Who has the blocks of a page with this behind their fence.
pub(super) fn executor(page: &str, info: &str) -> Option<Executor> {
    CLAIMS.iter().find(|claim| claim.page == page && claim.info == info).map(|claim| claim.executor)
}

/// Blocks without a claim, claims without a block or of nobody, and blocks that only an administrator runs and that could not work.
pub(super) fn check(pages: &Pages<'_>) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for page in &pages.pages {
        for block in page.blocks() {
            match executor(&page.path, block.info) {
                None => findings.push(Finding::new(
                    &page.path,
                    block.line,
                    format!("nobody runs the blocks `{}` of this page; claim them in {TABLE}", block.info),
                )),
                Some(Executor::Host) => {
                    findings.extend(on_a_host(pages.root, &block.text)?.map(|said| Finding::new(&page.path, block.line, said)));
                }
                Some(_) => {}
            }
        }
    }
    for (number, claim) in CLAIMS.iter().enumerate() {
        let blocks = pages.pages.iter().filter(|page| page.path == claim.page).flat_map(|page| page.blocks());
        let says = |what: String| Finding::new(claim.page, 1, format!("{TABLE} claims its blocks `{}`, {what}", claim.info));
        if blocks.filter(|block| block.info == claim.info).count() == 0 {
            findings.push(says("and there are none".to_owned()));
        }
        if CLAIMS.iter().take(number).any(|other| (other.page, other.info) == (claim.page, claim.info)) {
            findings.push(says("and claims them twice".to_owned()));
        }
        findings.extend(absent(pages.root, claim)?.map(says));
    }
    Ok(findings)
}

/// Why the one who is named does not do it.
fn absent(root: &Path, claim: &Claim) -> Result<Option<String>, Failure> {
    match claim.executor {
        Executor::Test(file, function) => {
            let text = files::read(&root.join(file)).unwrap_or_default();
            let language = claim.info.split(' ').next().unwrap_or_default();
            let there = cited::functions_in(&text).iter().any(|name| name == function);
            Ok(match (there, text.contains(&format!("\"{}\"", claim.page)), text.contains(&format!("\"{language}"))) {
                (false, ..) => Some(format!("and `{file}` has no test `{function}`")),
                (_, false, _) => Some(format!("and `{file}` does not read the page")),
                (.., false) => Some(format!("and `{file}` does not read its `{language}`")),
                _ => None,
            })
        }
        Executor::Chart => Ok((!helm::GUIDES.contains(&claim.page)).then(|| "and `cargo xtask helm` does not read the page".to_owned())),
        Executor::Written => Ok((!claim.page.starts_with("docs/reference/")).then(|| "and no program writes the page".to_owned())),
        _ => Ok(None),
    }
}

/// What would stop an administrator: a line that no shell takes, a file of this repository that is not there.
fn on_a_host(root: &Path, script: &str) -> Result<Option<String>, Failure> {
    let mut bash = crate::process::command("bash");
    let read = crate::process::fed(bash.arg("-n"), script)?;
    if !read.status.success() {
        return Ok(Some(String::from_utf8_lossy(&read.stderr).lines().next().unwrap_or("bash does not read it").to_owned()));
    }
    let words = script.split_whitespace();
    let missing = words.filter(|word| OURS.iter().any(|folder| word.starts_with(folder))).find(|word| !root.join(word).exists());
    Ok(missing.map(|word| format!("there is no {word}")))
}

const TABLE: &str = "xtask/src/docs/claims.rs";

/// Folders of the repository that commands take files from.
const OURS: [&str; 3] = ["deploy/", "docs/", "crates/"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_named_must_be_there_and_read_the_page() {
        let root = tempfile::tempdir().unwrap();
        let file = "t.rs";
        let claim = claim("docs/a.md", "sh", Executor::Test(file, "it_works"));
        let said = |text: &str| {
            files::write(&root.path().join(file), text).unwrap();
            absent(root.path(), &claim).unwrap()
        };
        assert_eq!(said("async fn it_works() { blocks(\"docs/a.md\", \"sh\") }"), None);
        for bad in [
            "async fn it_works_not() { blocks(\"docs/a.md\", \"sh\") }",
            "async fn it_works() { blocks(\"docs/b.md\", \"sh\") }",
            "async fn it_works() { blocks(\"docs/a.md\", \"toml\") }",
        ] {
            assert!(said(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn an_administrator_is_not_told_what_cannot_work() {
        let root = tempfile::tempdir().unwrap();
        files::write(&root.path().join("deploy/x.service"), "").unwrap();
        assert_eq!(on_a_host(root.path(), "sudo install deploy/x.service /etc\n").unwrap(), None);
        assert!(on_a_host(root.path(), "sudo install deploy/y.service /etc\n").unwrap().is_some());
        assert!(on_a_host(root.path(), "if true\n").unwrap().is_some());
    }
}
