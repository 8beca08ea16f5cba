//! What comes in beside flags: files, standard input, and answers to a question.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::path::Path;

use certctl_domain::secret::Secret;
use serde_json::Value;

use crate::failure::Failure;

/// The text of a file, or of standard input for `-`.
pub(crate) fn text(file: &Path) -> Result<String, Failure> {
    let read = if file == Path::new("-") { limited(io::stdin().lock()) } else { std::fs::File::open(file).and_then(limited) };
    read.map_err(Failure::local(format!("cannot read {}", named(file))))
}

/// The secret in a file or on standard input, without the line end.
pub(crate) fn secret(file: &Path) -> Result<Secret<String>, Failure> {
    let secret = text(file)?.trim().to_owned();
    if secret.is_empty() || secret.contains(char::is_whitespace) {
        return Err(Failure::usage(format!("{} does not hold one API key", named(file))).hint("put the key alone into it, on one line"));
    }
    Ok(Secret::new(secret))
}

/// The password in a file or on standard input: its first line, which may have blanks in it.
pub(crate) fn password(file: &Path) -> Result<Secret<String>, Failure> {
    let text = Secret::new(text(file)?);
    let line = text.expose().lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(Failure::usage(format!("{} holds no password in its first line", named(file))));
    }
    Ok(Secret::new(line.to_owned()))
}

/// A JSON or YAML object in a file or on standard input. JSON is YAML.
pub(crate) fn object(file: &Path) -> Result<serde_json::Map<String, Value>, Failure> {
    let fail = |why: &str| Failure::usage(format!("{} is not a JSON or YAML object: {why}", named(file)));
    match serde_norway::from_str(&text(file)?) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(fail("it is another kind of value")),
        Err(error) => Err(fail(&error.to_string())),
    }
}

/// Asks for a secret at the terminal, without showing it.
pub(crate) fn ask_secret(question: &str) -> Result<Secret<String>, Failure> {
    let fail = |error| Failure::local("cannot read from the terminal")(error);
    let mut terminal = console::Term::stderr();
    write!(terminal, "{question}").and_then(|()| terminal.flush()).map_err(fail)?;
    let secret = terminal.read_secure_line().map_err(fail)?.trim().to_owned();
    if secret.is_empty() { Err(Failure::usage("no API key was given")) } else { Ok(Secret::new(secret)) }
}

/// Asks for a yes at the terminal; anything else is a no.
pub(crate) fn ask_yes(question: &str) -> Result<bool, Failure> {
    let fail = |error| Failure::local("cannot read from the terminal")(error);
    let mut terminal = io::stderr().lock();
    write!(terminal, "{question} [y/N] ").and_then(|()| terminal.flush()).map_err(fail)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(fail)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn named(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}

fn limited(source: impl io::Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(MAX_INPUT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_INPUT { Err(io::Error::other("it is larger than 4 MiB")) } else { Ok(text) }
}

const MAX_INPUT: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Readers, write};

    fn file(content: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in");
        write(&path, content.as_bytes(), Readers::Owner).unwrap();
        (folder, path)
    }

    #[test]
    fn a_password_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for (content, password) in [("with a blank \nand more", "with a blank "), ("Größe\r\n", "Größe")] {
            crate::files::write(&path, content.as_bytes(), crate::files::Readers::Owner).unwrap();
            assert_eq!(super::password(&path).unwrap().expose(), password);
        }
        crate::files::write(&path, b"\nsecond", crate::files::Readers::Owner).unwrap();
        assert_eq!(super::password(&path).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_secret_is_one_word() {
        assert_eq!(secret(Path::new("/does/not/exist")).unwrap_err().exit_code(), 1);
        let (_folder, path) = file(" ck_1_x \n");
        assert_eq!(secret(&path).unwrap().expose(), "ck_1_x");
        for content in ["", "\n", "one two", "one\ntwo\n"] {
            let (_folder, path) = file(content);
            assert_eq!(secret(&path).unwrap_err().exit_code(), 2, "{content:?}");
        }
    }

    #[test]
    fn json_and_yaml_are_read_alike() {
        let (_folder, json) = file(r#"{"name": "a", "tags": {"k": "v"}, "n": 3}"#);
        let (_folder2, yaml) = file("name: a\ntags:\n  k: v\nn: 3\n");
        assert_eq!(object(&json).unwrap(), object(&yaml).unwrap());
        let (_folder3, list) = file("[1]");
        assert!(object(&list).unwrap_err().told().contains("another kind"));
    }

    #[test]
    fn a_huge_file_is_refused() {
        let (_folder, path) = file(&"a".repeat(4 * 1024 * 1024 + 1));
        assert!(text(&path).unwrap_err().told().contains("4 MiB"));
    }
}
