//! Assignments on the command line: `field=value`, with dots for nested fields and JSON for values that are not text.

use std::path::Path;

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::input;

/// The path of an assignment and the text behind the first `=`. A dot in a field's own name is written `\.`.
pub(crate) fn split(text: &str) -> Result<(Vec<String>, &str), Failure> {
    let fail = || Failure::usage(format!("`{text}` is not of the form field=value"));
    let (left, right) = text.split_once('=').ok_or_else(fail)?;
    Ok((path(left).ok_or_else(fail)?, right))
}

/// The fields of a path; `None` when one of them is empty.
pub(crate) fn path(text: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, fields.last_mut()) {
            ('.', _) => fields.push(String::new()),
            ('\\', Some(field)) => field.extend(characters.next()),
            (c, Some(field)) => field.push(c),
            (_, None) => return None,
        }
    }
    fields.iter().all(|field| !field.is_empty()).then_some(fields)
}

/// A value of any kind: JSON where it is JSON, `@FILE` for the content of a file, else text.
pub(crate) fn value(text: &str) -> Result<Value, Failure> {
    if let Some(file) = text.strip_prefix('@') {
        return Ok(Value::String(input::text(Path::new(file))?.trim_end_matches('\n').to_owned()));
    }
    Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())))
}

/// Puts a value at a path, making the objects on the way.
pub(crate) fn put(object: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [field] => {
            object.insert(field.clone(), value);
        }
        [field, rest @ ..] => {
            let nested = object.entry(field.clone()).or_insert_with(|| Value::Object(Map::new()));
            if !nested.is_object() {
                *nested = Value::Object(Map::new());
            }
            if let Value::Object(nested) = nested {
                put(nested, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn assigned(assignments: &[&str]) -> Value {
        let mut object = Map::new();
        for text in assignments {
            let (path, text) = split(text).unwrap();
            put(&mut object, &path, value(text).unwrap());
        }
        Value::Object(object)
    }

    #[test]
    fn assignments_nest_and_keep_kinds() {
        let made = assigned(&["a.b=1", "a.c=true", "a.d=text = more", r"t.app\.io/x=v", "l=[1,2]", "n=null", "e="]);
        assert_eq!(made, json!({"a": {"b": 1, "c": true, "d": "text = more"}, "t": {"app.io/x": "v"}, "l": [1, 2], "n": null, "e": ""}));
        assert_eq!(assigned(&["a=1", "a.b=2"]), json!({"a": {"b": 2}}));
    }

    #[test]
    fn what_is_no_assignment_is_refused() {
        for text in ["a", "=1", ".a=1", "a..b=1", "a.=1", ""] {
            assert_eq!(split(text).unwrap_err().exit_code(), 2, "{text}");
        }
    }

    #[test]
    fn a_value_can_come_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("v");
        crate::files::write(&file, b"{\"not\": \"parsed\"}\n", crate::files::Readers::Owner).unwrap();
        assert_eq!(value(&format!("@{}", file.display())).unwrap(), json!("{\"not\": \"parsed\"}"));
        assert!(value("@/does/not/exist").is_err());
    }
}
