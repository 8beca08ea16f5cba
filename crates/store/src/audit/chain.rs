//! What is hashed, byte by byte, so that somebody else can compute the same.
//!
//! A hash is SHA-256 over a sequence of fields. A field is one byte 1, its length in eight bytes (big-endian), and its bytes; a field that is
//! absent is one byte 0. The first field names what is hashed. Text is UTF-8, a number is eight bytes (big-endian, two's complement), an
//! instant is its number of microseconds since 1970, and JSON has sorted keys and no white space.

use aws_lc_rs::digest::{Context, SHA256, digest};
use certctl_domain::time::Timestamp;
use serde_json::Value;

use crate::db::Row;
use crate::error::StoreError;

/// The fields of an event as they are stored, understood or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields {
    /// Identifier.
    pub id: String,
    /// Who.
    pub actor: String,
    /// What kind of actor.
    pub actor_type: String,
    /// What.
    pub action: String,
    /// Kind of the thing.
    pub resource_type: String,
    /// The thing.
    pub resource_id: String,
    /// More about it.
    pub details: Value,
    /// When.
    pub timestamp: Timestamp,
    /// Group of actions.
    pub event_category: String,
    /// The request.
    pub request_id: Option<String>,
}

impl Fields {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.text("id")?,
            actor: row.text("actor")?,
            actor_type: row.text("actor_type")?,
            action: row.text("action")?,
            resource_type: row.text("resource_type")?,
            resource_id: row.text("resource_id")?,
            details: row.json("details")?,
            timestamp: row.time("timestamp")?,
            event_category: row.text("event_category")?,
            request_id: row.opt_text("request_id")?,
        })
    }
}

/// The hash that stands at `sequence`: over the hash before it (empty for the first), the number, and every field of the event. Lower hex.
#[must_use]
pub fn row_hash(prev_hash: &str, sequence: i64, event: &Fields) -> String {
    let mut hash = Hash::new("certctl audit event 1");
    hash.text(prev_hash)
        .number(sequence)
        .text(&event.id)
        .text(&event.actor)
        .text(&event.actor_type)
        .text(&event.action)
        .text(&event.resource_type)
        .text(&event.resource_id)
        .text(&canonical(&event.details))
        .number(event.timestamp.unix_micros())
        .text(&event.event_category)
        .optional(event.request_id.as_deref());
    hex::encode(hash.finish())
}

/// A hash over fields.
pub(super) struct Hash(Context);

impl Hash {
    pub(super) fn new(what: &str) -> Self {
        let mut hash = Self(Context::new(&SHA256));
        hash.text(what);
        hash
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.field(text.as_bytes())
    }

    pub(super) fn number(&mut self, number: i64) -> &mut Self {
        self.field(&number.to_be_bytes())
    }

    fn optional(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => {
                self.0.update(&[0]);
                self
            }
        }
    }

    fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&[1]);
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

/// The Merkle tree hash of RFC 9162 section 2.1.1 over row hashes, in memory that grows with the logarithm of their number.
#[derive(Debug, Default)]
pub(super) struct Merkle {
    /// Roots of complete subtrees, the largest first, each with its height.
    complete: Vec<(u32, Vec<u8>)>,
}

impl Merkle {
    pub(super) fn add(&mut self, row_hash: &str) {
        let mut height = 0;
        let mut node = node(&[&[0], row_hash.as_bytes()]);
        while let Some((_, left)) = self.complete.pop_if(|(of, _)| *of == height) {
            node = self::node(&[&[1], &left, &node]);
            height += 1;
        }
        self.complete.push((height, node));
    }

    /// The root, in lower hex.
    pub(super) fn root(mut self) -> String {
        let mut root = self.complete.pop().map_or_else(|| node(&[]), |(_, node)| node);
        while let Some((_, left)) = self.complete.pop() {
            root = node(&[&[1], &left, &root]);
        }
        hex::encode(root)
    }
}

fn node(parts: &[&[u8]]) -> Vec<u8> {
    digest(&SHA256, &parts.concat()).as_ref().to_vec()
}

/// JSON with sorted keys and no white space. The order of a map depends on how `serde_json` is compiled, so it is not relied upon.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            let fields: Vec<_> =
                fields.into_iter().map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value))).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(canonical).collect::<Vec<_>>().join(",")),
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Fields {
        Fields {
            id: "audit-1".into(),
            actor: "alice".into(),
            actor_type: "User".into(),
            action: "certificate.create".into(),
            resource_type: "certificate".into(),
            resource_id: "mc-1".into(),
            details: json!({ "b": [1, { "z": null, "a": "\u{e9}\"" }], "a": true }),
            timestamp: Timestamp::from_unix_seconds(1_700_000_000).unwrap(),
            event_category: "cert_lifecycle".into(),
            request_id: None,
        }
    }

    #[test]
    fn json_has_one_form() {
        assert_eq!(canonical(&event().details), "{\"a\":true,\"b\":[1,{\"a\":\"\u{e9}\\\"\",\"z\":null}]}");
    }

    #[test]
    fn the_encoding_stays_as_it_is() {
        // Computed by another program: another value here means that every existing chain breaks.
        assert_eq!(row_hash("", 1, &event()), "e7a4773fd57a9ab0f430b90c5f59fd39a941d4715880e84e340558390546a2f6");
    }

    #[test]
    fn every_field_counts_and_none_runs_into_the_next() {
        let base = row_hash("", 1, &event());
        let mut seen = vec![base, row_hash("00", 1, &event()), row_hash("", 2, &event())];
        let changes: [fn(&mut Fields); 12] = [
            |e| e.id.push('x'),
            |e| e.actor.push('x'),
            |e| e.actor_type.push('x'),
            |e| e.action.push('x'),
            |e| e.resource_type.push('x'),
            |e| e.resource_id.push('x'),
            |e| e.details = json!({}),
            |e| e.timestamp = Timestamp::UNIX_EPOCH,
            |e| e.event_category.push('x'),
            |e| e.request_id = Some(String::new()),
            |e| e.request_id = Some("r".into()),
            |e| (e.actor, e.actor_type) = ("aliceU".into(), "ser".into()),
        ];
        for change in changes {
            let mut changed = event();
            change(&mut changed);
            let hash = row_hash("", 1, &changed);
            assert!(!seen.contains(&hash), "{changed:?}");
            seen.push(hash);
        }
    }

    #[test]
    fn the_tree_is_that_of_the_rfc() {
        // RFC 9162 section 2.1.1, written out: split at the largest power of two below the number of leaves.
        fn by_definition(leaves: &[String]) -> Vec<u8> {
            match leaves {
                [] => node(&[]),
                [leaf] => node(&[&[0], leaf.as_bytes()]),
                leaves => {
                    let split = leaves.len().next_power_of_two() / 2;
                    node(&[&[1], &by_definition(&leaves[..split]), &by_definition(&leaves[split..])])
                }
            }
        }
        for n in 0..70 {
            let leaves: Vec<String> = (0..n).map(|i| format!("leaf {i}")).collect();
            let mut tree = Merkle::default();
            leaves.iter().for_each(|leaf| tree.add(leaf));
            assert_eq!(tree.root(), hex::encode(by_definition(&leaves)), "{n} leaves");
        }
    }
}
