//! Backups: where they are kept, what a manifest says, encryption, and which of them may go. It does not know the database.
//!
//! An archive is what the database's own programs read: an SQLite file or a custom-format dump of PostgreSQL, perhaps encrypted with age.
//! Beside it lies a manifest, written last: an archive without one is none. Everything here blocks, and is called where that is allowed.

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests make their own fixtures"))]

pub mod dump;
pub mod error;
pub mod manifest;
pub mod name;
pub mod place;
pub mod retention;
pub mod seal;
pub mod stream;

pub use error::BackupError;
pub use manifest::Manifest;
pub use name::ArchiveName;
pub use place::Place;
