//! Migrations keep to expand and contract: what runs while older programs still serve only adds.
//!
//! No parser of SQL: statements are cut into words, which is enough for the shapes that a migration may have. What a rule takes for
//! an offence by mistake can be written another way.

use std::collections::BTreeSet;

use super::Offence;
use super::tree::Tree;

/// Every statement that older programs or their traffic would suffer from.
pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (path, text) in tree.ending(&[".sql"]).filter(|(path, _)| path.starts_with(FOLDER)) {
        let Some((class, body)) = head(text) else {
            offences.push(Offence::at(
                path,
                1,
                "begins with `-- class: expand`, `-- class: data`, or `-- class: contract` and below it `-- oldest program: N`",
            ));
            continue;
        };
        let twin = if path.contains("/sqlite/") { path.replace("/sqlite/", "/postgres/") } else { path.replace("/postgres/", "/sqlite/") };
        if tree.text(&twin).and_then(head).is_some_and(|(other, _)| other != class) {
            offences.push(Offence::at(path, 1, format!("is of another class than {twin}")));
        }
        let statements = statements(body);
        let new: BTreeSet<&str> = statements.iter().filter_map(|statement| made(statement)).collect();
        for statement in &statements {
            let found = if path.contains("/postgres/") { lock(statement) } else { None };
            let found = found.filter(|_| class == "contract").or_else(|| never(statement));
            let found = found.or_else(|| if class == "contract" { None } else { adds(statement, class, &new) });
            if let Some(what) = found {
                let shown: Vec<&str> = statement.iter().take(6).map(String::as_str).collect();
                offences.push(Offence::new(path, format!("`{} ...`: {what}", shown.join(" "))));
            }
        }
    }
    offences
}

/// The class, and what is run.
fn head(text: &str) -> Option<(&str, &str)> {
    let (class, rest) = text.strip_prefix("-- class: ")?.split_once('\n')?;
    match class {
        "expand" | "data" => Some((class, rest)),
        "contract" => {
            let (oldest, rest) = rest.strip_prefix("-- oldest program: ")?.split_once('\n')?;
            oldest.parse::<u32>().ok().map(|_| (class, rest))
        }
        _ => None,
    }
}

/// What no migration does.
fn never(statement: &[String]) -> Option<&'static str> {
    let first = statement.first().map_or("", String::as_str);
    if ["BEGIN", "COMMIT", "END", "ROLLBACK", "START", "SAVEPOINT", "RELEASE"].contains(&first) {
        return Some("a migration runs in one transaction together with its row; it has none of its own");
    }
    if statement.iter().any(|word| word == "CONCURRENTLY") {
        return Some("this cannot run in a transaction, and one that is cut off leaves an invalid index behind");
    }
    (first == "VACUUM" || first == "TRUNCATE").then_some("no migration does this")
}

/// What would hold a table of PostgreSQL for as long as it takes to read it.
fn lock(statement: &[String]) -> Option<&'static str> {
    let adds = alterations(statement).any(|action| {
        matches!(action, [add, rest @ ..] if add == "ADD" && rest.iter().any(|word| word == "CHECK" || word == "FOREIGN") && rest.first().is_some_and(|word| word != "COLUMN"))
            && !has(action, &["NOT", "VALID"])
    });
    adds.then_some("every row is read while the table is locked: add it NOT VALID, and validate it by a later migration")
}

/// What does more than add.
fn adds(statement: &[String], class: &str, new: &BTreeSet<&str>) -> Option<&'static str> {
    let words: Vec<&str> = statement.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["DROP", "TABLE" | "VIEW" | "MATERIALIZED" | "FUNCTION" | "SEQUENCE" | "TYPE" | "SCHEMA", ..] => {
            Some("older programs may use it: drop it by a contract migration, once no program that reads it can run")
        }
        ["CREATE", "UNIQUE", "INDEX", ..] if !on_new(&words, new) => Some("older programs may write rows that it refuses"),
        ["CREATE", "TRIGGER", ..] | ["CREATE", "CONSTRAINT", "TRIGGER", ..] | ["CREATE", "OR", "REPLACE", "TRIGGER", ..]
            if !on_new(&words, new) =>
        {
            Some("older programs may do what it refuses")
        }
        ["UPDATE" | "DELETE", ..] if class == "expand" => Some("it changes rows: the class is `data`"),
        ["ALTER", "TYPE", ..] if !has(statement, &["ADD", "VALUE"]) => Some("older programs read the type as it was"),
        _ => alterations(statement).find_map(|action| {
            let words: Vec<&str> = action.iter().map(String::as_str).collect();
            match words.as_slice() {
                ["RENAME", ..] => Some("older programs use the name: add another beside it"),
                ["DROP", "CONSTRAINT", ..] => None,
                ["DROP", ..] => Some("older programs may use it: drop it by a contract migration, once no program that reads it can run"),
                ["ALTER", ..] if words.contains(&"TYPE") => Some("older programs read the column as it was: add another beside it"),
                ["ALTER", ..] if has(action, &["SET", "NOT", "NULL"]) => Some("older programs may write NULL"),
                ["ALTER", ..] if has(action, &["DROP", "DEFAULT"]) => Some("older programs rely on the default"),
                ["ADD", "CONSTRAINT" | "CHECK" | "FOREIGN" | "UNIQUE" | "PRIMARY" | "EXCLUDE", ..] => {
                    Some("older programs may write rows that it refuses")
                }
                ["ADD", ..] if has(action, &["NOT", "NULL"]) && !words.contains(&"DEFAULT") => {
                    Some("older programs write rows without it: give it a DEFAULT")
                }
                ["ADD", ..] if words.contains(&"UNIQUE") || words.contains(&"CHECK") => {
                    Some("older programs may write rows that it refuses")
                }
                _ => None,
            }
        }),
    }
}

/// The actions of an ALTER TABLE, which commas part.
fn alterations(statement: &[String]) -> impl Iterator<Item = &[String]> {
    let altered = matches!(statement, [alter, table, ..] if alter == "ALTER" && table == "TABLE");
    // The first of these behind ALTER TABLE begins the first action.
    let verbs = ["ADD", "DROP", "ALTER", "RENAME"];
    let start = statement.iter().skip(2).position(|word| verbs.contains(&word.as_str())).map_or(statement.len(), |place| place + 2);
    let actions = if altered { statement.get(start..).unwrap_or_default() } else { &[] };
    let mut depth = 0_i32;
    actions
        .split(move |word| {
            depth += i32::from(word == "(") - i32::from(word == ")");
            word == "," && depth == 0
        })
        .filter(|action| !action.is_empty())
}

/// The table that a statement makes.
fn made(statement: &[String]) -> Option<&str> {
    let words: Vec<&str> = statement.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["CREATE", "TABLE", "IF", "NOT", "EXISTS", name, ..] | ["CREATE", "TABLE", name, ..] => Some(name),
        _ => None,
    }
}

/// Whether an index or a trigger is on a table that the same migration makes.
fn on_new(words: &[&str], new: &BTreeSet<&str>) -> bool {
    words.windows(2).any(|pair| matches!(pair, ["ON", name] if new.contains(name)))
}

fn has(words: &[String], sought: &[&str]) -> bool {
    words.windows(sought.len()).any(|window| window.iter().map(String::as_str).eq(sought.iter().copied()))
}

/// Statements as words in upper case, without comments and texts. The body of a trigger of SQLite belongs to its statement.
fn statements(text: &str) -> Vec<Vec<String>> {
    let mut statements = vec![Vec::new()];
    let mut rest = text;
    let mut in_body = false;
    while let Some(character) = rest.chars().next() {
        let current: &mut Vec<String> = match statements.last_mut() {
            Some(current) => current,
            None => break,
        };
        let taken = if rest.starts_with("--") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if character == '\'' {
            current.push("''".to_owned());
            quoted(rest, '\'')
        } else if character == '$' {
            let tag_end = rest.get(1..).and_then(|rest| rest.find('$')).map_or(rest.len(), |end| end + 2);
            let tag = rest.get(..tag_end).unwrap_or(rest);
            current.push("$$".to_owned());
            rest.get(tag_end..).and_then(|body| body.find(tag)).map_or(rest.len(), |end| tag_end + end + tag_end)
        } else if character == '"' {
            let end = quoted(rest, '"');
            current.push(rest.get(..end).unwrap_or(rest).trim_matches('"').to_uppercase());
            end
        } else if character.is_alphanumeric() || character == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let word = rest.get(..end).unwrap_or(rest).to_uppercase();
            // CREATE TRIGGER ... BEGIN ...; END;
            if current.iter().take(3).any(|word| word == "TRIGGER") {
                in_body = (in_body || word == "BEGIN") && word != "END";
            }
            current.push(word);
            end
        } else if character == ';' && !in_body {
            statements.push(Vec::new());
            1
        } else {
            if !character.is_whitespace() {
                current.push(character.to_string());
            }
            character.len_utf8()
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    statements.retain(|statement| !statement.is_empty());
    statements
}

/// Where a text in quotes ends; a doubled quote is part of it, and taken for two texts here.
fn quoted(text: &str, quote: char) -> usize {
    text.get(1..).and_then(|rest| rest.find(quote)).map_or(text.len(), |end| end + 2)
}

const FOLDER: &str = "crates/store/migrations/";

#[cfg(test)]
mod tests {
    use super::*;

    fn offences(engine: &str, text: &str) -> Vec<String> {
        let path = format!("{FOLDER}{engine}/0008_next.sql");
        check(&Tree::of(&[(path.as_str(), text)])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_adds_is_fine() {
        for text in [
            "-- class: expand\nCREATE TABLE x (id text PRIMARY KEY, n bigint NOT NULL CHECK (n > 0), UNIQUE (n));\nCREATE UNIQUE INDEX x_n ON x (n);",
            "-- class: expand\nALTER TABLE jobs ADD COLUMN a text;\nALTER TABLE jobs ADD COLUMN b bigint NOT NULL DEFAULT 0, ADD COLUMN c text REFERENCES x (id);",
            "-- class: expand\n-- it does not DROP TABLE jobs;\nCREATE INDEX jobs_a ON jobs (a) WHERE a IS NOT NULL; /* RENAME */ INSERT INTO epochs VALUES ('DROP TABLE jobs;', 1);",
            "-- class: expand\nCREATE TABLE y (id text);\nCREATE TRIGGER y_kept BEFORE DELETE ON y\nBEGIN SELECT RAISE(ABORT, 'kept'); END;\nCREATE TABLE z (id text);",
            "-- class: expand\nCREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN DELETE FROM x; DROP TABLE y; END $body$;",
            "-- class: expand\nALTER TABLE jobs DROP CONSTRAINT jobs_kind, ALTER COLUMN a DROP NOT NULL;\nDROP INDEX jobs_a;",
            "-- class: data\nALTER TABLE jobs ADD COLUMN d text;\nUPDATE jobs SET d = a WHERE d IS NULL;",
            "-- class: contract\n-- oldest program: 7\nDROP TABLE x;\nALTER TABLE jobs DROP COLUMN a, ALTER COLUMN b SET NOT NULL;",
        ] {
            assert_eq!(offences("postgres", text), Vec::<String>::new(), "{text}");
            assert_eq!(offences("sqlite", text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn what_older_programs_would_suffer_from_is_not() {
        for (text, why) in [
            ("DROP TABLE jobs", "contract migration"),
            ("drop table if exists jobs", "contract migration"),
            ("ALTER TABLE jobs DROP COLUMN a", "contract migration"),
            ("ALTER TABLE jobs ADD COLUMN z text, DROP a", "contract migration"),
            ("ALTER TABLE jobs RENAME TO work", "another beside it"),
            ("ALTER TABLE jobs RENAME COLUMN a TO b", "another beside it"),
            ("ALTER TABLE jobs ALTER COLUMN a TYPE bigint", "as it was"),
            ("ALTER TABLE jobs ALTER a SET DATA TYPE bigint USING a::bigint", "as it was"),
            ("ALTER TABLE jobs ALTER COLUMN a SET NOT NULL", "write NULL"),
            ("ALTER TABLE jobs ALTER COLUMN a DROP DEFAULT", "rely on the default"),
            ("ALTER TABLE jobs ADD COLUMN a text NOT NULL", "DEFAULT"),
            ("ALTER TABLE jobs ADD a text NOT NULL", "DEFAULT"),
            ("ALTER TABLE jobs ADD COLUMN a text UNIQUE", "it refuses"),
            ("ALTER TABLE jobs ADD CONSTRAINT c CHECK (a > 0) NOT VALID", "it refuses"),
            ("ALTER TABLE jobs ADD UNIQUE (a)", "it refuses"),
            ("ALTER TABLE jobs ADD FOREIGN KEY (a) REFERENCES b (id) NOT VALID", "it refuses"),
            ("CREATE UNIQUE INDEX jobs_a ON jobs (a)", "it refuses"),
            ("CREATE TRIGGER t BEFORE DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION f()", "it refuses"),
            ("UPDATE jobs SET a = 1", "`data`"),
            ("BEGIN", "one transaction"),
            ("COMMIT", "one transaction"),
            ("CREATE INDEX CONCURRENTLY jobs_a ON jobs (a)", "cannot run in a transaction"),
            ("TRUNCATE jobs", "no migration"),
        ] {
            for engine in ["sqlite", "postgres"] {
                let found =
                    offences(engine, &format!("-- class: expand\nCREATE TABLE fresh (id text);\n{text};\nCREATE TABLE more (id text);"));
                assert!(found.len() == 1 && found[0].contains(why), "{text}: {found:?}");
            }
        }
    }

    #[test]
    fn a_contract_migration_may_not_read_a_table_under_its_lock() {
        let text = "-- class: contract\n-- oldest program: 7\nALTER TABLE jobs ADD CONSTRAINT c CHECK (a > 0);";
        assert_eq!(offences("postgres", text).len(), 1);
        assert!(offences("postgres", &text.replace(" (a > 0)", " (a > 0) NOT VALID")).is_empty());
        assert_eq!(offences("postgres", &text.replace("ALTER TABLE", "COMMIT; ALTER TABLE")).len(), 2);
    }

    #[test]
    fn a_head_must_be_there_and_the_same_for_both_databases() {
        for text in ["CREATE TABLE x (id text);", "-- class: other\n", "-- class: contract\nDROP TABLE x;"] {
            assert!(offences("sqlite", text)[0].contains("-- class: expand"), "{text}");
        }
        let (sqlite, postgres) = (format!("{FOLDER}sqlite/0008_x.sql"), format!("{FOLDER}postgres/0008_x.sql"));
        let tree = Tree::of(&[(&sqlite, "-- class: expand\n"), (&postgres, "-- class: data\n")]);
        assert_eq!(check(&tree).len(), 2);
    }
}
