//! What Helm rendered, as objects of Kubernetes.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::Value;

/// One object.
#[derive(Debug)]
pub(super) struct Object(Value);

/// When Helm applies an object that is a hook.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) events: Vec<String>,
    pub(super) weight: i64,
}

/// Reads the documents of one file.
pub(super) fn parse(text: &str) -> Result<Vec<Object>, String> {
    let documents =
        serde_norway::Deserializer::from_str(text).map(|document| Value::deserialize(document).map_err(|error| error.to_string()));
    let objects = documents.collect::<Result<Vec<Value>, String>>()?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).map(Object).collect())
}

impl Object {
    pub(super) fn kind(&self) -> &str {
        self.text("/kind")
    }

    pub(super) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// `Service certctl-server`
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.kind(), self.name())
    }

    /// What stands at a JSON pointer, or nothing.
    pub(super) fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The text at a JSON pointer; empty when there is none.
    pub(super) fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_default()
    }

    /// The whole object as JSON.
    pub(super) fn json(&self) -> String {
        self.0.to_string()
    }

    /// Whose part it is.
    pub(super) fn component(&self) -> &str {
        self.text("/metadata/labels/app.kubernetes.io~1component")
    }

    /// When Helm applies it, if that is not with everything else.
    pub(super) fn hook(&self) -> Option<Hook> {
        let events = self.at("/metadata/annotations/helm.sh~1hook").as_str()?;
        let weight = self.text("/metadata/annotations/helm.sh~1hook-weight").parse().unwrap_or_default();
        Some(Hook { events: events.split(',').map(|event| event.trim().to_owned()).collect(), weight })
    }

    /// The pods that come of it.
    pub(super) fn pod(&self) -> Option<Pod<'_>> {
        let pointer = match self.kind() {
            "Deployment" | "StatefulSet" | "DaemonSet" | "Job" => "/spec/template",
            "CronJob" => "/spec/jobTemplate/spec/template",
            "Pod" => "",
            _ => return None,
        };
        self.0.pointer(pointer).map(|template| Pod { owner: self, template })
    }
}

/// The pods of one object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pod<'a> {
    pub(super) owner: &'a Object,
    template: &'a Value,
}

impl<'a> Pod<'a> {
    /// What stands at a JSON pointer below its `spec`, or nothing.
    pub(super) fn at(self, pointer: &str) -> &'a Value {
        self.template.pointer(&format!("/spec{pointer}")).unwrap_or(&Value::Null)
    }

    pub(super) fn labels(self) -> BTreeMap<String, String> {
        text_map(self.template.pointer("/metadata/labels").unwrap_or(&Value::Null))
    }

    pub(super) fn volumes(self) -> &'a [Value] {
        list(self.at("/volumes"))
    }

    pub(super) fn containers(self) -> impl Iterator<Item = &'a Value> {
        list(self.at("/initContainers")).iter().chain(list(self.at("/containers")))
    }

    /// The variables of all containers: name and, unless it comes from elsewhere, value.
    pub(super) fn variables(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        self.containers()
            .flat_map(|container| list(at(container, "/env")))
            .filter_map(|variable| Some((at(variable, "/name").as_str()?, at(variable, "/value").as_str())))
    }
}

/// What stands at a JSON pointer, or nothing.
pub(super) fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// The items of a list, none when it is no list.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A map of texts.
pub(super) fn text_map(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Whether everything that a selector asks for is among the labels; a selector that asks for nothing finds nothing here.
pub(super) fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let wanted = text_map(selector);
    !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "---\n# nothing\n---\nkind: Job\nmetadata:\n  name: a\n  annotations: {helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-weight: '-5'}\n\
                       spec: {template: {metadata: {labels: {a: b}}, spec: {containers: [{env: [{name: X, value: y}, {name: Z}]}]}}}\n";

    #[test]
    fn documents_become_objects_and_empty_ones_nothing() {
        let objects = parse(JOB).unwrap();
        assert_eq!(objects.len(), 1);
        assert_eq!(objects[0].title(), "Job a");
        assert_eq!(objects[0].hook(), Some(Hook { events: vec!["pre-install".to_owned(), "pre-upgrade".to_owned()], weight: -5 }));
        let pod = objects[0].pod().unwrap();
        assert_eq!(pod.variables().collect::<Vec<_>>(), [("X", Some("y")), ("Z", None)]);
        assert!(selects(&serde_json::json!({"a": "b"}), &pod.labels()));
        assert!(!selects(&serde_json::json!({"a": "c"}), &pod.labels()) && !selects(&serde_json::json!({}), &pod.labels()));
    }
}
