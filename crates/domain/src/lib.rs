//! The nouns of certctl and the rules about them. Pure: no I/O, no clock, no database, no HTTP.

mod schema;

pub mod agent;
pub mod audit;
pub mod auth;
pub mod certificate;
pub mod challenge;
pub mod ids;
pub mod issuer;
pub mod job;
pub mod list;
pub mod notification;
pub mod noun;
pub mod owner;
pub mod profile;
pub mod renewal;
pub mod secret;
pub mod target;
pub mod team;
pub mod time;
pub mod x509;
