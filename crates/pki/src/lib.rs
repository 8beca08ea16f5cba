//! Bytes to meaning and back: keys, requests, certificates, chains, and the bytes of our own CA. No network, no database.
//!
//! Structure is read and written with the `RustCrypto` formats, every signature, digest and random number is aws-lc-rs. What
//! comes from outside is parsed once into a type that cannot hold a bad value; what we are about to sign is linted first.

pub mod algorithm;
pub mod ari;
pub mod authority;
pub mod certificate;
pub mod chain;
pub mod constraints;
pub mod crl;
pub mod csr;
pub mod dn;
pub mod key;
pub mod lint;
pub mod ocsp;
pub mod pem;
pub mod pkcs12;
pub mod public_key;
pub mod signer;
pub mod verify;

mod identifiers;
mod names;
mod oids;
mod signed;
mod tbs;
mod tlv;
