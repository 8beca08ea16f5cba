//! certctl-e2e
