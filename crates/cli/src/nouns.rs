//! The nouns, a file each, and where those lie to which others refer.

pub(crate) mod actors;
pub(crate) mod agents;
pub(crate) mod audit;
pub(crate) mod certs;
pub(crate) mod issuers;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod owners;
pub(crate) mod policies;
pub(crate) mod profiles;
pub(crate) mod roles;
pub(crate) mod targets;
pub(crate) mod teams;

use crate::noun::{Flag, Kind, Takes, flag};

/// The flag by which a caller chooses an identifier.
pub(crate) const ID: Flag = flag("id", "id", Takes::Text, "Identifier to give it; one is made when absent");

pub(crate) const ACTOR: Kind = kind("actor", "actors", "/api/v1/auth/actors");
pub(crate) const AGENT: Kind = kind("agent", "agents", "/api/v1/agents");
pub(crate) const CERTIFICATE: Kind = kind("certificate", "certs", "/api/v1/certificates");
pub(crate) const ISSUER: Kind = kind("issuer", "issuers", "/api/v1/issuers");
pub(crate) const OWNER: Kind = kind("owner", "owners", "/api/v1/owners");
pub(crate) const POLICY: Kind = kind("renewal policy", "policies", "/api/v1/renewal-policies");
pub(crate) const PROFILE: Kind = kind("profile", "profiles", "/api/v1/profiles");
pub(crate) const ROLE: Kind = kind("role", "roles", "/api/v1/auth/roles");
pub(crate) const TARGET: Kind = kind("target", "targets", "/api/v1/targets");
pub(crate) const TEAM: Kind = kind("team", "teams", "/api/v1/teams");

const fn kind(one: &'static str, command: &'static str, path: &'static str) -> Kind {
    Kind { one, command, path }
}

#[cfg(test)]
mod tests;
