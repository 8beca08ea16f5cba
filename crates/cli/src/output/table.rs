//! Tables for people: no borders, columns as wide as they need to be, wrapped to the terminal.

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table};

use super::{Look, cell};
use crate::doc::Doc;
use crate::noun::{Column, Show};

/// The table; nothing when there are no rows.
pub(super) fn render(columns: &[&Column], rows: &[Doc], look: &Look) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).force_no_tty();
    if let Some(width) = look.columns {
        table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
    }
    if look.color {
        table.enforce_styling();
    }
    table.set_header(columns.iter().map(|column| head(column.header, look)));
    for row in rows {
        table.add_row(columns.iter().map(|column| content(column, row, look)));
    }
    let widths = table.column_max_content_widths();
    for ((column, width), shown) in columns.iter().zip(widths).zip(table.column_iter_mut()) {
        shown.set_padding((0, 2));
        // Short words and times are read at a glance, and what names a thing is copied from here: they stay whole.
        let is_short = matches!(column.show, Show::Status | Show::Time) || matches!(column.path, "id" | "name");
        if is_short && width <= LONGEST_WHOLE {
            shown.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt() + "\n"
}

/// The color that goes with a word which says how well something goes. The word says it all; the color only helps to find it.
pub(super) fn color(word: &str) -> Option<Color> {
    match word {
        "Active" | "Completed" | "Online" | "ok" | "current" | "true" => Some(Color::Green),
        "Pending" | "Expiring" | "RenewalInProgress" | "AwaitingCSR" | "AwaitingApproval" | "Running" | "Degraded" | "untested" => {
            Some(Color::Yellow)
        }
        "Failed" | "Expired" | "Revoked" | "Offline" | "failed" => Some(Color::Red),
        "Archived" | "Cancelled" | "superseded" | "retired" => Some(Color::DarkGrey),
        _ => None,
    }
}

fn head(text: &str, look: &Look) -> Cell {
    let cell = Cell::new(text);
    if look.color { cell.add_attribute(Attribute::Bold) } else { cell }
}

fn content(column: &Column, row: &Doc, look: &Look) -> Cell {
    let text = cell(column, row, look.now);
    let color = if look.color && column.show == Show::Status { color(&text) } else { None };
    let cell = Cell::new(text);
    match color {
        Some(color) => cell.fg(color),
        None => cell,
    }
}

/// An id with its prefix fits; a name may be longer, and then it is wrapped.
const LONGEST_WHOLE: u16 = 48;
