//! What came from elsewhere, made fit for a terminal.

use certctl_domain::x509::deceptive;

/// The text with control, bidirectional and invisible characters spelled out, so that data cannot move the cursor or hide text.
/// Line ends and tabs become blanks: a value is one line.
pub(crate) fn plain(text: &str) -> String {
    let mut buffer = [0; 4];
    text.chars().fold(String::with_capacity(text.len()), |mut plain, c| {
        match c {
            '\n' | '\t' => plain.push(' '),
            '\r' => {}
            c if deceptive(c.encode_utf8(&mut buffer)).is_some() => plain.extend(c.escape_unicode()),
            c => plain.push(c),
        }
        plain
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_drive_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\r\nc\u{202e}"), r"a\u{1b}[31mb c\u{202e}");
        assert_eq!(plain("Zürich — ok"), "Zürich — ok");
    }
}
