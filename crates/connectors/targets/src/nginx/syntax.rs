//! Reads the text of an nginx configuration into directives, with the place of each in the text, so that single arguments
//! can be replaced and the rest stays as it was written.

use std::ops::Range;

/// One directive: a name, its arguments, perhaps a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) args: Vec<Word>,
    /// From the name to the `;` or to the closing brace.
    pub(super) span: Range<usize>,
    pub(super) line: usize,
    pub(super) block: Option<Vec<Directive>>,
}

/// One argument: its meaning, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

/// Why a text is not a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub(super) struct SyntaxError {
    line: usize,
    why: &'static str,
}

/// Reads a whole file.
pub(super) fn parse(text: &str) -> Result<Vec<Directive>, SyntaxError> {
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, line: 1 };
    let directives = reader.block(0)?;
    if reader.at < text.len() { Err(reader.fail("a `}` without its `{`")) } else { Ok(directives) }
}

const MAX_DEPTH: usize = 32;

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

impl Reader<'_> {
    /// Directives up to the end of the text or an unmatched `}`, which is left to the caller.
    fn block(&mut self, depth: usize) -> Result<Vec<Directive>, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(self.fail("blocks are nested too deeply"));
        }
        let mut directives = Vec::new();
        loop {
            self.skip_blank();
            match self.peek() {
                None | Some(b'}') => return Ok(directives),
                Some(b';' | b'{') => return Err(self.fail("a directive has no name")),
                Some(_) => directives.push(self.directive(depth)?),
            }
        }
    }

    fn directive(&mut self, depth: usize) -> Result<Directive, SyntaxError> {
        let (start, line) = (self.at, self.line);
        let name = self.word()?.text;
        let mut args = Vec::new();
        loop {
            self.skip_blank();
            match self.peek() {
                None => return Err(self.fail("the text ends within a directive")),
                Some(b';') => {
                    self.step();
                    return Ok(Directive { name, args, span: start..self.at, line, block: None });
                }
                Some(b'{') => {
                    self.step();
                    // Lua code follows rules of its own.
                    let block = if name.ends_with("_by_lua_block") { self.skip_lua()? } else { self.block(depth + 1)? };
                    if self.peek() != Some(b'}') {
                        return Err(self.fail("a block is not closed"));
                    }
                    self.step();
                    return Ok(Directive { name, args, span: start..self.at, line, block: Some(block) });
                }
                Some(b'}') => return Err(self.fail("a directive is not ended by `;`")),
                Some(_) => args.push(self.word()?),
            }
        }
    }

    fn word(&mut self) -> Result<Word, SyntaxError> {
        let start = self.at;
        let quote = self.peek().filter(|b| matches!(b, b'"' | b'\''));
        if quote.is_some() {
            self.step();
        }
        let mut meaning = Vec::new();
        loop {
            match (self.peek(), quote) {
                (None, _) => return Err(self.fail("the text ends within a word")),
                (Some(b), Some(q)) if b == q => {
                    self.step();
                    break;
                }
                (Some(b' ' | b'\t' | b'\r' | b'\n' | b';'), None) => break,
                // `${name}` is a variable, not the begin of a block.
                (Some(b'{'), None) if meaning.last() != Some(&b'$') => break,
                (Some(b'\\'), _) => {
                    self.step();
                    let Some(escaped) = self.peek() else {
                        return Err(self.fail("the text ends within a word"));
                    };
                    match escaped {
                        b'"' | b'\'' | b'\\' => meaning.push(escaped),
                        b't' => meaning.push(b'\t'),
                        b'r' => meaning.push(b'\r'),
                        b'n' => meaning.push(b'\n'),
                        other => meaning.extend([b'\\', other]),
                    }
                    self.step();
                }
                (Some(b), _) => {
                    meaning.push(b);
                    self.step();
                }
            }
        }
        Ok(Word { text: String::from_utf8_lossy(&meaning).into_owned(), span: start..self.at })
    }

    /// Passes Lua code up to the brace that closes its block.
    fn skip_lua(&mut self) -> Result<Vec<Directive>, SyntaxError> {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'}' if depth == 0 => return Ok(Vec::new()),
                b'}' => depth -= 1,
                b'{' => depth += 1,
                b'"' | b'\'' => {
                    self.step();
                    while let Some(inner) = self.peek().filter(|inner| *inner != byte && *inner != b'\n') {
                        if inner == b'\\' {
                            self.step();
                        }
                        self.step();
                    }
                }
                b'-' if self.rest().starts_with("--") => {
                    while self.peek().is_some_and(|b| b != b'\n') {
                        self.step();
                    }
                }
                _ => {}
            }
            self.step();
        }
        Err(self.fail("a Lua block is not closed"))
    }

    fn skip_blank(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.step(),
                b'#' => {
                    while self.peek().is_some_and(|b| b != b'\n') {
                        self.step();
                    }
                }
                _ => return,
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn step(&mut self) {
        if self.peek() == Some(b'\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    const fn fail(&self, why: &'static str) -> SyntaxError {
        SyntaxError { line: self.line, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(directives: &[Directive]) -> String {
        let one = |d: &Directive| {
            let words: Vec<_> = std::iter::once(d.name.clone()).chain(d.args.iter().map(|a| format!("<{}>", a.text))).collect();
            let block = d.block.as_ref().map(|b| format!("{{{}}}", flat(b))).unwrap_or_default();
            format!("{}{block};", words.join(""))
        };
        directives.iter().map(one).collect()
    }

    #[test]
    fn reads_what_nginx_reads() {
        for (text, meaning) in [
            ("", ""),
            ("# only a comment", ""),
            ("daemon off;", "daemon<off>;"),
            ("a 1;b 2 ;\n\tc\t3;", "a<1>;b<2>;c<3>;"),
            ("http{server{listen 443 ssl;}}", "http{server{listen<443><ssl>;};};"),
            ("a \"x ; y\" 'it''s' \"q\\\"q\";", "a<x ; y><it><s><q\"q>;"),
            ("root /a#b; # c", "root</a#b>;"),
            ("set $x ${y}z;", "set<$x><${y}z>;"),
            ("location ~ \\.php$ { }", "location<~><\\.php$>{};"),
            ("return 301 https://$host$request_uri;", "return<301><https://$host$request_uri>;"),
            ("if ($a = b) { deny all; }", "if<($a><=><b)>{deny<all>;};"),
            ("types { text/html html htm; }", "types{text/html<html><htm>;};"),
            ("content_by_lua_block { if a { } -- }\n s = \"}\" } x 1;", "content_by_lua_block{};x<1>;"),
            ("log_format j '{\"a\":\"$b\"}' ';';", "log_format<j><{\"a\":\"$b\"}><;>;"),
        ] {
            assert_eq!(flat(&parse(text).unwrap()), meaning, "{text}");
        }
    }

    #[test]
    fn spans_lead_back_to_the_text() {
        let text = "http {\n  ssl_certificate  \"/a b.pem\" ;\n}";
        let http = parse(text).unwrap().remove(0);
        let directive = &http.block.as_ref().unwrap()[0];
        assert_eq!(text.get(directive.span.clone()).unwrap(), "ssl_certificate  \"/a b.pem\" ;");
        assert_eq!(text.get(directive.args[0].span.clone()).unwrap(), "\"/a b.pem\"");
        assert_eq!((directive.line, directive.args[0].text.as_str()), (2, "/a b.pem"));
    }

    #[test]
    fn broken_text_is_refused_with_its_line() {
        for (text, line) in [("a", 1), ("\na {", 2), ("a 1;\n}", 2), ("a \"x", 1), (";", 1), ("{", 1), ("a }", 1), ("x_by_lua_block {", 1)]
        {
            assert_eq!(parse(text).unwrap_err().line, line, "{text:?}");
        }
        assert!(parse(&"a{".repeat(100_000)).unwrap_err().to_string().contains("deep"));
    }

    #[test]
    fn any_text_is_read_or_refused() {
        // Every cut of a real configuration: no panic, no endless loop.
        let text = "user www-data;\nhttp { include mime.types; server { listen [::]:443 ssl; server_name \"a\\\"b\" ~^x$; ssl_certificate /é.pem; } }";
        for cut in (0..=text.len()).filter_map(|end| text.get(..end)) {
            if let Ok(directives) = parse(cut) {
                assert!(directives.iter().all(|directive| cut.get(directive.span.clone()).is_some()));
            }
        }
    }
}
