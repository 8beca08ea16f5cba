//! A document of the server: kept in the server's order of fields, so that what is printed is what it said.

use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// Any JSON document, with the order of its fields.
pub(crate) type Doc = serde_norway::Value;

/// The value at a path of fields with dots between them.
pub(crate) fn at<'a>(doc: &'a Doc, path: &str) -> Option<&'a Doc> {
    path.split('.').try_fold(doc, |doc, field| doc.get(field)).filter(|value| !value.is_null())
}

/// The text at a path; empty when there is none.
pub(crate) fn text(doc: &Doc, path: &str) -> String {
    at(doc, path).map(shown).unwrap_or_default()
}

/// A value on one line: lists with commas, objects as `key=value`.
pub(crate) fn shown(value: &Doc) -> String {
    match value {
        Doc::Null => String::new(),
        Doc::Bool(yes) => yes.to_string(),
        Doc::Number(number) => number.to_string(),
        Doc::String(text) => text.clone(),
        Doc::Sequence(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        Doc::Mapping(fields) => fields.iter().map(|(key, value)| format!("{}={}", shown(key), shown(value))).collect::<Vec<_>>().join(", "),
        Doc::Tagged(tagged) => shown(&tagged.value),
    }
}

/// The rows of a page.
pub(crate) fn rows(page: &Doc) -> &[Doc] {
    page.get("data").and_then(Doc::as_sequence).map_or(&[], Vec::as_slice)
}

/// The document as a type of the contract.
pub(crate) fn read<T: DeserializeOwned>(doc: &Doc) -> Result<T, Failure> {
    serde_norway::from_value(doc.clone()).map_err(|error| Failure::Answer(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_on_one_line() {
        let doc: Doc = serde_json::from_str(r#"{"z": ["a", "b"], "a": {"k": "v", "n": {"deep": true}}, "x": null, "n": 3}"#).unwrap();
        let shown = ["z", "a", "x", "n", "a.k", "a.n.deep", "none.at.all"].map(|path| text(&doc, path));
        assert_eq!(shown, ["a, b", "k=v, n=deep=true", "", "3", "v", "true", ""]);
        assert_eq!(serde_json::to_string(&doc).unwrap(), r#"{"z":["a","b"],"a":{"k":"v","n":{"deep":true}},"x":null,"n":3}"#);
    }
}
