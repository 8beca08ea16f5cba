//! The one way to the terminal: data to standard output, everything else to standard error.

mod csv;
mod record;
mod table;
pub(crate) mod terminal;

use std::io::{self, Write as _};

use certctl_domain::time::Timestamp;
use serde::Serialize;

use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::noun::{Column, Noun};

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table for people; one object as lines of field and value
    Table,
    /// A table with more columns
    Wide,
    /// The server's document as JSON
    Json,
    /// The server's document as YAML
    Yaml,
    /// Names alone, one a line, to feed other commands
    Name,
    /// All columns with commas, for spreadsheets (RFC 4180)
    Csv,
    /// One JSON object a line
    Ndjson,
}

/// What a table is made to fit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// The instant to which times refer.
    pub(crate) now: Timestamp,
    /// Columns of the terminal; `None` when the output goes elsewhere.
    pub(crate) columns: Option<u16>,
    /// Whether colors are wanted.
    pub(crate) color: bool,
}

/// Prints.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) look: Look,
    /// Whether notes and progress are kept to oneself.
    pub(crate) quiet: bool,
    /// Whether standard error is a terminal on which a line can be drawn again.
    pub(crate) live: bool,
}

impl Output {
    /// Whether rows are printed as they come, page by page.
    pub(crate) const fn streams(&self) -> bool {
        matches!(self.format, Format::Name | Format::Csv | Format::Ndjson)
    }

    /// Whether people read what is printed.
    pub(crate) const fn is_for_people(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Prints the rows of one page; the first page brings the heads of columns.
    pub(crate) fn rows(&self, noun: &Noun, rows: &[Doc], first: bool) -> Result<(), Failure> {
        self.write(&self.rows_text(noun, rows, first)?)
    }

    /// Prints a whole list.
    pub(crate) fn page(&self, noun: &Noun, page: &Doc) -> Result<(), Failure> {
        self.write(&self.page_text(noun, page)?)
    }

    /// Prints one object.
    pub(crate) fn one(&self, noun: &Noun, doc: &Doc) -> Result<(), Failure> {
        self.write(&self.one_text(noun, doc)?)
    }

    /// A whole list as it is printed.
    pub(crate) fn page_text(&self, noun: &Noun, page: &Doc) -> Result<String, Failure> {
        match self.format {
            Format::Json | Format::Yaml => self.document_text(page),
            Format::Table | Format::Wide | Format::Name | Format::Csv | Format::Ndjson => self.rows_text(noun, doc::rows(page), true),
        }
    }

    /// One object as it is printed.
    pub(crate) fn one_text(&self, noun: &Noun, doc: &Doc) -> Result<String, Failure> {
        match self.format {
            Format::Json | Format::Yaml => self.document_text(doc),
            Format::Name | Format::Csv | Format::Ndjson => self.rows_text(noun, std::slice::from_ref(doc), true),
            Format::Table | Format::Wide => Ok(record::render(noun, doc, &self.look)),
        }
    }

    /// Prints an answer that is no noun: text for people, or the document itself.
    pub(crate) fn answer(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            Format::Table | Format::Wide | Format::Name | Format::Csv => self.write(&text()),
            Format::Json | Format::Yaml | Format::Ndjson => self.write(&self.document_text(document)?),
        }
    }

    /// As [`Output::answer`], for a secret that is never shown again: that nobody reads it is a failure then. `undo` makes it useless.
    pub(crate) fn secret(&self, document: &impl Serialize, text: impl FnOnce() -> String, undo: &str) -> Result<(), Failure> {
        self.answer(document, text).map_err(|failure| {
            let why = match &failure {
                Failure::Local { source, .. } => format!("{failure} ({source})"),
                other => other.to_string(),
            };
            let message = format!("the secret was made and could not be shown: {why}");
            Failure::Unseen { message, hint: format!("make it useless: {undo}; then make another") }
        })
    }

    /// Writes to standard output, as it is.
    pub(crate) fn write(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::NobodyReads,
            _ => Failure::local("cannot write to standard output")(error),
        })
    }

    fn rows_text(&self, noun: &Noun, rows: &[Doc], first: bool) -> Result<String, Failure> {
        let narrow = || noun.columns.iter().filter(|column| !column.wide).collect::<Vec<&Column>>();
        let every = || noun.columns.iter().collect::<Vec<&Column>>();
        Ok(match self.format {
            Format::Table => table::render(&narrow(), rows, &self.look),
            Format::Wide => table::render(&every(), rows, &self.look),
            Format::Csv => csv::render(&every(), rows, first),
            Format::Name => rows.iter().map(|row| terminal::plain(&doc::text(row, noun.handle)) + "\n").collect(),
            Format::Json | Format::Yaml | Format::Ndjson => {
                let lines: Result<String, _> = rows.iter().map(|row| serde_json::to_string(row).map(|line| line + "\n")).collect();
                lines.map_err(unreadable)?
            }
        })
    }

    fn document_text(&self, document: &impl Serialize) -> Result<String, Failure> {
        match self.format {
            Format::Yaml => serde_norway::to_string(document).map_err(unreadable),
            Format::Ndjson => serde_json::to_string(document).map(|line| line + "\n").map_err(unreadable),
            Format::Json | Format::Table | Format::Wide | Format::Name | Format::Csv => {
                serde_json::to_string_pretty(document).map(|text| text + "\n").map_err(unreadable)
            }
        }
    }

    /// Says something beside the data.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }

    /// Says something that matters even in silence.
    pub(crate) fn warn(&self, text: &str) {
        say(&format!("warning: {text}"));
    }
}

/// Writes a line to standard error. When nobody reads that, nobody can be told.
pub(crate) fn say(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

fn unreadable(error: impl ToString) -> Failure {
    Failure::Answer(error.to_string())
}

/// How a column shows its field of a row, for people.
fn cell(column: &Column, row: &Doc, now: Timestamp) -> String {
    use crate::noun::Show;
    let text = match column.show {
        Show::Text | Show::Status => doc::text(row, column.path),
        Show::Time => {
            let text = doc::text(row, column.path);
            text.parse().map_or(text, |at| crate::span::relative(at, now))
        }
        Show::Each(field) => each(row, column.path, field),
    };
    let text = terminal::plain(&text);
    if text.is_empty() { NOTHING.to_owned() } else { text }
}

fn each(row: &Doc, path: &str, field: &str) -> String {
    let values = doc::at(row, path).and_then(Doc::as_sequence).map(Vec::as_slice).unwrap_or_default();
    values.iter().map(|value| doc::at(value, field).map_or_else(|| doc::shown(value), doc::shown)).collect::<Vec<_>>().join(", ")
}

/// Stands where there is nothing.
const NOTHING: &str = "-";
