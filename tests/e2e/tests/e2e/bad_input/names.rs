//! Names that no certificate may have, in a certificate's record.

use certctl_testkit::{Engine, both_databases};
use serde_json::json;

use super::{Before, has_hint};
use crate::harness::{World, fields_of};

both_databases! {
    async fn names_that_no_certificate_may_have(world: World) {
        let before = Before::of(&world).await;
        for name in [
            "",
            " web.example.test",
            "web..example.test",
            "-web.example.test",
            "web_1.example.test",
            "*",
            "*.test",
            "w*.example.test",
            "*.*.example.test",
            "web.*.test",
            // Cyrillic letters that look like Latin ones.
            "\u{440}\u{430}ypal.example.test",
            "web\u{202e}.example.test",
            "10.0.0.256",
            "web.example.test:443",
            "https://",
            "@example.test",
        ] {
            let body = json!({"name": "web", "sans": [name]});
            let problem = world.api.post("/api/v1/certificates", &body).await.is(400).problem();
            assert!(fields_of(&problem).iter().any(|field| field.starts_with("sans")), "{name:?}: {problem}");
            has_hint(&problem);
        }
        let many: Vec<String> = (0..500).map(|number| format!("host-{number}.example.test")).collect();
        has_hint(&world.api.post("/api/v1/certificates", &json!({"name": "web", "sans": many})).await.is(400).problem());
        let long = json!({"name": "web", "common_name": "a".repeat(65), "sans": ["web.example.test"]});
        let problem = world.api.post("/api/v1/certificates", &long).await.is(400).problem();
        assert_eq!(fields_of(&problem).first(), Some(&"common_name"), "{problem}");
        before.is_now(&world).await;
    }
}

#[tokio::test]
async fn international_names_become_what_certificates_use() {
    let world = World::open(Engine::Sqlite).await;
    let body = json!({"name": "books", "sans": ["B\u{fc}cher.Example.Test", "2001:DB8::0007", "*.Example.Test"]});
    let made = world.api.post("/api/v1/certificates", &body).await.is(201).json();
    let mut sans: Vec<&str> = made["sans"].as_array().unwrap().iter().map(|san| san.as_str().unwrap()).collect();
    sans.sort_unstable();
    assert_eq!(sans, ["*.example.test", "2001:db8::7", "xn--bcher-kva.example.test"]);
}
