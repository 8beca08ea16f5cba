//! Reading JSON so that what is wrong is told by the field's name.

use certctl_domain::noun::{FieldError, Refusal};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::error::Error;

/// Reads a value that was parsed before.
///
/// # Errors
/// A refusal that names the field.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_path_to_error::deserialize(value).map_err(|error| explain(&error))
}

/// The refusal that a reader's error amounts to.
#[must_use]
pub fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> Error {
    let text = error.inner().to_string();
    // Lines and columns tell where a document is broken; a field is told by its name.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let mut path: Vec<String> = error.path().iter().filter_map(segment).collect();
    let message = match text.split_once('`').and_then(|(what, rest)| Some((what, rest.split_once('`')?))) {
        Some(("missing field ", (name, _))) => {
            path.push(name.to_owned());
            "is missing".to_owned()
        }
        Some(("unknown field ", (_, rest))) => {
            let known = rest.split_once("expected ").map_or("", |(_, known)| known);
            format!("is not a field here; there is {}", known.trim_start_matches("one of "))
        }
        Some(("duplicate field ", (name, _))) => {
            path.push(name.to_owned());
            "is there twice".to_owned()
        }
        _ => text.to_owned(),
    };
    let field = if path.is_empty() { "body".to_owned() } else { path.join(".") };
    let refusal = Refusal { fields: vec![FieldError { field, message }], hint: None };
    refusal.into()
}

fn segment(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only reading it matters")]
        id: i64,
        #[serde(default)]
        #[expect(dead_code, reason = "only reading it matters")]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only reading it matters")]
        on: bool,
    }

    #[test]
    fn what_is_wrong_is_told_by_the_fields_name() {
        for (value, field, message) in [
            (json!({}), "id", "is missing"),
            (json!({"id": "x"}), "id", "invalid type: string \"x\", expected i64"),
            (json!({"id": 1, "zz": 2}), "zz", "is not a field here; there is `id` or `inner`"),
            (json!({"id": 1, "inner": [{"on": true}, {}]}), "inner.1.on", "is missing"),
            (json!({"id": 1, "inner": [{"of": true}]}), "inner.0.of", "is not a field here; there is `on`"),
            (json!({"id": 1, "inner": [{"on": 3}]}), "inner.0.on", "invalid type: integer `3`, expected a boolean"),
        ] {
            let error = read::<Outer>(value).unwrap_err();
            assert_eq!((error.fields[0].field.as_str(), error.fields[0].message.as_str()), (field, message));
        }
    }
}
