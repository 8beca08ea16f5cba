//! `config show`: the settings as they took effect, each with who gave it. Secrets are redacted.

use serde::Serialize;

use super::Config;
use super::resolve::Effective;
use super::value::Shown;

/// One setting for output as JSON.
#[derive(Debug, Serialize)]
pub struct ShownSetting {
    /// `database.url`
    pub key: &'static str,
    /// Null when it is not set; a secret is `[redacted]`.
    pub value: serde_json::Value,
    /// `default`, `file:line`, `env NAME`, `flag --name`, or a file that one of them names.
    pub source: String,
}

impl Config {
    /// The settings as a TOML file with a comment behind each that says who gave it.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut section = "";
        for Effective { key, value, origin } in self.effective() {
            if key.section() != section {
                section = key.section();
                let gap = if out.is_empty() { "" } else { "\n" };
                out.push_str(&format!("{gap}[{section}]\n"));
            }
            let line = match value {
                Shown::Unset => format!("# {} is not set", key.name()),
                value => format!("{} = {}", key.name(), toml(value)),
            };
            // Padded so that the sources stand below one another where the values are of ordinary length.
            out.push_str(&format!("{line:<48} # {origin}\n"));
        }
        out
    }

    /// The settings for output as JSON.
    #[must_use]
    pub fn to_list(&self) -> Vec<ShownSetting> {
        self.effective()
            .iter()
            .map(|Effective { key, value, origin }| ShownSetting { key: key.path, value: json(value), source: origin.to_string() })
            .collect()
    }
}

pub(super) fn toml(value: &Shown) -> String {
    match value {
        Shown::Text(text) => toml::Value::String(text.clone()).to_string(),
        Shown::Bare(text) => text.clone(),
        Shown::List(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Shown::Unset => String::new(),
    }
}

fn json(value: &Shown) -> serde_json::Value {
    match value {
        Shown::Text(text) => text.clone().into(),
        Shown::Bare(text) => text.parse().unwrap_or_else(|_| text.clone().into()),
        Shown::List(items) => items.iter().map(json).collect(),
        Shown::Unset => serde_json::Value::Null,
    }
}
