//! Agents: how they get in, what they may do, and what becomes of their work when they or the server fail.

mod crashes;
mod enrollment;
mod limits;
mod retirement;
