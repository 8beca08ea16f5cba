//! The values of the chart: their comments become the reference page, and the schema knows every one of them and no other.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::failure::Failure;
use crate::files;

use super::chart::{CHART, World};
use super::objects::at;

/// One value, as `values.yaml` has it.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// `server.image.tag`
    pub(super) path: String,
    pub(super) default: Value,
    /// The comment above it.
    comment: String,
}

/// Where schema and values differ, and values without a comment.
pub(super) fn check(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let schema = schema(world)?;
    let rows = rows(world)?;
    let mut findings: Vec<String> = Vec::new();
    let known = leaves(&schema, "", &mut findings);
    let given: BTreeSet<String> = rows.iter().map(|row| row.path.clone()).collect();
    findings.extend(given.difference(&known).map(|path| format!("values.schema.json does not know {path}")));
    findings.extend(
        known.difference(&given).filter(|path| *path != "global").map(|path| format!("values.yaml has no {path}, which the schema knows")),
    );
    findings.extend(rows.iter().filter(|row| row.comment.is_empty()).map(|row| format!("{} has no comment in values.yaml", row.path)));
    Ok(findings)
}

/// Every value with its default.
pub(super) fn rows(world: &World<'_>) -> Result<Vec<Row>, Failure> {
    let text = files::read(&world.root.join(CHART).join("values.yaml"))?;
    let defaults: Value = serde_norway::from_str(&text).map_err(|error| Failure::new("values.yaml is no YAML").because(error))?;
    Ok(read(&text, &defaults, &schema(world)?))
}

fn schema(world: &World<'_>) -> Result<Value, Failure> {
    let text = files::read(&world.root.join(CHART).join("values.schema.json"))?;
    serde_json::from_str(&text).map_err(|error| Failure::new("values.schema.json is no JSON").because(error))
}

/// The paths of what the schema does not open further; and a finding for each object that takes unknown keys.
fn leaves(schema: &Value, path: &str, findings: &mut Vec<String>) -> BTreeSet<String> {
    let Some(properties) = at(schema, "/properties").as_object().filter(|_| path.is_empty() || !is_whole(path)) else {
        return BTreeSet::from([path.to_owned()]);
    };
    if at(schema, "/additionalProperties") != false {
        findings.push(format!("the schema takes unknown keys in `{path}`"));
    }
    properties.iter().flat_map(|(key, below)| leaves(below, &join(path, key), findings)).collect()
}

/// What is given to Kubernetes as a whole, so that its keys are not ours.
fn is_whole(path: &str) -> bool {
    path.ends_with("resources") || path.ends_with("tlsConfig")
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Follows the indentation; a comment belongs to the key below it.
fn read(text: &str, defaults: &Value, schema: &Value) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut above: Vec<(usize, String)> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in text.lines() {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        if let Some(words) = body.strip_prefix('#') {
            comment.push(words.trim());
            continue;
        }
        let key = body.split_once(':').map(|(key, _)| key).filter(|key| !key.is_empty() && key.chars().all(char::is_alphanumeric));
        let Some(key) = key else {
            comment.clear();
            continue;
        };
        above.retain(|(depth, _)| *depth < indent);
        above.push((indent, key.to_owned()));
        let path = above.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>();
        let pointer = format!("/{}", path.join("/"));
        let below = schema.pointer(&format!("/properties/{}", path.join("/properties/")));
        let (path, comment) = (path.join("."), std::mem::take(&mut comment).join(" "));
        // The keys below a value that is taken as a whole are its default, not values of their own.
        let opened = below.is_some_and(|below| at(below, "/properties").is_object()) && !is_whole(&path);
        if !opened && !rows.iter().any(|row: &Row| path.starts_with(&format!("{}.", row.path))) {
            rows.push(Row { path, default: defaults.pointer(&pointer).cloned().unwrap_or_default(), comment });
        }
    }
    rows
}

/// The reference page.
pub(super) fn page(world: &World<'_>) -> Result<String, Failure> {
    let mut text = PAGE_HEAD.to_owned();
    let mut section = "";
    let rows = rows(world)?;
    for row in &rows {
        let first = row.path.split('.').next().unwrap_or_default();
        let first = if row.path.contains('.') { first } else { "General" };
        if first != section {
            section = first;
            text.push_str(&format!("\n## {section}\n\n| value | default | meaning |\n|---|---|---|\n"));
        }
        let comment = row.comment.replace('|', "\\|");
        text.push_str(&format!("| `{}` | `{}` | {comment} |\n", row.path, row.default.to_string().replace('|', "\\|")));
    }
    Ok(text)
}

const PAGE_HEAD: &str = "<!-- Generated from the comments in values.yaml; run `cargo xtask codegen` after a change. -->
# Values of the Helm chart

The [guide](../operator/helm.md) says how they go together. Unknown keys are refused, and so are values that are each right but do not go together.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_to_the_key_below_them() {
        let text = "# Not of a key.\n\n# One.\na: 1\nb:\n  # Two\n  # lines.\n  c: [x]\n  resources:\n    limits: {}\n";
        let schema =
            serde_json::json!({"properties": {"a": {}, "b": {"properties": {"c": {}, "resources": {"properties": {"limits": {}}}}}}});
        let defaults: Value = serde_norway::from_str(text).unwrap();
        let rows = read(text, &defaults, &schema);
        let told: Vec<_> = rows.iter().map(|row| (row.path.as_str(), row.comment.as_str(), row.default.to_string())).collect();
        assert_eq!(told[0], ("a", "One.", "1".to_owned()));
        assert_eq!(told[1], ("b.c", "Two lines.", "[\"x\"]".to_owned()));
        assert_eq!(told[2].0, "b.resources");
    }

    #[test]
    fn an_open_object_is_found() {
        let mut findings = Vec::new();
        let schema = serde_json::json!({"additionalProperties": false, "properties": {"a": {"properties": {"b": {}}}}});
        assert_eq!(leaves(&schema, "", &mut findings), BTreeSet::from(["a.b".to_owned()]));
        assert_eq!(findings, ["the schema takes unknown keys in `a`"]);
    }
}
