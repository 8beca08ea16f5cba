//! Puts the sources on top of one another and reads each setting from the topmost that gives it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Origin};
use super::key::{Key, Preset};
use super::value::{BadValue, Raw, SettingValue, Shown};

/// How a file is read; the real one reads the disk.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// What one source says about one setting.
#[derive(Debug, Clone)]
pub(super) enum Given {
    /// A value.
    Value(Raw, Origin),
    /// Something that could not be read; its error is already told.
    Broken,
}

/// One source: the settings that it gives, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Layer {
    given: BTreeMap<&'static str, (Given, Origin)>,
    pub(super) errors: Vec<ConfigError>,
}

impl Layer {
    /// Adds a value; a second one for the same setting in the same source is an error.
    pub(super) fn add(&mut self, key: &Key, raw: Raw, origin: Origin) {
        self.insert(key, Given::Value(raw, origin.clone()), origin);
    }

    /// Adds a value that stands in a file of its own.
    pub(super) fn add_from_file(&mut self, key: &Key, path: PathBuf, by: Origin, read: ReadFile<'_>) {
        let given = match read(&path) {
            Ok(text) => {
                // An editor ends the last line; that line end is not part of the secret.
                let text = text.trim_end_matches(['\r', '\n']).to_owned();
                Given::Value(Raw::Text(text), Origin::ReadFrom { path, by: Box::new(by.clone()) })
            }
            Err(source) => {
                self.errors.push(ConfigError::Unreadable { key: Some(key.path), path, origin: by.clone(), source });
                Given::Broken
            }
        };
        self.insert(key, given, by);
    }

    fn insert(&mut self, key: &Key, given: Given, origin: Origin) {
        if let Some((_, first)) = self.given.insert(key.path, (given, origin.clone())) {
            self.errors.push(ConfigError::GivenTwice { key: key.path, first, second: origin });
        }
    }
}

/// A setting as it took effect.
#[derive(Debug, Clone)]
pub struct Effective {
    /// Which setting.
    pub key: Key,
    /// Its value; a secret is `[redacted]`.
    pub value: Shown,
    /// Who gave it.
    pub origin: Origin,
}

/// Hands out the settings one by one, and collects what is wrong with them.
#[derive(Debug)]
pub(super) struct Resolver {
    given: BTreeMap<&'static str, Given>,
    data_dir: (String, Origin),
    pub(super) effective: Vec<Effective>,
    pub(super) errors: Vec<ConfigError>,
}

impl Resolver {
    /// Lays the layers over one another, the last on top.
    pub(super) fn new(layers: impl IntoIterator<Item = Layer>, default_data_dir: (String, Origin)) -> Self {
        let mut given = BTreeMap::new();
        let mut errors = Vec::new();
        for layer in layers {
            given.extend(layer.given.into_iter().map(|(path, (value, _))| (path, value)));
            errors.extend(layer.errors);
        }
        let data_dir = match given.get("server.data_dir") {
            Some(Given::Value(Raw::Text(text), origin)) => (text.trim().to_owned(), origin.clone()),
            _ => default_data_dir,
        };
        Self { given, data_dir, effective: Vec::new(), errors }
    }

    /// Reads one setting. `None` means that an error was collected.
    pub(super) fn take<T: SettingValue>(&mut self, key: &Key) -> Option<T> {
        let preset = |text: String| Some((Raw::Text(text), Origin::Default));
        let source = match (self.given.remove(key.path), key.preset) {
            (Some(Given::Broken), _) => return None,
            (Some(Given::Value(raw, origin)), _) => Some((raw, origin)),
            (None, Preset::Unset) => None,
            (None, Preset::Text(text)) => preset(text.to_owned()),
            (None, Preset::DataDir) => Some((Raw::Text(self.data_dir.0.clone()), self.data_dir.1.clone())),
            (None, Preset::DatabaseInDataDir) => preset(format!("sqlite://{}", self.data_dir().join("certctl.db").display())),
        };
        let (value, origin) = match source {
            None => (T::unset()?, Origin::Default),
            Some((raw, origin)) => match read(key, &raw) {
                Ok(value) => (value, origin),
                Err(bad) => {
                    let shown = if key.secret { None } else { Some(written(&raw)) };
                    self.errors.push(ConfigError::BadValue { key: key.path, shown, why: bad.why, hint: bad.hint, origin });
                    return None;
                }
            },
        };
        self.effective.push(Effective { key: *key, value: value.show(), origin });
        Some(value)
    }

    /// The data directory, which the default of other settings builds upon.
    pub(super) fn data_dir(&self) -> &Path {
        Path::new(&self.data_dir.0)
    }
}

fn read<T: SettingValue>(key: &Key, raw: &Raw) -> Result<T, BadValue> {
    let value = T::from_raw(raw)?;
    if let Some((least, greatest)) = key.bounds {
        let outside =
            |bound: &str, side: Ordering| T::from_raw(&Raw::Text(bound.to_owned())).is_ok_and(|bound| value.compare(&bound) == Some(side));
        if outside(least, Ordering::Less) || outside(greatest, Ordering::Greater) {
            return Err(BadValue::new(format!("is not between {least} and {greatest}")));
        }
    }
    Ok(value)
}

/// The value as it was written, short enough for a message and free of control characters.
fn written(raw: &Raw) -> String {
    let text = match raw {
        Raw::Text(text) => text.clone(),
        Raw::List(items) => format!("[{}]", items.join(", ")),
    };
    text.chars().take(100).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
