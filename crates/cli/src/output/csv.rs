//! Comma-separated values (RFC 4180), with the server's own values: times are not made relative.

use super::each;
use crate::doc::{self, Doc};
use crate::noun::{Column, Show};
use crate::output::terminal::plain;

/// The rows, with the heads of columns before the first ones.
pub(super) fn render(columns: &[&Column], rows: &[Doc], first: bool) -> String {
    let head = first.then(|| line(columns.iter().map(|column| column.path.to_owned())));
    let rows = rows.iter().map(|row| {
        line(columns.iter().map(|column| match column.show {
            Show::Text | Show::Status | Show::Time => doc::text(row, column.path),
            Show::Each(field) => each(row, column.path, field),
        }))
    });
    head.into_iter().chain(rows).collect()
}

fn line(values: impl Iterator<Item = String>) -> String {
    let values: Vec<String> = values.map(|value| quoted(&value)).collect();
    values.join(",") + "\r\n"
}

fn quoted(value: &str) -> String {
    let value = plain(value);
    // A spreadsheet would run what begins like a formula; the quote mark makes it text.
    let value = if value.starts_with(['=', '+', '-', '@']) && value.parse::<f64>().is_err() { format!("'{value}") } else { value };
    if value.contains([',', '"']) { format!("\"{}\"", value.replace('"', "\"\"")) } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noun::{each, text, time};

    #[test]
    fn values_are_quoted_and_cannot_be_formulas() {
        let columns = [text("NAME", "name"), time("AT", "at"), each("ROLES", "roles", "role_id")];
        let rows: Vec<Doc> = serde_json::from_str(
            r#"[{"name": "a, \"b\"", "at": "2026-01-01T00:00:00Z", "roles": [{"role_id": "r-1"}, {"role_id": "r-2"}]},
                {"name": "=cmd()", "at": null, "roles": []}, {"name": -3}]"#,
        )
        .unwrap();
        insta::assert_snapshot!(render(&columns.iter().collect::<Vec<_>>(), &rows, true).replace('\r', ""), @r#"
        name,at,roles
        "a, ""b""",2026-01-01T00:00:00Z,"r-1, r-2"
        '=cmd(),,
        -3,,
        "#);
    }
}
