//! The words of X.509 as types: names, serial numbers, fingerprints, key algorithms, usages, revocation reasons.
//!
//! A value of one of these types has been checked; nothing below asks again.

mod names;
mod numbers;
mod refusal;
mod text;
mod words;

pub use self::names::{DnsName, EmailAddress, San, SanSet, UriName, check_common_name};
pub use self::numbers::{Fingerprint, Serial};
pub use self::refusal::{InvalidName, deceptive};
pub use self::words::{ExtendedKeyUsage, KeyAlgorithm, RevocationReason};
