//! Walls: what the manifests say against the tables of [`crate::walls`]; an edge that they lack is an offence, not a warning.

use std::collections::BTreeSet;

use cargo_metadata::DependencyKind;

use crate::failure::Failure;
use crate::walls::{CONFINED, DOMAIN, DOMAIN_MAY_USE, ROOMS, TESTKIT};
use crate::workspace;

use super::Offence;

/// The crates of the workspace and what each depends on directly.
pub(super) struct Graph {
    crates: BTreeSet<String>,
    edges: Vec<Edge>,
}

struct Edge {
    from: String,
    to: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Test,
}

impl Graph {
    /// Reads the manifests.
    pub(super) fn read() -> Result<Self, Failure> {
        let metadata = workspace::members()?;
        let mut graph = Self { crates: BTreeSet::new(), edges: Vec::new() };
        for package in &metadata.packages {
            graph.crates.insert(package.name.to_string());
            for dependency in &package.dependencies {
                let kind = if dependency.kind == DependencyKind::Development { Kind::Test } else { Kind::Normal };
                graph.edges.push(Edge { from: package.name.to_string(), to: dependency.name.clone(), kind });
            }
        }
        Ok(graph)
    }
}

/// Every edge that no row of the tables allows.
pub(super) fn check(graph: &Graph) -> Result<Vec<Offence>, Failure> {
    let mut offences = Vec::new();
    for name in &graph.crates {
        if !ROOMS.iter().any(|room| room.name == name) {
            offences.push(Offence::new(name, "this crate has no row in the table of rooms (xtask/src/walls.rs)"));
        }
    }
    for edge in &graph.edges {
        let room = ROOMS.iter().find(|room| room.name == edge.from);
        if graph.crates.contains(&edge.to) {
            let allowed = room.is_some_and(|room| room.may_call.contains(&edge.to.as_str()));
            let testing = edge.kind == Kind::Test && edge.to == TESTKIT;
            if !allowed && !testing {
                offences.push(Offence::new(&edge.from, format!("must not depend on {}", edge.to)));
            }
            continue;
        }
        if edge.kind == Kind::Test {
            continue;
        }
        for confined in CONFINED.iter().filter(|confined| confined.crates.contains(&edge.to.as_str())) {
            if !confined.rooms.contains(&edge.from.as_str()) {
                offences.push(Offence::new(&edge.from, format!("must not depend on {}: {}", edge.to, confined.why)));
            }
        }
        if edge.from == DOMAIN && !DOMAIN_MAY_USE.contains(&edge.to.as_str()) {
            offences.push(Offence::new(&edge.from, format!("must not depend on {}: the domain is pure", edge.to)));
        }
    }
    Ok(offences)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walls::{AGENT, CLI, ENGINE, SERVER, STORE, TARGETS};

    fn graph(edges: &[(&str, &str, Kind)]) -> Graph {
        let crates = ROOMS.iter().map(|room| room.name.to_owned()).collect();
        let edges = edges.iter().map(|(from, to, kind)| Edge { from: (*from).to_owned(), to: (*to).to_owned(), kind: *kind }).collect();
        Graph { crates, edges }
    }

    fn offences(edges: &[(&str, &str, Kind)]) -> Vec<String> {
        check(&graph(edges)).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_planned_edges_are_allowed() {
        let edges =
            [(ENGINE, STORE, Kind::Normal), (AGENT, TARGETS, Kind::Normal), (STORE, TESTKIT, Kind::Test), (STORE, "sqlx", Kind::Normal)];
        assert_eq!(offences(&edges), Vec::<String>::new());
    }

    #[test]
    fn an_edge_through_a_wall_is_an_offence() {
        assert_eq!(offences(&[(AGENT, STORE, Kind::Normal)]), ["certctl-agent: must not depend on certctl-store"]);
        assert_eq!(offences(&[(CLI, ENGINE, Kind::Test)]), ["certctl-cli: must not depend on certctl-engine"]);
        assert_eq!(offences(&[(SERVER, TESTKIT, Kind::Normal)]), ["certctl-server: must not depend on certctl-testkit"]);
    }

    #[test]
    fn outside_crates_stay_in_their_rooms() {
        assert_eq!(offences(&[(ENGINE, "sqlx", Kind::Normal)]), ["certctl-engine: must not depend on sqlx: SQL lives in the store"]);
        assert_eq!(offences(&[(ENGINE, "axum", Kind::Normal)]).len(), 1);
        assert_eq!(offences(&[(ENGINE, "reqwest", Kind::Normal)]).len(), 1);
        assert_eq!(offences(&[(DOMAIN, "tokio", Kind::Normal)]), ["certctl-domain: must not depend on tokio: the domain is pure"]);
    }

    #[test]
    fn a_crate_without_a_row_is_an_offence() {
        let mut graph = graph(&[]);
        graph.crates.insert("certctl-extra".to_owned());
        let offences = check(&graph).unwrap();
        assert_eq!(offences.len(), 1);
        assert_eq!(offences[0].place, "certctl-extra");
    }
}
