//! The `CERTCTL_*` variables. One that means nothing is refused, so that a misspelt name is not silently without effect.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::{ConfigError, Origin};
use super::resolve::{Layer, ReadFile};
use super::settings::KEYS;
use super::suggest;
use super::value::Raw;

/// Names the configuration file.
pub(super) const CONFIG_VARIABLE: &str = "CERTCTL_CONFIG";

/// Variables of the command line client and of agents, which may stand in the same environment.
pub(super) const FOREIGN: &[&str] = &[
    "CERTCTL_SERVER_URL",
    "CERTCTL_API_KEY",
    "CERTCTL_API_KEY_FILE",
    "CERTCTL_CONTEXT",
    "CERTCTL_OUTPUT",
    "CERTCTL_CA_FILE",
    "CERTCTL_CLI_CONFIG",
];

/// Variables that begin so belong to the agent.
pub(super) const FOREIGN_PREFIX: &str = "CERTCTL_AGENT_";

/// Reads the variables. An empty one counts as not set, as container tools can often not leave one out.
pub(super) fn read(variables: &BTreeMap<String, String>, read_file: ReadFile<'_>) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in variables {
        let origin = || Origin::Variable { name: name.clone() };
        if !name.starts_with("CERTCTL_") || name == CONFIG_VARIABLE {
            continue;
        }
        if let Some(key) = KEYS.iter().find(|key| key.env == name) {
            if !value.is_empty() {
                layer.add(key, Raw::Text(value.clone()), origin());
            }
        } else if let Some(key) = KEYS.iter().find(|key| key.env_file().as_deref() == Some(name)) {
            if !value.is_empty() {
                layer.add_from_file(key, PathBuf::from(value), origin(), read_file);
            }
        } else if !is_foreign(name) && !is_service_link(name, value) {
            layer.errors.push(ConfigError::UnknownVariable { name: name.clone(), hint: hint(name) });
        }
    }
    layer
}

/// Variables that are not ours but so near to one of ours that a slip is likely.
pub(super) fn warnings(variables: &BTreeMap<String, String>) -> impl Iterator<Item = String> {
    variables.keys().filter(|name| name.starts_with(FOREIGN_PREFIX)).filter_map(|name| {
        let meant = KEYS.iter().map(|key| key.env).find(|env| strsim::damerau_levenshtein(name, env) <= 2)?;
        Some(format!("{name} is left to the agent; if it is meant for the server, write {meant}"))
    })
}

fn is_foreign(name: &str) -> bool {
    FOREIGN.contains(&name) || name.starts_with(FOREIGN_PREFIX)
}

/// Kubernetes gives every container variables for every service in its namespace. A service called `certctl-server` makes
/// `CERTCTL_SERVER_SERVICE_HOST`, `CERTCTL_SERVER_PORT=tcp://...`, `CERTCTL_SERVER_PORT_8443_TCP_ADDR` and more.
fn is_service_link(name: &str, value: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    if name.ends_with("_PORT") {
        return ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    }
    // `_PORT_8443_TCP`, perhaps with `_PROTO`, `_PORT` or `_ADDR` behind it.
    name.split_once("_PORT_").is_some_and(|(_, rest)| {
        let mut parts = rest.split('_');
        let number = parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
        number && parts.next().is_some_and(|part| matches!(part, "TCP" | "UDP" | "SCTP"))
    })
}

fn hint(name: &str) -> Option<String> {
    if let Some((_, instead)) = RENAMED.iter().find(|(old, _)| *old == name) {
        return Some((*instead).to_owned());
    }
    let bare = name.strip_prefix("CERTCTL_").unwrap_or(name);
    let known: Vec<String> = KEYS.iter().flat_map(|key| std::iter::once(key.env.to_owned()).chain(key.env_file())).collect();
    let meant = suggest::nearest(bare, known.iter().filter_map(|env| env.strip_prefix("CERTCTL_")))?;
    Some(format!("did you mean `CERTCTL_{meant}`?"))
}

/// Names that many people have in their scripts, and what is written instead.
const RENAMED: &[(&str, &str)] = &[
    ("CERTCTL_SERVER_HOST", "write address and port together: CERTCTL_SERVER_LISTEN=0.0.0.0:8443"),
    ("CERTCTL_SERVER_PORT", "write address and port together: CERTCTL_SERVER_LISTEN=0.0.0.0:8443"),
    ("CERTCTL_SERVER_TLS_CERT_PATH", "use CERTCTL_TLS_CERT_FILE"),
    ("CERTCTL_SERVER_TLS_KEY_PATH", "use CERTCTL_TLS_KEY_FILE"),
    ("CERTCTL_MAX_BODY_SIZE", "use CERTCTL_SERVER_MAX_BODY"),
    ("CERTCTL_AUDIT_FLUSH_TIMEOUT_SECONDS", "use CERTCTL_SERVER_SHUTDOWN_TIMEOUT=30s"),
    ("CERTCTL_DATABASE_MAX_CONNS", "use CERTCTL_DATABASE_MAX_CONNECTIONS"),
    ("CERTCTL_DATABASE_MIGRATIONS_PATH", "leave it out: the migrations are part of the program"),
    ("CERTCTL_CONFIG_ENCRYPTION_KEY", "use CERTCTL_ENCRYPTION_KEY, a key of 32 bytes: openssl rand -base64 32"),
    ("CERTCTL_SCHEDULER_RENEWAL_CHECK_INTERVAL", "use CERTCTL_SCHEDULER_RENEWAL_INTERVAL"),
    ("CERTCTL_SCHEDULER_JOB_PROCESSOR_INTERVAL", "use CERTCTL_SCHEDULER_JOB_POLL_INTERVAL"),
    ("CERTCTL_RENEWAL_CONCURRENCY", "use CERTCTL_SCHEDULER_JOB_CONCURRENCY"),
    ("CERTCTL_JOB_AWAITING_CSR_TIMEOUT", "use CERTCTL_SCHEDULER_CSR_TIMEOUT"),
    ("CERTCTL_RATE_LIMIT_RPS", "use CERTCTL_LIMITS_REQUESTS_PER_SECOND"),
    ("CERTCTL_RATE_LIMIT_BURST", "use CERTCTL_LIMITS_BURST"),
    ("CERTCTL_AUTH_TYPE", "leave it out: callers are always authenticated"),
    ("CERTCTL_AUTH_SECRET", "leave it out: start with CERTCTL_BOOTSTRAP_TOKEN, then make keys with `certctl keys`"),
    ("CERTCTL_API_KEYS_NAMED", "leave it out: make keys with `certctl keys`"),
    ("CERTCTL_KEYGEN_MODE", "leave it out: keys are always made by the agent"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_links_are_told_from_slips() {
        for (name, value, link) in [
            ("CERTCTL_SERVER_SERVICE_HOST", "10.0.0.1", true),
            ("CERTCTL_SERVER_SERVICE_PORT_HTTPS", "8443", true),
            ("CERTCTL_SERVER_PORT", "tcp://10.0.0.1:8443", true),
            ("CERTCTL_SERVER_PORT", "8443", false),
            ("CERTCTL_PORT_8443_TCP_ADDR", "10.0.0.1", true),
            ("CERTCTL_PORT_8443_TCP", "tcp://10.0.0.1:8443", true),
            ("CERTCTL_SERVER_PORT_RANGE", "1", false),
        ] {
            assert_eq!(is_service_link(name, value), link, "{name}={value}");
        }
    }
}
