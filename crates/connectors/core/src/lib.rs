//! What every connector shares: how it is described and built, how it fails, and the only ways it reaches outside.
//!
//! Outside is bounded. Programs run through [`exec`], files are written through [`files`], HTTP goes through [`egress`],
//! TLS handshakes through [`probe`]; each has time-outs and caps, and a refusal says what to do next. Who looks at a [`challenge`] is
//! answered through [`listen`].

pub mod challenge;
pub mod egress;
pub mod error;
pub mod exec;
pub mod fault;
pub mod files;
pub mod listen;
pub mod material;
pub mod probe;
pub mod registry;
pub mod report;
pub mod setting;
pub mod target;

pub use error::{ConnectorError, Retry};
