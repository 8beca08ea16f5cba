//! The wire form of types that are plain text: parsed on the way in, displayed on the way out.

/// Gives types with `parse` and `Display` their serde forms, `FromStr` and a schema.
macro_rules! as_text {
    ($($type:ident, $parse:path, $name:literal, $format:literal, $doc:literal;)*) => { $(
        impl std::str::FromStr for $type {
            type Err = crate::x509::InvalidName;
            fn from_str(text: &str) -> Result<Self, crate::x509::InvalidName> {
                $parse(text)
            }
        }
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str> as serde::Deserialize>::deserialize(deserializer)?;
                $parse(&text).map_err(serde::de::Error::custom)
            }
        }
        crate::schema::string_schema!($type, $name, $format, $doc);
    )* };
}
/// Gives newtypes over a string their `Display`.
macro_rules! display_inner {
    ($($type:ident)*) => { $(
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    )* };
}

pub(super) use {as_text, display_inner};
