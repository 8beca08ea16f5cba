//! The reference page of all settings, written from the table.

use super::environment::{CONFIG_VARIABLE, FOREIGN, FOREIGN_PREFIX};
use super::file::CANDIDATES;
use super::key::{Key, Preset};
use super::settings::{KEYS, SECTIONS};

/// The page in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = introduction();
    for section in SECTIONS {
        out.push_str(&format!("\n## {}\n\n{}\n", section.name, section.doc.trim()));
        for key in KEYS.iter().filter(|key| key.section() == section.name) {
            out.push_str(&entry(key));
        }
    }
    out
}

fn entry(key: &Key) -> String {
    let mut facts = vec![format!("environment `{}`", key.env)];
    facts.extend(key.env_file().map(|name| format!("file `{name}`")));
    facts.extend(key.flag.map(|flag| format!("flag `--{flag}`")));
    facts.push(key.kind.to_owned());
    facts.extend(key.bounds.map(|(least, greatest)| format!("from `{least}` to `{greatest}`")));
    facts.push(match key.preset {
        Preset::Text(text) => format!("default `{text}`"),
        Preset::Unset => "not set by default".to_owned(),
        Preset::DataDir => {
            "default `$STATE_DIRECTORY` under systemd, else `/var/lib/certctl` for root and `./certctl-data` for other users".to_owned()
        }
        Preset::DatabaseInDataDir => "default `certctl.db` in `server.data_dir`, with SQLite".to_owned(),
    });
    if key.secret {
        facts.push("secret".to_owned());
    }
    format!("\n### `{}`\n\n{}\n\n{}.\n", key.path, key.doc.trim(), facts.join(" · "))
}

fn introduction() -> String {
    let foreign: Vec<String> = FOREIGN.iter().map(|name| format!("`{name}`")).collect();
    let candidates: Vec<String> = CANDIDATES.iter().map(|path| format!("`{path}`")).collect();
    format!(
        "\
<!-- Generated from the table of settings; run `cargo xtask codegen` after a change. -->
# Configuration of certctl-server

Nothing needs to be configured to start. Where a setting is given more than once, the later in this list wins:

1. the default
2. the TOML file: named by `--config` or `{CONFIG_VARIABLE}`, else the first of {candidates} that exists
3. the environment; an empty variable counts as not set
4. flags: those named below, and `--set key=value` for every setting that is no secret

A setting that may be **read from a file of its own** has a second variable whose name ends in `_FILE`, and a second TOML key that ends in `_file`.
The file holds the value; line ends behind it are not part of it. Secrets cannot be given by flag, as a command line can be read by everyone on
the machine.

All mistakes are told at once. Unknown keys and unknown `CERTCTL_*` variables are refused. These belong to the command line client and to agents, and are
left alone: {foreign}, and all that begin with `{FOREIGN_PREFIX}`. So are the variables that Kubernetes makes for services.

| command | what it does |
|---|---|
| `certctl-server config check` | tells every mistake, and says nothing else |
| `certctl-server config show` | the settings as they take effect, each with who gave it; secrets redacted |
| `certctl-server config reference` | this page |

Kinds of value: a **duration** is a number with unit (`500ms`, `30s`, `5m`, `24h`, `7d`, `1h30m`), a **size** a number with unit (`64KiB`, `1MiB`, `2GB`), a
**list** an array in TOML and separated by commas elsewhere. Relative paths start at the directory in which the server was started.
",
        candidates = candidates.join(", "),
        foreign = foreign.join(", "),
    )
}
