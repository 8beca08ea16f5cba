//! The TOML file: where it is looked for, and what stands in it, with line numbers.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::environment::CONFIG_VARIABLE;
use super::error::{ConfigError, ConfigErrors, Origin};
use super::resolve::{Layer, ReadFile};
use super::settings::{KEYS, SECTIONS};
use super::suggest;
use super::value::Raw;

/// A configuration file that was read.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    /// Its path.
    pub path: PathBuf,
    /// Its content.
    pub text: String,
}

/// Where the file is looked for when nobody names one; the first that exists is taken.
pub const CANDIDATES: [&str; 2] = ["certctl.toml", "/etc/certctl/server.toml"];

/// Finds the file: named by flag, else by `CERTCTL_CONFIG`, else the first of [`CANDIDATES`] that exists.
///
/// # Errors
/// When the file that was named, or a candidate that exists, cannot be read.
pub fn find(flag: Option<&Path>, variables: &BTreeMap<String, String>, read: ReadFile<'_>) -> Result<Option<ConfigFile>, ConfigErrors> {
    let named = flag.map(|path| (path.to_owned(), Origin::Flag { name: "--config".to_owned() })).or_else(|| {
        let value = variables.get(CONFIG_VARIABLE).filter(|value| !value.is_empty())?;
        Some((PathBuf::from(value), Origin::Variable { name: CONFIG_VARIABLE.to_owned() }))
    });
    if let Some((path, origin)) = named {
        return match read(&path) {
            Ok(text) => Ok(Some(ConfigFile { path, text })),
            Err(source) => Err(ConfigError::Unreadable { key: None, path, origin, source }.into()),
        };
    }
    for candidate in CANDIDATES {
        let path = PathBuf::from(candidate);
        match read(&path) {
            Ok(text) => return Ok(Some(ConfigFile { path, text })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(ConfigError::Unreadable { key: None, path, origin: Origin::Default, source }.into()),
        }
    }
    Ok(None)
}

/// Reads every known key; collects syntax errors, unknown keys, and values of a shape that no setting has.
pub(super) fn read(file: &ConfigFile, read_file: ReadFile<'_>) -> Layer {
    let at = |offset: usize| Origin::File { path: file.path.clone(), line: line_of(&file.text, offset) };
    let mut layer = Layer::default();
    let (document, syntax) = DeTable::parse_recoverable(&file.text);
    let broken = !syntax.is_empty();
    layer.errors.extend(
        syntax.iter().map(|error| ConfigError::Syntax {
            message: error.message().to_owned(),
            origin: at(error.span().map_or(0, |span| span.start)),
        }),
    );
    if broken {
        // What the parser recovered may be wrong in ways that the user did not write.
        return layer;
    }
    for (section, value) in document.get_ref() {
        let origin = at(section.span().start);
        let section = section.get_ref().as_ref();
        let known = SECTIONS.iter().any(|known| known.name == section);
        match value.get_ref() {
            DeValue::Table(table) if known => {
                for (name, value) in table {
                    let path = format!("{section}.{}", name.get_ref());
                    let origin = at(name.span().start);
                    add(&mut layer, &path, value.get_ref(), origin, read_file);
                }
            }
            _ if known => {
                layer.errors.push(ConfigError::Syntax { message: format!("`{section}` is a section: write [{section}]"), origin })
            }
            DeValue::Table(_) => {
                let meant = suggest::nearest(section, SECTIONS.iter().map(|section| section.name)).map(str::to_owned);
                layer.errors.push(ConfigError::UnknownKey { key: section.to_owned(), meant, origin });
            }
            _ => layer.errors.push(ConfigError::UnknownKey { key: section.to_owned(), meant: meant(section), origin }),
        }
    }
    // The parser hands tables out by name; people read from top to bottom.
    layer.errors.sort_by_key(|error| match error.origin() {
        Some(Origin::File { line, .. }) => *line,
        _ => 0,
    });
    layer
}

fn add(layer: &mut Layer, path: &str, value: &DeValue<'_>, origin: Origin, read_file: ReadFile<'_>) {
    let in_file = KEYS.iter().find(|key| key.path_file().as_deref() == Some(path));
    let Some(key) = KEYS.iter().find(|key| key.path == path).or(in_file) else {
        layer.errors.push(ConfigError::UnknownKey { key: path.to_owned(), meant: meant(path), origin });
        return;
    };
    match (raw(value), in_file) {
        (Some(Raw::Text(file)), Some(key)) => layer.add_from_file(key, PathBuf::from(file), origin, read_file),
        (Some(raw), None) => layer.add(key, raw, origin),
        (Some(Raw::List(_)) | None, _) => {
            layer.errors.push(ConfigError::Syntax { message: format!("`{path}` is a {}, which it cannot be", value.type_str()), origin });
        }
    }
}

fn raw(value: &DeValue<'_>) -> Option<Raw> {
    match value {
        DeValue::Array(items) => items.iter().map(|item| text(item.get_ref())).collect::<Option<_>>().map(Raw::List),
        other => text(other).map(Raw::Text),
    }
}

fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string()),
        // A version such as 1.3 without quotes.
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn meant(path: &str) -> Option<String> {
    let known: Vec<String> = KEYS.iter().flat_map(|key| std::iter::once(key.path.to_owned()).chain(key.path_file())).collect();
    suggest::nearest(path, known.iter().map(String::as_str)).map(str::to_owned)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
