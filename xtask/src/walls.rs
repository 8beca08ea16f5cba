//! The walls of the house as tables: which room may call which, and which outside crates belong to some rooms only.
//!
//! `cargo xtask tidy` holds every manifest against them. To open a door, add it here and say in the commit why the room needs it.

/// A crate of the workspace and the crates of the workspace that it may depend on.
pub(crate) struct Room {
    pub(crate) name: &'static str,
    pub(crate) may_call: &'static [&'static str],
}

/// Outside crates that belong to some rooms only.
pub(crate) struct Confined {
    pub(crate) crates: &'static [&'static str],
    pub(crate) rooms: &'static [&'static str],
    pub(crate) why: &'static str,
}

/// Who may call whom. The test kit may also be a dev-dependency of anybody.
pub(crate) const ROOMS: [Room; 17] = [
    Room { name: DOMAIN, may_call: &[] },
    Room { name: PKI, may_call: &[DOMAIN] },
    Room { name: API, may_call: &[DOMAIN] },
    Room { name: STORE, may_call: &[DOMAIN] },
    Room { name: CORE, may_call: &[DOMAIN, PKI] },
    Room { name: ISSUERS, may_call: &[DOMAIN, PKI, CORE] },
    Room { name: TARGETS, may_call: &[DOMAIN, PKI, CORE] },
    Room { name: BACKUP, may_call: &[DOMAIN, CORE] },
    Room { name: ENGINE, may_call: &[DOMAIN, PKI, STORE, CORE, ISSUERS, TARGETS] },
    Room { name: PROTOCOLS, may_call: &[DOMAIN, PKI, ENGINE] },
    Room { name: SERVER, may_call: &[DOMAIN, API, ENGINE, PROTOCOLS, STORE, PKI, CORE, BACKUP] },
    Room { name: AGENT, may_call: &[DOMAIN, PKI, API, CORE, TARGETS] },
    Room { name: CLI, may_call: &[DOMAIN, API] },
    Room { name: TESTKIT, may_call: &[DOMAIN, API] },
    Room { name: E2E, may_call: &[DOMAIN, API, TESTKIT] },
    Room { name: BENCH, may_call: &[] },
    Room { name: XTASK, may_call: &[] },
];

/// What is not for everybody.
pub(crate) const CONFINED: [Confined; 5] = [
    Confined { crates: &["sqlx"], rooms: &[STORE, TESTKIT, BENCH], why: "SQL lives in the store" },
    Confined {
        crates: &["axum", "tower", "tower-http", "utoipa-axum"],
        rooms: &[SERVER, BENCH],
        why: "only the server has an API; an engine that sees HTTP types can serve nothing else",
    },
    Confined {
        crates: &["hyper", "hyper-util", "http", "http-body-util"],
        rooms: &[SERVER, BENCH, CORE],
        why: "HTTP is spoken by the server, and to CAs that look at a challenge by certctl-connector-core, in one way for server and agent",
    },
    Confined {
        crates: &["reqwest"],
        rooms: &[CORE, API, AGENT, CLI, TESTKIT, E2E],
        why: "calls to the outside go through the egress client of certctl-connector-core",
    },
    Confined {
        crates: &["object_store", "age"],
        rooms: &[BACKUP],
        why: "clients of clouds live in leaf crates; only backups are kept in an S3, and only they are encrypted by age",
    },
];

/// The domain computes; these give it words, never I/O.
pub(crate) const DOMAIN_MAY_USE: [&str; 9] = ["serde", "serde_json", "utoipa", "time", "uuid", "thiserror", "idna", "ipnet", "zeroize"];

pub(crate) const DOMAIN: &str = "certctl-domain";
pub(crate) const PKI: &str = "certctl-pki";
pub(crate) const API: &str = "certctl-api";
pub(crate) const STORE: &str = "certctl-store";
pub(crate) const CORE: &str = "certctl-connector-core";
pub(crate) const ISSUERS: &str = "certctl-issuers";
pub(crate) const TARGETS: &str = "certctl-targets";
pub(crate) const BACKUP: &str = "certctl-backup";
pub(crate) const ENGINE: &str = "certctl-engine";
pub(crate) const PROTOCOLS: &str = "certctl-protocols";
pub(crate) const SERVER: &str = "certctl-server";
pub(crate) const AGENT: &str = "certctl-agent";
pub(crate) const CLI: &str = "certctl-cli";
pub(crate) const TESTKIT: &str = "certctl-testkit";
pub(crate) const E2E: &str = "certctl-e2e";
pub(crate) const BENCH: &str = "certctl-bench";
pub(crate) const XTASK: &str = "xtask";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_room_can_reach_itself() {
        for room in &ROOMS {
            let mut reached: BTreeSet<&str> = BTreeSet::new();
            let mut next: Vec<&str> = room.may_call.to_vec();
            while let Some(name) = next.pop() {
                if reached.insert(name) {
                    next.extend(ROOMS.iter().filter(|other| other.name == name).flat_map(|other| other.may_call));
                }
            }
            assert!(!reached.contains(room.name), "{} can reach itself", room.name);
        }
    }
}
