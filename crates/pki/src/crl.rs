//! Certificate revocation lists (RFC 5280 section 5): entries are written as they are read, so that a long list costs its own bytes
//! and little more.

mod entries;
mod points;
mod sign;

pub use self::entries::{Entries, Entry};
pub use self::points::distribution_points;
pub use self::sign::{CrlError, CrlSpec, sign};
