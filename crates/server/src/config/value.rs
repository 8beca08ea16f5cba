//! What a setting may hold: how a value is read from text, and how it is shown again.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

/// A value as a source gave it, before its type is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// One text, from a file, the environment or a flag. A list setting splits it at commas and line ends.
    Text(String),
    /// An array in the TOML file.
    List(Vec<String>),
}

/// A value as it is shown to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// A text; TOML puts it in quotes.
    Text(String),
    /// A number or truth value; TOML writes it bare.
    Bare(String),
    /// Several of them.
    List(Vec<Self>),
    /// Optional and not given.
    Unset,
}

/// Why a text is not a value of the wanted type. Never repeats the text itself, which may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue {
    /// Completes the sentence "the value ...".
    pub why: String,
    /// What to write instead, where there is something to say.
    pub hint: Option<String>,
}

impl BadValue {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A type that a setting may have.
pub trait SettingValue: Sized {
    /// The kind as the reference page names it.
    const KIND: &'static str;

    /// Reads the value.
    ///
    /// # Errors
    /// Says why the text is not such a value.
    fn from_raw(raw: &Raw) -> Result<Self, BadValue>;

    /// The value in its one canonical form; a secret shows as `[redacted]`.
    fn show(&self) -> Shown;

    /// What the setting is when nobody gave it, for types that can be without a value.
    fn unset() -> Option<Self> {
        None
    }

    /// How two values compare, for types that may have bounds.
    fn compare(&self, _other: &Self) -> Option<Ordering> {
        None
    }
}

/// The one text of a scalar setting.
pub(super) fn scalar(raw: &Raw) -> Result<&str, BadValue> {
    match raw {
        Raw::Text(text) => Ok(text.trim()),
        Raw::List(_) => Err(BadValue::new("is a list where one value is wanted")),
    }
}

impl SettingValue for bool {
    const KIND: &'static str = "boolean";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        match scalar(raw)?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(BadValue::new("is neither true nor false").hint("write true or false")),
        }
    }

    fn show(&self) -> Shown {
        Shown::Bare(self.to_string())
    }
}

macro_rules! whole_number {
    ($($type:ty, $kind:literal;)*) => { $(
        impl SettingValue for $type {
            const KIND: &'static str = $kind;

            fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
                let text = scalar(raw)?;
                let digits = text.replace('_', "");
                digits.parse().map_err(|_| BadValue::new(format!("is not a {}", $kind)).hint("write it in digits only, such as 20"))
            }

            fn show(&self) -> Shown {
                Shown::Bare(self.to_string())
            }

            fn compare(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
    )* };
}
whole_number! {
    u32, "whole number";
    NonZeroU32, "positive whole number";
}

impl SettingValue for PathBuf {
    const KIND: &'static str = "path";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        let text = scalar(raw)?;
        if text.is_empty() {
            return Err(BadValue::new("is empty where a path is wanted"));
        }
        if text.contains('\0') {
            return Err(BadValue::new("has a NUL character, which no path can hold"));
        }
        Ok(Self::from(text))
    }

    fn show(&self) -> Shown {
        Shown::Text(self.display().to_string())
    }
}

impl SettingValue for SocketAddr {
    const KIND: &'static str = "socket address";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        let text = scalar(raw)?;
        text.parse().map_err(|_| {
            BadValue::new("is not an IP address with a port").hint("write 0.0.0.0:8443 for every IPv4 address, [::]:8443 for IPv6 too")
        })
    }

    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

impl<T: SettingValue> SettingValue for Option<T> {
    const KIND: &'static str = T::KIND;

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        T::from_raw(raw).map(Some)
    }

    fn show(&self) -> Shown {
        self.as_ref().map_or(Shown::Unset, T::show)
    }

    fn unset() -> Option<Self> {
        Some(None)
    }

    fn compare(&self, other: &Self) -> Option<Ordering> {
        self.as_ref().zip(other.as_ref()).and_then(|(this, other)| this.compare(other))
    }
}

impl<T: ListItem> SettingValue for Vec<T> {
    const KIND: &'static str = T::LIST_KIND;

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        let items: Vec<&str> = match raw {
            Raw::Text(text) => text.split([',', '\n']).collect(),
            Raw::List(items) => items.iter().map(String::as_str).collect(),
        };
        let items = items.into_iter().map(str::trim).filter(|item| !item.is_empty()).enumerate();
        let nth = |place: usize, bad: BadValue| BadValue { why: format!("has an item (number {}) that {}", place + 1, bad.why), ..bad };
        let values: Self =
            items.map(|(place, item)| T::from_raw(&Raw::Text(item.to_owned())).map_err(|bad| nth(place, bad))).collect::<Result<_, _>>()?;
        if values.is_empty() { Err(BadValue::new("is a list without an item")) } else { Ok(values) }
    }

    fn show(&self) -> Shown {
        if self.is_empty() { Shown::Unset } else { Shown::List(self.iter().map(T::show).collect()) }
    }

    fn unset() -> Option<Self> {
        Some(Self::new())
    }
}

/// A type that a list setting may hold.
pub trait ListItem: SettingValue {
    /// The kind of the list as the reference page names it.
    const LIST_KIND: &'static str;
}

impl ListItem for SocketAddr {
    const LIST_KIND: &'static str = "list of socket addresses";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn truth_and_numbers_read_the_usual_spellings_only() {
        assert_eq!(bool::from_raw(&text("Yes")), Ok(true));
        assert_eq!(bool::from_raw(&text("off")), Ok(false));
        assert!(bool::from_raw(&text("maybe")).is_err() && bool::from_raw(&text("")).is_err());
        assert_eq!(u32::from_raw(&text("1_000")), Ok(1000));
        assert!(u32::from_raw(&text("-1")).is_err() && u32::from_raw(&text("4294967296")).is_err());
        assert!(NonZeroU32::from_raw(&text("0")).is_err());
        assert!(u32::from_raw(&Raw::List(vec!["1".to_owned()])).unwrap_err().why.contains("list"));
    }

    #[test]
    fn lists_split_text_and_name_the_bad_item() {
        let both = Vec::<SocketAddr>::from_raw(&text("127.0.0.1:1, [::1]:2,")).unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(both.show(), Shown::List(vec![Shown::Text("127.0.0.1:1".into()), Shown::Text("[::1]:2".into())]));
        let bad = Vec::<SocketAddr>::from_raw(&Raw::List(vec!["127.0.0.1:1".into(), "localhost:2".into()])).unwrap_err();
        assert!(bad.why.contains("number 2"), "{}", bad.why);
        assert!(Vec::<SocketAddr>::from_raw(&text(" , ")).is_err());
    }
}
