//! A certificate's whole life through the engine, on both databases, with the clock in the test's hand and a real key at a test agent.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "the test's own worker is not one of the supervised tasks")]

mod acme;
mod authorities;
mod clock;
mod holders;
mod house;
mod imported;
mod issue;
mod publication;
mod renew;
mod renewal_info;
mod revoke;
mod trouble;

certctl_testkit::test_store!();
