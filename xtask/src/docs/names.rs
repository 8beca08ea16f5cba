//! What pages name in prose and blocks: paths of the REST API, settings, variables and metrics. Each is looked up in the reference that the
//! programs write.

use std::collections::BTreeSet;

use crate::failure::Failure;
use crate::files;

use super::{Finding, Pages};

/// Every name that no reference has.
pub(super) fn check(pages: &Pages<'_>) -> Result<Vec<Finding>, Failure> {
    let known = Known::read(pages)?;
    let mut findings = Vec::new();
    for page in pages.pages.iter().filter(|page| !page.path.starts_with("docs/reference/") && !page.path.starts_with("docs/decisions/")) {
        for (number, line) in (1..).zip(page.text.lines()) {
            findings.extend(known.unknown(line).into_iter().map(|what| Finding::new(&page.path, number, what)));
        }
        for (number, span) in page.spans() {
            findings.extend(known.unknown_setting(&span).map(|what| Finding::new(&page.path, number, what)));
        }
    }
    Ok(findings)
}

struct Known {
    paths: Vec<Vec<String>>,
    variables: BTreeSet<String>,
    settings: BTreeSet<String>,
    values: BTreeSet<String>,
    permissions: BTreeSet<String>,
    metrics: BTreeSet<String>,
}

impl Known {
    fn read(pages: &Pages<'_>) -> Result<Self, Failure> {
        let read = |path: &str| files::read(&pages.root.join(path));
        let api: serde_json::Value =
            serde_json::from_str(&read("docs/reference/openapi.json")?).map_err(|error| Failure::new("openapi.json").because(error))?;
        let paths = api.get("paths").and_then(serde_json::Value::as_object).into_iter().flat_map(serde_json::Map::keys);
        let configuration = read("docs/reference/configuration.md")?;
        let agent = read("crates/agent/src/settings.rs")?;
        let spans = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
        let headed = configuration.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
        let settings: BTreeSet<String> = headed.map(str::to_owned).collect();
        let mut variables = spans(&configuration);
        variables.extend(spans(&read("docs/reference/cli.md")?));
        variables.extend(agent.split('"').skip(1).step_by(2).map(str::to_owned));
        // Those of the compose files go to Docker Compose, which `docker-compose config` in a test sees to.
        variables.extend(read("deploy/compose/.env.example")?.lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())));
        variables.retain(|name| name.starts_with("CERTCTL_"));
        let known = Self {
            paths: paths.map(|path| path.split('/').map(str::to_owned).collect()).collect(),
            variables,
            settings,
            values: spans(&read("docs/reference/helm-values.md")?),
            permissions: spans(&read("docs/reference/permissions.md")?),
            metrics: spans(&read("docs/reference/metrics.md")?),
        };
        if known.paths.is_empty() || known.variables.len() < 20 || known.settings.len() < 20 || known.metrics.len() < 20 {
            return Err(Failure::new("the references name little any more; they are read in xtask/src/docs/names.rs"));
        }
        Ok(known)
    }

    /// Paths, variables and metrics in a line that nobody knows.
    fn unknown(&self, line: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (at, _) in line.match_indices("/api/v1/") {
            let path: String = line.chars().skip(line.get(..at).map_or(0, |before| before.chars().count())).take_while(in_a_path).collect();
            if !self.has_path(path.trim_end_matches(['.', '/'])) {
                found.push(format!("there is no path `{path}` in the REST API"));
            }
        }
        for word in words(line) {
            if word.starts_with("CERTCTL_") && !self.has_variable(word) {
                found.push(format!("no program reads the variable `{word}`"));
            }
            let metric = word.starts_with("certctl_") && word != DATABASE && !NO_METRICS.iter().any(|name| word.starts_with(name));
            if metric && !self.has_metric(word) {
                found.push(format!("there is no metric `{word}`"));
            }
        }
        found
    }

    /// A span that looks like a setting, `tls.cert_file`, and is neither one nor a value of the chart.
    fn unknown_setting(&self, span: &str) -> Option<String> {
        let (section, rest) = span.split_once('.')?;
        let a_section = self.settings.iter().any(|setting| setting.split('.').next() == Some(section));
        let plain = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        let as_file = span.strip_suffix("_file").is_some_and(|setting| self.settings.contains(setting));
        let known = as_file || [&self.settings, &self.values, &self.permissions].iter().any(|names| names.contains(span));
        let group = self.values.iter().any(|value| value.strip_prefix(span).is_some_and(|rest| rest.starts_with('.')));
        let ending = FILE_ENDINGS.contains(&rest) || AUDITED.contains(&span);
        (a_section && plain && !known && !group && !ending).then(|| format!("there is no setting `{span}`"))
    }

    fn has_path(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        self.paths.iter().any(|known| {
            known.len() == parts.len() && known.iter().zip(&parts).all(|(known, part)| known == part || known.starts_with('{'))
        })
    }

    /// `CERTCTL_BACKUP_*` stands for all that begin so.
    fn has_variable(&self, name: &str) -> bool {
        self.variables.contains(name) || name.ends_with('_') && self.variables.iter().any(|known| known.starts_with(name))
    }

    fn has_metric(&self, name: &str) -> bool {
        let series = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
        [Some(name), series].into_iter().flatten().any(|name| self.metrics.contains(name))
            || name.ends_with('_') && self.metrics.iter().any(|known| known.starts_with(name))
    }
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

fn in_a_path(c: &char) -> bool {
    c.is_ascii_alphanumeric() || "/-_.{}<>:$@".contains(*c)
}

/// Databases, and packages, whose names begin as metrics do.
const NO_METRICS: [&str; 3] = ["certctl_restored", "certctl_e2e", "certctl_0"];
/// A volume of Docker Compose.
const DATABASE: &str = "certctl_database";

/// `server.toml`, `tls.crt`: files, not settings.
const FILE_ENDINGS: [&str; 7] = ["rs", "toml", "key", "crt", "pem", "service", "md"];

/// Actions of the audit log with a name that begins as a section does.
const AUDITED: [&str; 4] = ["backup.create", "backup.verify", "backup.prune", "backup.restore"];

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        Known {
            paths: vec!["/api/v1/certificates/{id}/renew".split('/').map(str::to_owned).collect()],
            variables: names(&["CERTCTL_TLS_CERT_FILE", "CERTCTL_BACKUP_DIRECTORY"]),
            settings: names(&["tls.cert_file", "backup.identity"]),
            values: names(&["backup.schedule", "backup.image.tag"]),
            permissions: names(&["backup.read"]),
            metrics: names(&["certctl_jobs_total", "certctl_wait_seconds"]),
        }
    }

    #[test]
    fn what_there_is_passes() {
        let known = known();
        for line in [
            "POST /api/v1/certificates/mc-1/renew.",
            "curl https://x/api/v1/certificates/$ID/renew?a=b",
            "CERTCTL_TLS_CERT_FILE and `CERTCTL_BACKUP_*`",
            "rate(certctl_jobs_total[5m]) certctl_wait_seconds_bucket certctl_restored",
        ] {
            assert_eq!(known.unknown(line), Vec::<String>::new(), "{line}");
        }
        for span in [
            "tls.cert_file",
            "backup.identity_file",
            "backup.schedule",
            "backup.read",
            "backup.image",
            "server.toml",
            "tls.crt",
            "nginx.conf",
        ] {
            assert_eq!(known.unknown_setting(span), None, "{span}");
        }
    }

    #[test]
    fn what_there_is_not_is_found() {
        let known = known();
        for line in ["/api/v1/certificates/mc-1/revive", "/api/v1/certificate", "CERTCTL_TLS_CERT", "certctl_jobs", "`CERTCTL_TLZ_*`"] {
            assert_eq!(known.unknown(line).len(), 1, "{line}");
        }
        for span in ["tls.cert_fil", "backup.identities"] {
            assert!(known.unknown_setting(span).is_some(), "{span}");
        }
    }
}
