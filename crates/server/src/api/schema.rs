//! Schemas of types, gathered for the document, and the names of their properties.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

/// The named schemas of the document.
#[derive(Debug, Default, Clone)]
pub(super) struct Schemas {
    named: BTreeMap<String, Value>,
    clashes: BTreeSet<String>,
}

impl Schemas {
    /// The schema of a type: a reference where it has a name worth one, else itself.
    pub(super) fn reference<T: ToSchema>(&mut self) -> Value {
        self.add_nested::<T>();
        let schema = to_value(&T::schema());
        let name = T::name();
        if is_anonymous(&schema) {
            return schema;
        }
        self.add(&name, schema);
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// What a caller may send for a noun: the draft's fields, and those that the noun shows beside them, which are ignored.
    pub(super) fn request<Draft: ToSchema, Shown: ToSchema>(&mut self) -> Value {
        self.add_nested::<Draft>();
        self.add_nested::<Shown>();
        let mut schema = to_value(&Draft::schema());
        let shown = to_value(&Shown::schema());
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            for (name, property) in shown.get("properties").and_then(Value::as_object).into_iter().flatten() {
                properties.entry(name).or_insert_with(|| read_only(property));
            }
        }
        let name = Draft::name();
        self.add(&name, schema);
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// The properties of a type that is an object, and which of them are required.
    pub(super) fn properties<T: ToSchema>(&mut self) -> (Map<String, Value>, BTreeSet<String>) {
        self.add_nested::<T>();
        let schema = to_value(&T::schema());
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let required = required.filter_map(Value::as_str).map(str::to_owned).collect();
        (schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default(), required)
    }

    /// Takes in what another operation gathered.
    pub(super) fn merge(&mut self, other: Self) {
        for (name, schema) in other.named {
            self.add(&name, schema);
        }
        self.clashes.extend(other.clashes);
    }

    /// Names under which two different schemas were added, each a mistake.
    pub(super) const fn clashes(&self) -> &BTreeSet<String> {
        &self.clashes
    }

    /// All named schemas, in the order of their names.
    pub(super) fn into_value(self) -> Value {
        Value::Object(self.named.into_iter().collect())
    }

    fn add_nested<T: ToSchema>(&mut self) {
        let mut nested = Vec::new();
        T::schemas(&mut nested);
        for (name, schema) in nested {
            self.add(&name, to_value(&schema));
        }
    }

    fn add(&mut self, name: &str, schema: Value) {
        match self.named.get(name) {
            Some(known) if *known == schema => {}
            // A request schema is the draft's own with more properties: where both were added, the larger one stays.
            Some(known) if contains(known, &schema) => {}
            Some(known) if !contains(&schema, known) => {
                self.clashes.insert(name.to_owned());
            }
            _ => {
                self.named.insert(name.to_owned(), schema);
            }
        }
    }
}

/// The names of the properties of a type that is an object.
pub(super) fn property_names<T: ToSchema>() -> BTreeSet<String> {
    let mut nested = Vec::new();
    T::schemas(&mut nested);
    let nested: BTreeMap<_, _> = nested.into_iter().collect();
    let mut names = BTreeSet::new();
    collect(&T::schema(), &nested, &mut names);
    names
}

fn collect(schema: &RefOr<Schema>, nested: &BTreeMap<String, RefOr<Schema>>, names: &mut BTreeSet<String>) {
    match schema {
        RefOr::Ref(reference) => {
            // A type that holds itself would turn in a circle; flattened ones never do.
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            if let Some(schema) = nested.get(name) {
                collect(schema, nested, names);
            }
        }
        RefOr::T(Schema::Object(object)) => names.extend(object.properties.keys().cloned()),
        RefOr::T(Schema::AllOf(all)) => all.items.iter().for_each(|item| collect(item, nested, names)),
        RefOr::T(_) => {}
    }
}

fn to_value(schema: &RefOr<Schema>) -> Value {
    serde_json::to_value(schema).unwrap_or_default()
}

/// Lists, maps, plain values: what has no name of its own.
fn is_anonymous(schema: &Value) -> bool {
    let kind = schema.get("type").and_then(Value::as_str);
    let composed = ["allOf", "anyOf", "oneOf", "enum"].iter().any(|key| schema.get(key).is_some());
    let object = kind == Some("object") && schema.get("properties").is_some();
    !composed && !object
}

fn contains(larger: &Value, smaller: &Value) -> bool {
    let (Some(larger), Some(smaller)) = (larger.as_object(), smaller.as_object()) else {
        return false;
    };
    let properties = |schema: &Map<String, Value>| schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let (more, fewer) = (properties(larger), properties(smaller));
    larger.iter().all(|(key, value)| key == "properties" || smaller.get(key) == Some(value))
        && smaller.keys().all(|key| larger.contains_key(key))
        && fewer.iter().all(|(name, property)| more.get(name) == Some(property))
        && more.iter().all(|(name, property)| fewer.contains_key(name) || property.get("readOnly").is_some())
}

fn read_only(property: &Value) -> Value {
    let mut property = property.clone();
    if let Some(property) = property.as_object_mut() {
        property.insert("readOnly".to_owned(), Value::Bool(true));
    }
    property
}
