//! Tests of the store. Each runs on SQLite and on PostgreSQL, on a database of its own.

#[cfg(test)]
mod acme;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod authorities;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod common;
#[cfg(test)]
mod counters;
#[cfg(test)]
mod crls;
#[cfg(test)]
mod gauges;
#[cfg(test)]
mod heartbeats;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod meta;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod nouns;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod wake;
