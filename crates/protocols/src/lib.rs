//! Wire formats of other people's protocols over the engine: from the parts of an HTTP request to the parts of its answer.
//!
//! No HTTP library is seen here: the server hands in method, path, headers and body, and writes out what comes back. So the same
//! protocol is served on every listener, and tested without one.

pub mod revocation;
