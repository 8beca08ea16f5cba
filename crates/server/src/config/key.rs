//! One row of the table of settings, and the macro that turns the table into structs, reader and reference.

/// What is known about one setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Section and name, as in the TOML file: `database.url`.
    pub path: &'static str,
    /// The environment variable.
    pub env: &'static str,
    /// The kind of value, for the reference.
    pub kind: &'static str,
    /// What it is when nobody gives it.
    pub preset: Preset,
    /// Least and greatest value, as text.
    pub bounds: Option<(&'static str, &'static str)>,
    /// The flag, without its dashes.
    pub flag: Option<&'static str>,
    /// Whether the value must never be shown.
    pub secret: bool,
    /// Whether the value may also be read from a file of its own: `<env>_FILE`, `<path>_file`.
    pub file: bool,
    /// What it is for.
    pub doc: &'static str,
}

/// What a setting is when nobody gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// This text, read like any other.
    Text(&'static str),
    /// Nothing; the type can be without a value.
    Unset,
    /// A directory that depends on how the server was started.
    DataDir,
    /// An SQLite file in the data directory.
    DatabaseInDataDir,
}

impl Key {
    pub(super) const BASE: Self =
        Self { path: "", env: "", kind: "", preset: Preset::Unset, bounds: None, flag: None, secret: false, file: false, doc: "" };

    /// `database`
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(section, _)| section)
    }

    /// `url`
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The variable that names a file which holds the value.
    #[must_use]
    pub fn env_file(&self) -> Option<String> {
        self.file.then(|| format!("{}_FILE", self.env))
    }

    /// The TOML key that names a file which holds the value.
    #[must_use]
    pub fn path_file(&self) -> Option<String> {
        self.file.then(|| format!("{}_file", self.path))
    }
}

/// A section of the table, for the reference.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Its name in the TOML file.
    pub name: &'static str,
    /// What its settings are about.
    pub doc: &'static str,
}

/// Turns the table into one struct a section, [`Sections`], `SECTIONS`, `KEYS` and the function that reads them all.
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])*
        $section:ident: $Section:ident {
            $(
                $(#[doc = $doc:literal])*
                $field:ident: $ty:ty, $env:literal, $preset:expr $(, $option:ident = $value:expr)*;
            )*
        }
    )*) => {
        $(
            $(#[doc = $section_doc])*
            #[derive(Debug, Clone)]
            pub struct $Section {
                $( $(#[doc = $doc])* pub $field: $ty, )*
            }
        )*

        /// Every section; one is missing when a value in it is wrong.
        #[derive(Debug)]
        pub(super) struct Sections {
            $( pub(super) $section: Option<$Section>, )*
        }

        /// Reads every setting, even after one was wrong, so that all errors are found.
        pub(super) fn read(values: &mut $crate::config::resolve::Resolver) -> Sections {
            Sections { $(
                $section: {
                    $( let $field: Option<$ty> = values.take(&key!($section.$field: $ty, $env, $preset, ($($doc)*) $(, $option = $value)*)); )*
                    (|| Some($Section { $( $field: $field?, )* }))()
                },
            )* }
        }

        /// The sections in the order of the reference.
        pub const SECTIONS: &[Section] = &[ $( Section { name: stringify!($section), doc: concat!($($section_doc),*) }, )* ];

        /// Every setting in the order of the reference.
        pub const KEYS: &[Key] = &[ $( $( key!($section.$field: $ty, $env, $preset, ($($doc)*) $(, $option = $value)*), )* )* ];
    };
}

macro_rules! key {
    ($section:ident.$field:ident: $ty:ty, $env:literal, $preset:expr, ($($doc:literal)*) $(, $option:ident = $value:expr)*) => {
        Key {
            path: concat!(stringify!($section), ".", stringify!($field)),
            env: $env,
            kind: <$ty as SettingValue>::KIND,
            preset: $preset,
            doc: concat!($($doc),*),
            $( $option: $value, )*
            ..Key::BASE
        }
    };
}

pub(super) use {key, settings};
