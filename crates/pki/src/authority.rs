//! The bytes of our own CA: roots, issuing CAs, leaves.
//!
//! A certificate comes into being in three steps, so that a crash between any two of them loses nothing: the to-be-signed bytes
//! are prepared and linted under a throw-away key ([`IssuingCa::prepare_leaf`]), the caller stores them, and only then the CA key
//! signs exactly those bytes ([`IssuingCa::sign_leaf`]).

mod challenge;
mod error;
mod issuing;
mod leaf;
mod load;
mod parts;
mod publication;
mod renew;
mod root;
mod serial;
mod sub_ca;
mod validity;

pub use self::challenge::challenge_certificate;
pub use self::error::{ImportError, IssueError};
pub use self::issuing::{IssuingCa, Prepared};
pub use self::leaf::LeafRequest;
pub use self::publication::{InvalidPolicy, PolicyOid, Publication};
pub use self::root::RootSpec;
pub use self::serial::{RandomError, random_serial};
pub use self::sub_ca::SubCaSpec;
pub use self::validity::{InvalidValidity, Validity};
