//! Records written by DNS updates (RFC 2136), as BIND, Knot and others take them.

use std::net::SocketAddr;

use async_trait::async_trait;
use certctl_connector_core::ConnectorError;
use certctl_domain::time::Timestamp;

use super::message::{CNAME, Data, IN, NONE, SOA, TXT, Writing, code_name};
use super::query::{Recursion, ask, exchange, new_id};
use super::tsig::Key;
use super::{TxtRecord, Writer};
use crate::acme::config::AcmeConfig;

/// A primary name server that takes updates.
#[derive(Debug)]
pub(super) struct Updates {
    server: SocketAddr,
    zone: Option<String>,
    key: Key,
}

enum Change {
    Add,
    Remove,
}

impl Updates {
    pub(super) fn new(config: &AcmeConfig) -> Result<Self, ConnectorError> {
        let (Some(server), Some(name), Some(key)) = (config.rfc2136_server, &config.rfc2136_key_name, &config.rfc2136_key) else {
            return Err(ConnectorError::permanent("rfc2136 needs rfc2136_server, rfc2136_key_name and rfc2136_key"));
        };
        if let Some(zone) = &config.rfc2136_zone {
            Writing::default().name(zone)?;
        }
        Ok(Self { server, zone: config.rfc2136_zone.clone(), key: Key::parse(name, key)? })
    }

    async fn change(&self, change: Change, record: &TxtRecord, now: Timestamp) -> Result<(), ConnectorError> {
        let name = self.resolved(&record.name).await?;
        let zone = self.zone_of(&name).await?;
        let id = new_id()?;
        // Opcode 5; one zone, no prerequisite, one change (RFC 2136 section 2).
        let mut message = Writing::begin(id, 5 << 11, [1, 0, 1, 0]);
        message.question(&zone, SOA)?;
        // To remove one record of several is to give it class NONE and no life (section 2.5.4).
        let (class, life) = match change {
            Change::Add => (IN, LIFE),
            Change::Remove => (NONE, 0),
        };
        message.name(&name)?.u16(TXT).u16(class).u32(life).text(&record.value)?;
        let mut bytes = message.0;
        let mac = self.key.sign(&mut bytes, now)?;
        let (reply, answer) = exchange(self.server, id, &bytes).await?;
        self.key.verify(&reply, &answer, &mac)?;
        match reply.code {
            0 => Ok(()),
            2 => Err(ConnectorError::transient(format!("the name server {} cannot update {zone} now (SERVFAIL)", self.server))),
            code => Err(ConnectorError::permanent(format!(
                "the name server {} refuses to update {name} in {zone} ({})",
                self.server,
                code_name(u16::from(code))
            ))
            .hint("allow the key to update TXT records of this name, and look whether the server is the zone's primary")),
        }
    }

    /// The name behind aliases, as far as this server knows: the record belongs there.
    async fn resolved(&self, name: &str) -> Result<String, ConnectorError> {
        let mut name = name.to_owned();
        for _ in 0..8 {
            let reply = ask(self.server, &name, TXT, Recursion::Unwanted).await?;
            let alias = reply.answers.iter().find(|record| record.kind == CNAME && record.name.eq_ignore_ascii_case(&name));
            match alias.map(|record| &record.data) {
                Some(Data::Name(target)) => name.clone_from(target),
                _ => return Ok(name),
            }
        }
        Err(ConnectorError::permanent(format!("the aliases of {name} lead in a circle")))
    }

    /// The zone that a name is in: the nearest name above it with an SOA record.
    async fn zone_of(&self, name: &str) -> Result<String, ConnectorError> {
        if let Some(zone) = &self.zone {
            return Ok(zone.clone());
        }
        for candidate in std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent)) {
            let reply = ask(self.server, candidate, SOA, Recursion::Unwanted).await?;
            if reply.answers.iter().any(|record| record.kind == SOA) {
                return Ok(candidate.to_owned());
            }
            // A name inside a zone is answered with the SOA of the zone.
            if let Some(zone) = reply.authority.iter().find(|record| record.kind == SOA && reply.authoritative) {
                return Ok(zone.name.clone());
            }
        }
        Err(ConnectorError::permanent(format!("the name server {} has no zone for {name}", self.server))
            .hint("set rfc2136_zone, or rfc2136_server to the zone's primary"))
    }
}

#[async_trait]
impl Writer for Updates {
    async fn add(&self, record: &TxtRecord, now: Timestamp) -> Result<(), ConnectorError> {
        self.change(Change::Add, record, now).await
    }

    async fn remove(&self, record: &TxtRecord, now: Timestamp) -> Result<(), ConnectorError> {
        self.change(Change::Remove, record, now).await
    }
}

/// Seconds that resolvers may keep the record.
const LIFE: u32 = 60;
