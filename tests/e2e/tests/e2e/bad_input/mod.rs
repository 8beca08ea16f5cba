//! Bad input by raw HTTP against a running server: each is refused with a code and a hint, and nothing is changed.

mod csr;
mod names;
mod requests;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::World;

/// Everything that a refused request might change.
struct Before(BTreeMap<&'static str, Value>);

impl Before {
    async fn of(world: &World) -> Self {
        let mut all = BTreeMap::new();
        for noun in NOUNS {
            let mut rows = world.api.get(&format!("/api/v1/{noun}?per_page=500")).await.is(200).json()["data"].clone();
            // What the server does by itself meanwhile is no effect of a request.
            rows.as_array_mut().unwrap().retain(|row| row["actor_type"] != "System");
            for row in rows.as_array_mut().unwrap() {
                // An audit event gets its place in the chain within a second.
                row.as_object_mut().unwrap().retain(|field, _| !["sequence", "row_hash"].contains(&field.as_str()));
            }
            all.insert(noun, rows);
        }
        Self(all)
    }

    /// Fails unless everything is as it was.
    async fn is_now(&self, world: &World) {
        let now = Self::of(world).await;
        for (noun, rows) in &self.0 {
            assert_eq!(rows, &now.0[noun], "{noun} have changed");
        }
    }
}

const NOUNS: [&str; 11] =
    ["owners", "teams", "profiles", "renewal-policies", "certificates", "issuers", "targets", "agents", "jobs", "audit", "auth/roles"];

/// Fails unless a problem says what to do.
#[track_caller]
fn has_hint(problem: &Value) {
    assert!(problem["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "there is no hint: {problem}");
}
