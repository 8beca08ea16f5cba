//! One object for people: a line for each field.

use certctl_domain::time::Timestamp;

use super::{Look, NOTHING, cell};
use crate::doc::{self, Doc};
use crate::noun::{Column, Noun, Show};
use crate::output::terminal::plain;
use crate::span;

/// Its columns, then its details; what it does not have is left out.
pub(super) fn render(noun: &Noun, doc: &Doc, look: &Look) -> String {
    let columns: Vec<&Column> = noun.columns.iter().chain(noun.details).collect();
    let width = columns.iter().map(|column| column.header.len()).max().unwrap_or(0);
    columns.iter().fold(String::new(), |text, column| match value(column, doc, look.now) {
        Some(value) => text + &format!("{:width$}  {value}\n", column.header),
        None => text,
    })
}

fn value(column: &Column, doc: &Doc, now: Timestamp) -> Option<String> {
    if column.show == Show::Time {
        let text = doc::text(doc, column.path);
        return match text.parse() {
            Ok(at) => Some(format!("{} ({})", plain(&text), span::relative(at, now))),
            Err(_) => None,
        };
    }
    Some(cell(column, doc, now)).filter(|value| value != NOTHING)
}
