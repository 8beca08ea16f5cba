//! A value that changes nothing misleads whoever sets it: each is set to something else, and some situation must come out differently.

use serde_json::{Value, json};

use crate::failure::Failure;

use super::chart::World;
use super::values::{self, Row};

/// Every value without an effect.
pub(super) fn check(world: &World<'_>) -> Result<Vec<String>, Failure> {
    let rows = values::rows(world)?;
    let plain = BASES.iter().map(|base| world.template(&arguments(base, None))).collect::<Result<Vec<_>, Failure>>()?;
    let mut findings = Vec::new();
    for row in rows.iter().filter(|row| row.path != BY_CHANCE) {
        if !has_effect(world, row, &plain)? {
            findings.push(format!("{} has no effect in any situation", row.path));
        }
    }
    Ok(findings)
}

/// A refusal is an effect too: the value was looked at.
fn has_effect(world: &World<'_>, row: &Row, plain: &[Result<String, String>]) -> Result<bool, Failure> {
    for other in others_than(row) {
        let other = format!("{}={other}", row.path);
        for (base, plain) in BASES.iter().zip(plain) {
            if &world.template(&arguments(base, Some(&other)))? != plain {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn arguments(base: &[&str], other: Option<&str>) -> Vec<String> {
    let mut arguments = vec!["--skip-schema-validation".to_owned()];
    // Helm gives --set the last word.
    let path = other.and_then(|other| other.split_once('=')).map(|(path, _)| format!("{path}="));
    for set in base.iter().filter(|set| !path.as_ref().is_some_and(|path| set.starts_with(path))) {
        let file = set.strip_prefix("file:");
        let words = file.map_or(["--set".to_owned(), (**set).to_owned()], |name| ["--values".to_owned(), super::cases::example(name)]);
        arguments.extend(words);
    }
    arguments.extend(other.into_iter().flat_map(|other| ["--set-json".to_owned(), other.to_owned()]));
    arguments
}

/// Something that the value is not, in any situation; the schema is not asked.
fn others_than(row: &Row) -> Vec<Value> {
    match &row.default {
        Value::Bool(_) => vec![json!(true), json!(false)],
        Value::Number(number) => vec![json!(number.as_f64().unwrap_or_default().floor() + 7.0)],
        Value::Array(_) => vec![json!([{"name": "other"}])],
        Value::Object(_) => vec![json!({"limits": "other"})],
        Value::Null | Value::String(_) if row.path == "size" => vec![json!("large")],
        Value::Null | Value::String(_) => vec![json!("other")],
    }
}

/// Used only where Helm makes a certificate, which is another one each time, so that nothing can be compared.
const BY_CHANCE: &str = "server.tls.selfMade.days";

/// Situations that between them use every value.
const BASES: [&[&str]; 6] = [
    &[
        "file:ha",
        "backup.enabled=true",
        "backup.allowExternalDatabase=true",
        "backup.sink=s3",
        "backup.s3.bucket=bucket",
        "backup.s3.credentialsSecret=certctl-s3",
        "server.acme.http01.enabled=true",
        "server.acme.commands=a",
        "server.metrics.enabled=true",
    ],
    &[
        "file:small",
        "backup.enabled=true",
        "migrations.viaHook=true",
        "networkPolicy.enabled=true",
        "agent.enabled=true",
        "agent.enrollment.existingSecret=tokens",
        "agent.kind=StatefulSet",
        "encryption.previousKeysSecretKey=previous",
    ],
    &["file:small", "server.image.digest=sha256:1", "backup.enabled=true", "backup.image.repository=other"],
    &["file:small", "agent.enabled=true", "agent.ca.source=secret", "agent.ca.name=ca"],
    &["file:small", "encryption.existingSecret=", "encryption.key=a", "postgresql.auth.existingSecret=", "postgresql.auth.password=b"],
    &["file:external-db", "externalDatabase.existingSecret=", "externalDatabase.password=b"],
];
