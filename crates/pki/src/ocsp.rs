//! Online certificate status (RFC 6960, lightweight profile RFC 5019, nonces RFC 9654): requests read with bounds, responses signed by
//! a delegated responder.

mod id;
mod request;
mod responder;
mod response;

pub use self::id::{CertId, IssuerHashes};
pub use self::request::{MalformedRequest, Nonce, Request};
pub use self::responder::{Responder, ResponderError, certify};
pub use self::response::{CertStatus, OcspError, Refusal, ResponseSpec, Single};
