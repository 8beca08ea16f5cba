//! What all nouns share: an identifier, a name, a revision, and one way to be created, replaced and refused.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ids::Id;
use crate::time::Timestamp;

/// A noun of the product. It serialises to what the API shows; what comes in is its [`Noun::Draft`].
pub trait Noun: Serialize + DeserializeOwned + utoipa::ToSchema + Clone + Send + Sync + 'static {
    /// Its identifier.
    type Id: Id;
    /// What a caller gives to create or replace it. Unknown fields are refused.
    type Draft: Serialize + DeserializeOwned + utoipa::ToSchema + Send + Sync + 'static;

    /// Singular, as in audit rows and messages: `renewal_policy`.
    const KIND: &'static str;
    /// Plural, as in the table's name: `renewal_policies`.
    const PLURAL: &'static str;

    /// Its identifier.
    fn id(&self) -> &Self::Id;
    /// Its name, unique among its kind.
    fn name(&self) -> &str;
    /// How often it was changed; the `ETag`.
    fn revision(&self) -> i64;

    /// The identifier that the caller chose, if any.
    fn chosen_id(draft: &Self::Draft) -> Option<&Self::Id>;

    /// Makes a new one.
    ///
    /// # Errors
    /// Every field that is not as it should be.
    fn create(id: Self::Id, draft: Self::Draft, now: Timestamp) -> Result<Self, Refusal>;

    /// Replaces what a caller may change; the rest stays.
    ///
    /// # Errors
    /// Every field that is not as it should be.
    fn replace(&self, draft: Self::Draft, now: Timestamp) -> Result<Self, Refusal>;

    /// The draft that would make it as it is, for merge patches (RFC 7396).
    fn draft(&self) -> Self::Draft;
}

/// One field that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct FieldError {
    /// The field's name as in JSON; nested ones with dots.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// Why a draft is refused: at least one field error, and what to do where that is not obvious.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    /// The fields.
    pub fields: Vec<FieldError>,
    /// What to do next.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal of one field.
    pub fn field(field: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { fields: vec![FieldError { field: field.into(), message: message.to_string() }], hint: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.fields.iter().enumerate() {
            write!(f, "{}{}: {}", if i == 0 { "" } else { "; " }, error.field, error.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// Gathers field errors, so that a caller sees all of them at once.
#[derive(Debug, Default)]
pub struct Check(Refusal);

impl Check {
    /// Notes an error when `fine` does not hold.
    pub fn that(&mut self, fine: bool, field: &str, message: impl fmt::Display) -> &mut Self {
        if !fine {
            self.0.fields.push(FieldError { field: field.to_owned(), message: message.to_string() });
        }
        self
    }

    /// Notes the error of a result and gives its value.
    pub fn ok<T, E: fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.that(false, field, error)).ok()
    }

    /// A name for people: 1 to 255 characters, none that deceive, no white space at the ends.
    pub fn name(&mut self, field: &str, name: &str) -> &mut Self {
        self.that(!name.is_empty(), field, "must not be empty")
            .that(name.chars().count() <= 255, field, "must have at most 255 characters")
            .that(name.trim() == name, field, "must not begin or end with white space")
            .text(field, name)
    }

    /// A free text: at most 4096 bytes, none that deceive.
    pub fn text(&mut self, field: &str, text: &str) -> &mut Self {
        self.that(text.len() <= 4_096, field, "must have at most 4096 bytes");
        if let Some(why) = crate::x509::deceptive(&text.replace(['\n', '\t'], " ")) {
            self.that(false, field, why);
        }
        self
    }

    /// Tags and labels: at most 64, keys of 1 to 63 and values of at most 255 characters.
    pub fn tags(&mut self, field: &str, tags: &std::collections::BTreeMap<String, String>) -> &mut Self {
        self.that(tags.len() <= 64, field, "must have at most 64 entries");
        for (key, value) in tags {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
            self.that(
                !key.is_empty() && key.len() <= 63 && key.chars().all(plain),
                field,
                "has a key that is not 1 to 63 characters of A-Z a-z 0-9 . _ - /",
            )
            .that(value.chars().count() <= 255, field, "has a value longer than 255 characters")
            .text(field, value);
        }
        self
    }

    /// The end: the value, or all that was noted.
    ///
    /// # Errors
    /// All field errors noted so far.
    pub fn finish<T>(self, value: impl FnOnce() -> T) -> Result<T, Refusal> {
        if self.0.fields.is_empty() { Ok(value()) } else { Err(self.0) }
    }

    /// Whether nothing was noted so far.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.0.fields.is_empty()
    }

    /// All that was noted as a refusal.
    #[must_use]
    pub fn into_refusal(self) -> Refusal {
        self.0
    }
}
