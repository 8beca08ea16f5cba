//! Reads the text of a HAProxy configuration into lines of words, with the place of each word in the text, so that single
//! words can be replaced and the rest stays as it was written.

use std::ops::Range;

/// The words of one line; a line that ends in a backslash goes on in the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it begins, counted from 1.
    pub(super) number: usize,
    /// Never empty.
    pub(super) words: Vec<Word>,
}

/// One word: its meaning, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

impl Line {
    /// The text of the word at this place; empty when there is none.
    pub(super) fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", |word| word.text.as_str())
    }

    /// Whether this is one of the line's words.
    pub(super) fn has(&self, text: &str) -> bool {
        self.words.iter().any(|word| word.text == text)
    }
}

/// Reads a whole file. What HAProxy would refuse is read somehow; its own test complains.
pub(super) fn parse(text: &str) -> Vec<Line> {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0, line: 1 };
    let mut lines = Vec::new();
    while reader.peek().is_some() {
        let line = reader.line();
        if !line.words.is_empty() {
            lines.push(line);
        }
    }
    lines
}

/// A word that HAProxy reads as this text, whatever is in it.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// Replaces parts of a text.
pub(super) fn apply(text: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(span, _)| span.start);
    let mut new = String::with_capacity(text.len());
    let mut done = 0;
    for (span, replacement) in edits {
        new.push_str(text.get(done..span.start).unwrap_or_default());
        new.push_str(&replacement);
        done = span.end;
    }
    new.push_str(text.get(done..).unwrap_or_default());
    new
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

impl Reader<'_> {
    fn line(&mut self) -> Line {
        let number = self.line;
        let mut words = Vec::new();
        loop {
            match self.peek() {
                None => break,
                Some(b'\n') => {
                    self.step();
                    break;
                }
                Some(b' ' | b'\t' | b'\r') => self.step(),
                Some(b'#') => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.step();
                    }
                }
                Some(b'\\') if self.bytes.get(self.at + 1) == Some(&b'\n') => {
                    self.step();
                    self.step();
                }
                Some(_) => words.push(self.word()),
            }
        }
        Line { number, words }
    }

    fn word(&mut self) -> Word {
        let start = self.at;
        let mut meaning = Vec::new();
        let mut quote = None;
        while let Some(byte) = self.peek() {
            match (byte, quote) {
                (b'\n', _) | (b' ' | b'\t' | b'\r' | b'#', None) => break,
                (b'"' | b'\'', None) => quote = Some(byte),
                (_, Some(open)) if byte == open => quote = None,
                // Within single quotes a backslash is a backslash.
                (b'\\', None | Some(b'"')) => {
                    if self.bytes.get(self.at + 1) == Some(&b'\n') && quote.is_none() {
                        break;
                    }
                    self.step();
                    match self.peek() {
                        None | Some(b'\n') => break,
                        Some(b'n') => meaning.push(b'\n'),
                        Some(b'r') => meaning.push(b'\r'),
                        Some(b't') => meaning.push(b'\t'),
                        Some(escaped) => meaning.push(escaped),
                    }
                }
                _ => meaning.push(byte),
            }
            self.step();
        }
        Word { text: String::from_utf8_lossy(&meaning).into_owned(), span: start..self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn step(&mut self) {
        if self.peek() == Some(b'\n') {
            self.line += 1;
        }
        self.at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        parse(text).into_iter().map(|line| line.words.into_iter().map(|word| word.text).collect()).collect()
    }

    #[test]
    fn reads_what_haproxy_reads() {
        for (text, meaning) in [
            ("", &[][..]),
            ("# only a comment\n\n  \n", &[]),
            ("bind :443 ssl crt /a.pem # why", &[&["bind", ":443", "ssl", "crt", "/a.pem"][..]]),
            ("a 1\r\n\tb 2", &[&["a", "1"], &["b", "2"]]),
            ("crt /a\\ b.pem", &[&["crt", "/a b.pem"]]),
            ("crt \"/a b\"'.p\\em'", &[&["crt", "/a b.p\\em"]]),
            ("crt \"/a\\\"#b\" x\\#y", &[&["crt", "/a\"#b", "x#y"]]),
            ("bind :443 \\\n  ssl\\\n crt /a", &[&["bind", ":443", "ssl", "crt", "/a"]]),
            ("log-format \"%ci \\\"x\\\"\"", &[&["log-format", "%ci \"x\""]]),
            ("broken \"quote\nnext", &[&["broken", "quote"], &["next"]]),
        ] {
            assert_eq!(words(text), meaning.iter().map(|line| line.to_vec()).collect::<Vec<_>>(), "{text:?}");
        }
    }

    #[test]
    fn spans_lead_back_to_the_text_and_replacements_are_read_as_meant() {
        let text = "# x\nbind :443 ssl crt \"/é b.pem\" alpn h2\n";
        let line = parse(text).remove(0);
        assert_eq!((line.number, line.word(4), line.word(9)), (2, "/é b.pem", ""));
        let odd = "/a \"b\\ $c #'d";
        let new = apply(text, vec![(line.words[4].span.clone(), quote(odd))]);
        assert_eq!(words(&new), [["bind", ":443", "ssl", "crt", odd, "alpn", "h2"]]);
    }

    #[test]
    fn any_text_is_read() {
        let text = "global\n crt-base \"/é\\\" x\" \\\n y 'z\\\n' \\";
        for cut in (0..=text.len()).filter_map(|end| text.get(..end)) {
            for line in parse(cut) {
                assert!(line.words.iter().all(|word| cut.get(word.span.clone()).is_some()), "{cut:?}");
            }
        }
    }
}
