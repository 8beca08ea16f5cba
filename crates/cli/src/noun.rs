//! What a noun is to this program: where it lies in the API, what its table shows, and the flags that find, make and change it.
//!
//! Everything else (list, get, create, edit, delete) is written once, in `crud`.

/// A noun of the API.
#[derive(Debug)]
pub(crate) struct Noun {
    /// The word on the command line: `policies`.
    pub(crate) command: &'static str,
    /// One of them: `renewal policy`.
    pub(crate) one: &'static str,
    /// Several of them: `renewal policies`.
    pub(crate) many: &'static str,
    /// Where the API lists them.
    pub(crate) path: &'static str,
    /// The field by which people call one: `name`, or `id` where names need not be unique.
    pub(crate) handle: &'static str,
    /// What its table shows.
    pub(crate) columns: &'static [Column],
    /// What is shown of one beside the columns.
    pub(crate) details: &'static [Column],
    /// What a list can be narrowed to.
    pub(crate) filters: &'static [Flag],
    /// What a list can be sorted by.
    pub(crate) sorts: &'static [&'static str],
    /// What can be given to make or change one.
    pub(crate) fields: &'static [Flag],
    /// What can be done with it, of what all nouns have in common.
    pub(crate) verbs: &'static [Verb],
    /// One for the examples.
    pub(crate) example: &'static str,
    /// Flags of an example that makes one.
    pub(crate) create_example: &'static str,
    /// Flags of an example that changes one.
    pub(crate) edit_example: &'static str,
    /// What to do when there is none.
    pub(crate) empty: &'static str,
}

/// A noun as a type, so that the commands of each are one of their own.
pub(crate) trait Known: 'static {
    /// The noun.
    const NOUN: &'static Noun;
}

/// What all nouns can have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// `GET path`
    List,
    /// `GET path/{id}`
    Get,
    /// `POST path`
    Create,
    /// `PATCH path/{id}`
    Edit,
    /// `DELETE path/{id}`
    Delete,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// Its head.
    pub(crate) header: &'static str,
    /// The field, with dots for nested ones.
    pub(crate) path: &'static str,
    /// How its value is shown.
    pub(crate) show: Show,
    /// Whether it is only in wide tables.
    pub(crate) wide: bool,
}

/// How a value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// As it is.
    Text,
    /// As a word that says how well it goes.
    Status,
    /// As a time from now.
    Time,
    /// This field of each object in a list; texts in the list as they are.
    Each(&'static str),
}

/// A flag that fills a field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// `--name`
    pub(crate) name: &'static str,
    /// The field of the request, or the parameter of the query.
    pub(crate) field: &'static str,
    /// What it takes.
    pub(crate) takes: Takes,
    /// For the help text.
    pub(crate) help: &'static str,
    /// Whether nothing can be made without it.
    pub(crate) required: bool,
}

/// What a flag takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Takes {
    /// Text.
    Text,
    /// A subject alternative name; may be given several times.
    Sans,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any of these words; may be given several times.
    Choices(&'static [&'static str]),
    /// Texts; may be given several times.
    Texts,
    /// A whole number.
    Number,
    /// Whole numbers with commas between them.
    Numbers,
    /// Nothing for yes, or `true` or `false`.
    Bool,
    /// A length of time, sent in seconds.
    Seconds,
    /// A length of time from now, sent as the instant.
    FromNow,
    /// An instant, or a length of time before now, sent as the instant.
    Past,
    /// `key=value` with values of text; may be given several times.
    Labels,
    /// `key=value` with values of any kind; may be given several times.
    Settings,
    /// Another noun, by id or name.
    One(&'static Kind),
    /// Other nouns, by id or name; may be given several times.
    Many(&'static Kind),
    /// A rule such as `ECDSA` or `RSA:3072`; may be given several times.
    KeyRules,
}

/// Where a noun that another one refers to is found.
#[derive(Debug)]
pub(crate) struct Kind {
    /// One of them.
    pub(crate) one: &'static str,
    /// The word on the command line.
    pub(crate) command: &'static str,
    /// Where the API lists them.
    pub(crate) path: &'static str,
}

/// A column of text.
pub(crate) const fn text(header: &'static str, path: &'static str) -> Column {
    Column { header, path, show: Show::Text, wide: false }
}

/// A column that says how well it goes.
pub(crate) const fn status(header: &'static str, path: &'static str) -> Column {
    Column { header, path, show: Show::Status, wide: false }
}

/// A column with a time.
pub(crate) const fn time(header: &'static str, path: &'static str) -> Column {
    Column { header, path, show: Show::Time, wide: false }
}

/// A column with one field of each object in a list.
pub(crate) const fn each(header: &'static str, path: &'static str, field: &'static str) -> Column {
    Column { header, path, show: Show::Each(field), wide: false }
}

/// A flag.
pub(crate) const fn flag(name: &'static str, field: &'static str, takes: Takes, help: &'static str) -> Flag {
    Flag { name, field, takes, help, required: false }
}

impl Flag {
    /// Nothing can be made without it.
    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

impl Column {
    /// Only in wide tables.
    pub(crate) const fn wide(mut self) -> Self {
        self.wide = true;
        self
    }
}
