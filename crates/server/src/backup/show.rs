//! What people and scripts are told.

use certctl_backup::Manifest;
use certctl_backup::place::{Found, State};
use serde_json::{Value, json};

use super::prune::Pruned;
use super::verify::Verified;

/// Of a backup that was made.
#[must_use]
pub fn created_text(manifest: &Manifest) -> String {
    let mut text = format!("made {} of {} bytes, SHA-256 {}\n", manifest.archive, manifest.size_bytes, manifest.sha256);
    if !manifest.is_encrypted() {
        text.push_str("it is not encrypted: set backup.recipients unless the place itself is\n");
    }
    text.push_str(&not_in_it(manifest));
    text
}

/// Of a backup that was read.
#[must_use]
pub fn verified_text(verified: &Verified) -> String {
    let manifest = &verified.manifest;
    let rows: i64 = manifest.tables.values().sum();
    let mut text = format!("{} is good: {} bytes, {} tables, {rows} rows", manifest.archive, manifest.size_bytes, manifest.tables.len());
    if let Some(restored) = &verified.restored {
        text.push_str(&format!(
            "\nit was restored into a scratch database: the audit chain of {} events holds, and the schema came to {}",
            restored.audit_events, restored.schema
        ));
    }
    text
}

/// Of a backup that was put back.
#[must_use]
pub fn restored_text(manifest: &Manifest) -> String {
    format!("restored {} of {}; start the server, then look at `certctl audit verify`", manifest.archive, manifest.created_at)
}

/// What lies in a place, as a table.
#[must_use]
pub fn list_text(place: &str, found: &[Found]) -> String {
    if found.is_empty() {
        return format!("there is no backup in {place}");
    }
    let mut rows = vec![["NAME", "CREATED", "BYTES", "SCHEMA", "ENCRYPTED", "STATE"].map(str::to_owned)];
    rows.extend(found.iter().map(|one| {
        let manifest = one.manifest();
        let shown = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            one.name.as_str().to_owned(),
            one.created_at().whole_seconds().to_string(),
            shown(one.size.map(|size| size.to_string())),
            shown(manifest.map(|manifest| manifest.schema.to_string())),
            shown(manifest.map(|manifest| if manifest.is_encrypted() { "yes".to_owned() } else { "no".to_owned() })),
            match &one.state {
                State::Whole(_) => "whole".to_owned(),
                State::Broken(why) => format!("broken: {why}"),
            },
        ]
    }));
    table(&rows)
}

/// The same for scripts.
#[must_use]
pub fn list_json(place: &str, found: &[Found]) -> Value {
    let backups: Vec<Value> = found
        .iter()
        .map(|one| match &one.state {
            State::Whole(manifest) => json!({"name": one.name.as_str(), "state": "whole", "size_bytes": one.size, "created_at": one.created_at(), "manifest": manifest}),
            State::Broken(why) => json!({"name": one.name.as_str(), "state": "broken", "size_bytes": one.size, "created_at": one.created_at(), "problem": why}),
        })
        .collect();
    json!({ "place": place, "backups": backups })
}

/// What was removed, as a table.
#[must_use]
pub fn pruned_text(pruned: &Pruned) -> String {
    let mut rows = vec![["NAME", "", "WHY"].map(str::to_owned)];
    rows.extend(pruned.fates.iter().map(|fate| {
        let what = if fate.goes() { "removed" } else { "kept" };
        [fate.name.clone(), what.to_owned(), fate.reasons.join(", ")]
    }));
    format!("{}\n{} was read whole; {} bytes were freed", table(&rows), pruned.proven.archive, pruned.freed)
}

/// The same for scripts.
#[must_use]
pub fn pruned_json(pruned: &Pruned) -> Value {
    let fates: Vec<Value> =
        pruned.fates.iter().map(|fate| json!({"name": fate.name, "removed": fate.goes(), "reasons": fate.reasons})).collect();
    json!({"backups": fates, "proven": pruned.proven.archive, "freed_bytes": pruned.freed})
}

fn not_in_it(manifest: &Manifest) -> String {
    let keys: Vec<&str> = manifest.encryption_keys.keys().map(String::as_str).collect();
    let key = match keys.as_slice() {
        [] => "no encryption key is needed for it".to_owned(),
        keys => format!("the encryption key {} that its secrets are sealed under", keys.join(", ")),
    };
    format!("not in it: {key}, configuration, certificate files of the server, keys and state of agents")
}

/// Columns as wide as their widest; the last one as it is.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use certctl_backup::ArchiveName;
    use certctl_backup::name::Engine;
    use certctl_backup::retention::Fate;
    use certctl_domain::time::Timestamp;

    use super::super::verify::Restored;
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn name(day: u32, encryption: Option<&str>) -> ArchiveName {
        ArchiveName::new("a1b2c3d4", Engine::Postgres, at(&format!("2026-11-{day}T02:15:00.5Z")), encryption)
    }

    fn manifest(name: &ArchiveName, recipients: &[&str]) -> Manifest {
        Manifest {
            format: 1,
            archive: name.as_str().to_owned(),
            installation: name.installation().to_owned(),
            engine: Engine::Postgres,
            created_at: name.began(),
            program: "0.1.0".to_owned(),
            tool: "pg_dump (PostgreSQL) 15.18".to_owned(),
            schema: 6,
            size_bytes: 123_456,
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
            content_bytes: 123_000,
            recipients: recipients.iter().map(ToString::to_string).collect(),
            encryption_keys: std::collections::BTreeMap::from([("9cff7bf4".to_owned(), 3)]),
            tables: std::collections::BTreeMap::from([("certificates".to_owned(), 2), ("jobs".to_owned(), 5)]),
        }
    }

    fn found() -> Vec<Found> {
        let (one, two) = (name(25, Some("age")), name(24, None));
        let whole = State::Whole(Box::new(manifest(&one, &["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"])));
        vec![
            Found { name: one, size: Some(123_456), state: whole },
            Found { name: two, size: Some(17), state: State::Broken("it has no manifest".to_owned()) },
        ]
    }

    #[test]
    fn people_are_told_in_a_few_lines() {
        let one = name(25, None);
        let made = manifest(&one, &[]);
        let verified = Verified { manifest: made.clone(), restored: Some(Restored { audit_events: 12, schema: 7 }) };
        let fates = vec![
            Fate { name: one.as_str().to_owned(), reasons: vec!["newest", "daily"] },
            Fate { name: name(24, None).as_str().to_owned(), reasons: Vec::new() },
        ];
        let pruned = Pruned { fates, proven: made.clone(), freed: 17 };
        let texts = [
            created_text(&made),
            list_text("/srv/backups", &found()),
            list_text("s3://bucket/prefix", &[]),
            verified_text(&verified),
            restored_text(&made),
            pruned_text(&pruned),
        ];
        insta::assert_snapshot!(texts.join("\n---\n"));
        insta::assert_json_snapshot!("pruned_for_scripts", pruned_json(&pruned));
    }

    #[test]
    fn scripts_are_told_everything() {
        insta::assert_json_snapshot!(list_json("/srv/backups", &found()));
    }
}
