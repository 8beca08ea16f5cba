//! The agent in front of a small server: what it sends, what it keeps, what it does when things go wrong.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod challenges;
mod common;
mod deployments;
mod enrollment;
mod outages;
mod program;
mod requests;
