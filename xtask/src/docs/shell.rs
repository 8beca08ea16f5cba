//! What a shell would run: the words of each simple command in a text, as far as pages write them.

/// The commands of a script, each as its words. Comments, redirections and here-documents are left out; what stands in `$(...)` is a
/// command of its own, and the word it is part of keeps it as it is written.
pub(super) fn commands(script: &str) -> Vec<Vec<String>> {
    let mut reader = Reader { rest: without_documents(script), commands: Vec::new(), words: Vec::new(), word: None, skips: false };
    reader.read();
    reader.commands
}

/// The words behind assignments, `sudo` and the words of the shell itself; none when nothing is run.
pub(super) fn run_words(command: &[String]) -> &[String] {
    let mut words = command;
    loop {
        words = match words {
            [first, rest @ ..] if BEFORE_A_COMMAND.contains(&first.as_str()) || is_assignment(first) => rest,
            [first, option, rest @ ..] if first == "sudo" && option == "-u" => rest.get(1..).unwrap_or_default(),
            [first, rest @ ..] if first == "sudo" => rest,
            _ => return words,
        };
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// Lines of here-documents go to a program, not to the shell.
fn without_documents(script: &str) -> Vec<char> {
    let mut kept = String::new();
    let mut until: Option<String> = None;
    for line in script.lines() {
        if let Some(end) = &until {
            if line.trim() == end {
                until = None;
            }
            continue;
        }
        if let Some((_, word)) = line.split_once("<<") {
            let word: String = word.chars().skip_while(|c| "-'\"".contains(*c)).take_while(char::is_ascii_alphanumeric).collect();
            until = Some(word).filter(|word| !word.is_empty());
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept.chars().rev().collect()
}

/// Reads from the end of `rest` to its beginning: the script is kept the other way round.
struct Reader {
    rest: Vec<char>,
    commands: Vec<Vec<String>>,
    words: Vec<String>,
    word: Option<String>,
    /// Whether the next word is the target of a redirection.
    skips: bool,
}

impl Reader {
    fn read(&mut self) {
        while let Some(c) = self.rest.pop() {
            match c {
                '\\' => match self.rest.pop() {
                    Some('\n') | None => {}
                    Some(next) => self.push(next),
                },
                '\'' => {
                    self.word.get_or_insert_default();
                    while let Some(next) = self.rest.pop().filter(|next| *next != '\'') {
                        self.push(next);
                    }
                }
                '"' => self.quoted(),
                '$' if self.rest.last() == Some(&'(') => self.substitution(),
                '#' if self.word.is_none() => while self.rest.last().is_some_and(|next| *next != '\n') && self.rest.pop().is_some() {},
                ' ' | '\t' => self.end_word(),
                '>' | '<' => self.redirection(),
                '\n' | ';' | '|' | '&' | '(' | ')' | '{' | '}' if self.word.is_none() || !"{}".contains(c) => self.end_command(),
                other => self.push(other),
            }
        }
        self.end_command();
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn quoted(&mut self) {
        self.word.get_or_insert_default();
        while let Some(next) = self.rest.pop() {
            match next {
                '"' => return,
                '\\' => {
                    if let Some(escaped) = self.rest.pop().filter(|escaped| *escaped != '\n') {
                        self.push(escaped);
                    }
                }
                '$' if self.rest.last() == Some(&'(') => self.substitution(),
                other => self.push(other),
            }
        }
    }

    /// `$(...)`: its commands are read apart.
    fn substitution(&mut self) {
        let mut depth = 0;
        let mut inner = String::new();
        while let Some(next) = self.rest.pop() {
            depth += match next {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            inner.push(next);
            if depth == 0 {
                break;
            }
        }
        let script = inner.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(&inner);
        self.commands.extend(commands(script));
        let word = self.word.get_or_insert_default();
        word.push('$');
        word.push_str(&inner);
    }

    /// `2>&1`, `>file`, `<<EOF`: number and target are no words of the command.
    fn redirection(&mut self) {
        if self.word.as_ref().is_some_and(|word| word.chars().all(|c| c.is_ascii_digit())) {
            self.word = None;
        }
        self.end_word();
        while self.rest.last().is_some_and(|next| "><&-".contains(*next)) {
            self.rest.pop();
        }
        self.skips = true;
        while self.rest.last() == Some(&' ') {
            self.rest.pop();
        }
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take() {
            if self.skips {
                self.skips = false;
            } else {
                self.words.push(word);
            }
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.skips = false;
        let words = std::mem::take(&mut self.words);
        if !words.is_empty() {
            self.commands.push(words);
        }
    }
}

/// What may stand before a command, and is none.
const BEFORE_A_COMMAND: [&str; 13] = ["if", "then", "else", "elif", "while", "until", "do", "!", "time", "exec", "env", "export", "nohup"];

#[cfg(test)]
mod tests {
    use super::*;

    fn said(script: &str) -> Vec<String> {
        commands(script).iter().map(|words| words.join("|")).collect()
    }

    #[test]
    fn a_script_is_read_as_a_shell_reads_it() {
        assert_eq!(said("a b  # c\nd 'e f' \"g $h\" i\\ j\n"), ["a|b", "d|e f|g $h|i j"]);
        assert_eq!(said("a && b || c; d | e &\nf \\\n  g"), ["a", "b", "c", "d", "e", "f|g"]);
        assert_eq!(said("a > b 2>&1 < c d"), ["a|d"]);
        assert_eq!(said("x=$(a b | c) d \"$(e f)\""), ["a|b", "c", "e|f", "x=$(a b | c)|d|$(e f)"]);
        assert_eq!(said("a <<EOF\nno command\nEOF\nb"), ["a", "b"]);
        assert_eq!(said("a x#y ${z} -o=json"), ["a|x#y|${z}|-o=json"]);
    }

    #[test]
    fn what_is_run_stands_behind_what_is_not() {
        let run = |script: &str| run_words(&commands(script)[0]).join(" ");
        assert_eq!(run("A=b C=d certctl e"), "certctl e");
        assert_eq!(run("sudo -u certctl certctl-server migrate"), "certctl-server migrate");
        assert_eq!(run("if ! sudo certctl status"), "certctl status");
        assert_eq!(run("A=b"), "");
    }
}
