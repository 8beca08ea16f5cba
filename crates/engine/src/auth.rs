//! Access: who calls, what they may do, and the verbs on roles, actors and API keys.

mod actors;
pub mod authenticate;
pub mod bootstrap;
mod ceiling;
pub mod keys;
mod roles;
pub mod token;

pub use actors::{assign, disable, enable, unassign};
pub use authenticate::Authenticator;
pub use bootstrap::{first_admin, seed_roles};
pub use keys::{MintedKey, NewKey, RotatedKey, Rotation};
pub use roles::{allow, disallow};
pub use token::{Token, TokenKind};

/// The role that may do everything everywhere.
pub const ADMIN: &str = "r-admin";
