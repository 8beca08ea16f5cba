//! What the engine refuses or fails at: a closed list of kinds, a stable code, words for people, and the cause for the log.

use std::sync::Arc;

use certctl_domain::noun::{FieldError, Refusal};
use certctl_store::StoreError;

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error with everything that a renderer of any protocol needs.
#[derive(Debug)]
pub struct Error {
    /// What kind, which decides the status.
    pub kind: ErrorKind,
    /// Stable and machine-readable: `name_taken`.
    pub code: &'static str,
    /// What happened, for people; safe to show.
    pub detail: String,
    /// What to do next.
    pub hint: Option<String>,
    /// The fields that are not as they should be.
    pub fields: Vec<FieldError>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is not as it should be.
    Invalid,
    /// The caller is not known.
    Unauthenticated,
    /// The caller is known but not allowed.
    Forbidden,
    /// There is no such thing, or the caller may not know of it.
    NotFound,
    /// It does not fit what is there.
    Conflict,
    /// It was changed by somebody else in the meantime.
    Stale,
    /// It was here, and is gone for good.
    Gone,
    /// Too much at once; seconds to wait.
    Throttled(u64),
    /// Something that is needed does not answer now.
    Unavailable,
    /// A fault of ours.
    Internal,
}

impl Error {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, code: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, code, detail: detail.into(), hint: None, fields: Vec::new(), source: None }
    }

    /// The request is not as it should be.
    pub fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, code, detail)
    }

    /// There is no such thing.
    pub fn not_found(kind: &str, id: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::NotFound, "not_found", format!("there is no {} `{id}`", kind.replace('_', " ")))
    }

    /// It does not fit what is there.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, code, detail)
    }

    /// The caller is known but not allowed.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, "forbidden", detail)
    }

    /// A fault of ours; the detail is for the log, not for the caller.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, "internal", detail)
    }

    /// The same error for one of several callers who waited for the same thing.
    #[must_use]
    pub fn shared(self: &Arc<Self>) -> Self {
        let Self { kind, code, detail, hint, fields, source } = &**self;
        let source = source.as_ref().map(|_| Box::new(Cause(Arc::clone(self))) as Box<dyn std::error::Error + Send + Sync>);
        Self { kind: *kind, code, detail: detail.clone(), hint: hint.clone(), fields: fields.clone(), source }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// The cause of an error that several callers share.
#[derive(Debug)]
struct Cause(Arc<Error>);

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.source.as_ref().map_or(Ok(()), |source| source.fmt(f))
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref()?.source()
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self {
            kind: ErrorKind::Invalid,
            code: "invalid_field",
            detail: refusal.to_string(),
            hint: refusal.hint,
            fields: refusal.fields,
            source: None,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match &error {
            StoreError::Duplicate(what) => {
                Self::conflict("name_taken", format!("{what} is taken")).hint("choose another one, or change the one that has it")
            }
            StoreError::Reference(_) => Self::conflict("reference", "something that is referred to does not exist, or is still in use")
                .hint("look at the ids in the request; what is in use must be taken out of use first"),
            StoreError::Stale => {
                Self::new(ErrorKind::Stale, "changed_meanwhile", text).hint("read it again and repeat the change on what it is now")
            }
            StoreError::Query { field, message } => {
                let mut error = Self::invalid("invalid_query", format!("{field}: {message}"));
                error.fields.push(FieldError { field: field.clone(), message: message.clone() });
                error
            }
            StoreError::Database(_) | StoreError::Silent { .. } | StoreError::Busy { .. } => {
                Self::new(ErrorKind::Unavailable, "database_unavailable", "the database does not answer as it should").because(error)
            }
            StoreError::Url
            | StoreError::SchemaNewer { .. }
            | StoreError::SchemaOlder { .. }
            | StoreError::Migration { .. }
            | StoreError::MigrationChanged { .. }
            | StoreError::MigrationSlow { .. }
            | StoreError::MigrationLocked { .. }
            | StoreError::MigrationBlocked { .. }
            | StoreError::Corrupt(_)
            | StoreError::Secret(_) => Self::internal(text).because(error),
        }
    }
}
