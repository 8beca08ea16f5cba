//! The issuer against real CAs and against bad ones. The tests call it as the engine does, storing each ticket between two calls.

mod bad;
mod exact;
mod pebble;
mod proofs;
mod roll_over;
mod scripted;
mod support;
