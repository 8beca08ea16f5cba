//! The OpenAPI document holds together, and has every name that existing scripts use.

mod names;

use std::collections::{BTreeMap, BTreeSet};

use certctl_server::routes;
use certctl_testkit::Engine;
use serde_json::Value;

use crate::support::TestServer;

#[test]
fn the_list_of_operations_has_no_mistakes() {
    assert_eq!(routes::routes().mistakes(), Vec::<String>::new());
}

#[test]
fn the_document_is_the_same_every_time() {
    assert_eq!(routes::openapi().to_string(), routes::openapi().to_string());
}

#[test]
fn every_reference_resolves() {
    let document = routes::openapi();
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference} is nowhere");
    }
}

#[test]
fn every_operation_says_what_it_is_and_what_comes_back() {
    for (place, operation) in operations(&routes::openapi()) {
        assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 5), "{place} has no summary");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{place} never succeeds");
        assert!(responses.contains_key("500"), "{place}");
        let secured = operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty());
        assert!(!secured || responses.contains_key("401"), "{place} needs a credential and never answers 401");
    }
}

#[test]
fn every_name_that_existing_scripts_use_is_there() {
    let document = routes::openapi();
    let operations: BTreeMap<String, Value> = operations(&document).into_iter().collect();
    for (place, side, names) in names::NAMES {
        let operation = &operations[*place];
        let mut have = BTreeSet::new();
        match side {
            Side::Request => fields(&document, &operation["requestBody"], "", &mut have),
            Side::Response => {
                let responses = operation["responses"].as_object().unwrap();
                responses.iter().filter(|(status, _)| status.starts_with('2')).for_each(|(_, it)| fields(&document, it, "", &mut have));
            }
        }
        let missing: Vec<_> = names.split(' ').filter(|name| !have.contains(*name)).collect();
        assert!(missing.is_empty(), "{place} {side:?}: {missing:?}");
    }
}

/// A parameter that is misspelled must not be ignored: the caller would get something else than they asked for.
#[tokio::test]
async fn no_operation_ignores_a_parameter_that_it_does_not_know() {
    let server = TestServer::open(Engine::Sqlite).await;
    for (place, operation) in operations(&routes::openapi()) {
        let takes_query = operation["parameters"].as_array().into_iter().flatten().any(|parameter| parameter["in"] == "query");
        let Some(path) = place.strip_prefix("GET ").filter(|path| takes_query && !path.contains('{')) else {
            continue;
        };
        server.admin().get(&format!("{path}?a_parameter_that_nobody_knows=1")).await.fails_with(400, "invalid_query");
    }
}

/// Which body of an operation.
#[derive(Debug, Clone, Copy)]
enum Side {
    Request,
    Response,
}

/// The dotted names of all fields of a body, through lists and compositions.
fn fields(document: &Value, schema: &Value, prefix: &str, names: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        return fields(document, document.pointer(reference.trim_start_matches('#')).unwrap(), prefix, names);
    }
    for content in schema["content"].as_object().into_iter().flatten().map(|(_, content)| content) {
        fields(document, &content["schema"], prefix, names);
    }
    for part in ["allOf", "anyOf", "oneOf"].iter().flat_map(|key| schema[*key].as_array().into_iter().flatten()) {
        fields(document, part, prefix, names);
    }
    if schema["items"].is_object() {
        fields(document, &schema["items"], prefix, names);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        names.insert(format!("{prefix}{name}"));
        fields(document, property, &format!("{prefix}{name}."), names);
    }
}

/// Each operation of the document with its place: `GET /health`.
pub(crate) fn operations(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().unwrap();
        methods.iter().map(|(method, operation)| (format!("{} {path}", method.to_uppercase()), operation.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                references.insert(reference.to_owned());
            }
            fields.values().for_each(|value| collect(value, references));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}
