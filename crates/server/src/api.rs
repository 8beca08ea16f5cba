//! The REST framework: one list of operations is at once the router, the OpenAPI document and the list of who may call what.
//!
//! An operation is registered with a path, a line of text and a handler. What the handler takes and gives describes itself: its first
//! argument says who may call ([`Access`]), the others where its input comes from ([`Part`]), its answer what comes back ([`Reply`]).
//! A handler whose first argument says nothing about access does not compile.

mod access;
mod body;
pub(crate) mod crud;
mod frame;
mod idempotency;
mod list;
mod openapi;
mod operation;
mod parts;
mod reply;
mod router;
mod schema;

pub use access::{Access, Authenticated, Authorized, AuthorizedAgent, Public};
pub use body::{Body, Draft, DraftAs, MergePatch, OptionalBody};
pub use frame::RequestSeen;
pub(crate) use frame::not_found;
pub use list::{ListParams, Rows, RowsParams};
pub use operation::{Described, Operation, Part, Required};
pub use parts::{IfMatch, Named, Path, Peer, Query, Unnamed};
pub use reply::{Accepted, Also, Created, File, Json, Listing, MediaType, Ndjson, NoContent, One, OpenMetrics, Pkcs12, Plain, Reply, Text};
pub use router::{Api, Route};
