//! How connectors of a family are listed, looked up, described and built.
//!
//! ```
//! use certctl_connector_core::registry::{Connector, Family, entry};
//! # use certctl_connector_core::ConnectorError;
//! trait Greeter { fn greet(&self) -> String; }
//! struct Hello(String);
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Settings { name: String }
//! impl Connector for Hello {
//!     const KIND: &'static str = "Hello";
//!     const SUMMARY: &'static str = "says hello";
//!     type Config = Settings;
//!     fn build(config: Settings) -> Result<Self, ConnectorError> { Ok(Self(config.name)) }
//! }
//! impl Greeter for Hello { fn greet(&self) -> String { format!("hello {}", self.0) } }
//!
//! static GREETERS: Family<dyn Greeter> = Family::new("greeter", &[entry!(Hello as dyn Greeter)]);
//! let greeter = GREETERS.build("hello", serde_json::json!({"name": "world"})).unwrap();
//! assert_eq!(greeter.greet(), "hello world");
//! ```

use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use crate::__connector_entry as entry;
use crate::ConnectorError;

/// What every connector must say about itself.
pub trait Connector: Sized {
    /// The name of its kind, as targets and issuers carry it.
    const KIND: &'static str;
    /// What it is, in a few words.
    const SUMMARY: &'static str;
    /// Its settings; from them come validation, forms and reference pages. Unknown fields must be refused.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes the connector from settings that have the right form. No input or output here.
    ///
    /// # Errors
    /// When settings contradict one another.
    fn build(config: Self::Config) -> Result<Self, ConnectorError>;
}

/// One kind in a family's list; made by [`entry!`].
#[derive(Debug)]
pub struct Entry<T: ?Sized> {
    /// The name of the kind.
    pub kind: &'static str,
    /// What it is, in a few words.
    pub summary: &'static str,
    #[doc(hidden)]
    pub schema: fn() -> Schema,
    #[doc(hidden)]
    pub build: fn(Value) -> Result<Box<T>, ConnectorError>,
}

/// All kinds of one family.
#[derive(Debug)]
pub struct Family<T: ?Sized + 'static> {
    name: &'static str,
    entries: &'static [Entry<T>],
}

impl<T: ?Sized> Family<T> {
    /// A family with its list.
    #[must_use]
    pub const fn new(name: &'static str, entries: &'static [Entry<T>]) -> Self {
        Self { name, entries }
    }

    /// Every kind.
    #[must_use]
    pub const fn entries(&self) -> &'static [Entry<T>] {
        self.entries
    }

    /// The entry of a kind; upper and lower case are the same.
    ///
    /// # Errors
    /// When there is no such kind; the hint lists those there are.
    pub fn find(&self, kind: &str) -> Result<&'static Entry<T>, ConnectorError> {
        self.entries.iter().find(|entry| entry.kind.eq_ignore_ascii_case(kind)).ok_or_else(|| {
            let known: Vec<_> = self.entries.iter().map(|entry| entry.kind).collect();
            ConnectorError::unsupported(format!("there is no {} kind `{kind}`", self.name))
                .hint(format!("known kinds: {}", known.join(", ")))
        })
    }

    /// The JSON schema of a kind's settings.
    ///
    /// # Errors
    /// When there is no such kind.
    pub fn schema(&self, kind: &str) -> Result<Schema, ConnectorError> {
        self.find(kind).map(|entry| (entry.schema)())
    }

    /// Builds a connector from its kind and settings; `null` settings are empty ones.
    ///
    /// # Errors
    /// When there is no such kind, or the settings are wrong.
    pub fn build(&self, kind: &str, config: Value) -> Result<Box<T>, ConnectorError> {
        let entry = self.find(kind)?;
        (entry.build)(if config.is_null() { Value::Object(serde_json::Map::new()) } else { config })
    }
}

#[doc(hidden)]
pub fn build_from<C: Connector>(config: Value) -> Result<C, ConnectorError> {
    let config = serde_json::from_value(config).map_err(|e| {
        // Serde repeats what it found, which may be a secret in the wrong place; the name of the field is enough.
        let text = e.to_string();
        let safe = if text.starts_with("unknown field") || text.starts_with("missing field") || !text.starts_with("invalid") {
            text
        } else {
            format!("a value has the wrong type; {}", text.rsplit_once("expected").map_or("see the schema", |(_, wanted)| wanted.trim()))
        };
        ConnectorError::permanent(format!("the {} settings are not valid: {safe}", C::KIND))
            .hint(format!("compare with the settings of {} in the reference", C::KIND))
    })?;
    C::build(config)
}

/// One entry of a family's list: `entry!(Nginx as dyn Target)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __connector_entry {
    ($connector:ty as $family:ty) => {
        $crate::registry::Entry::<$family> {
            kind: <$connector as $crate::registry::Connector>::KIND,
            summary: <$connector as $crate::registry::Connector>::SUMMARY,
            schema: || ::schemars::schema_for!(<$connector as $crate::registry::Connector>::Config),
            build: |config| Ok(Box::new($crate::registry::build_from::<$connector>(config)?)),
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    trait Shape: std::fmt::Debug {
        fn sides(&self) -> u32;
    }

    #[derive(Debug)]
    struct Polygon(u32);

    #[derive(serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct PolygonConfig {
        /// How many sides.
        sides: u32,
    }

    impl Connector for Polygon {
        const KIND: &'static str = "Polygon";
        const SUMMARY: &'static str = "has sides";
        type Config = PolygonConfig;

        fn build(config: PolygonConfig) -> Result<Self, ConnectorError> {
            if config.sides < 3 { Err(ConnectorError::permanent("too few sides")) } else { Ok(Self(config.sides)) }
        }
    }

    impl Shape for Polygon {
        fn sides(&self) -> u32 {
            self.0
        }
    }

    static SHAPES: Family<dyn Shape> = Family::new("shape", &[entry!(Polygon as dyn Shape)]);

    #[test]
    fn a_kind_is_found_in_any_case_and_built() {
        assert_eq!(SHAPES.build("POLYGON", serde_json::json!({"sides": 3})).unwrap().sides(), 3);
        let schema = SHAPES.schema("polygon").unwrap();
        assert_eq!(schema.as_value()["properties"]["sides"]["description"], "How many sides.");
        assert_eq!(schema.as_value()["additionalProperties"], false);
    }

    #[test]
    fn wrong_settings_are_explained_and_not_repeated() {
        for (kind, config, why) in [
            ("Circle", serde_json::json!({}), "no shape kind `Circle`"),
            ("Polygon", serde_json::Value::Null, "missing field `sides`"),
            ("Polygon", serde_json::json!({"sides": 2}), "too few"),
            ("Polygon", serde_json::json!({"sides": 3, "colour": "red"}), "unknown field `colour`"),
            ("Polygon", serde_json::json!({"sides": "hunter2"}), "wrong type"),
            ("Polygon", serde_json::json!("hunter2"), "wrong type"),
        ] {
            let error = SHAPES.build(kind, config).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
