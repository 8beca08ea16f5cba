//! The life of a server: its first start, its configuration, its schema, its certificate, being killed, stopped and started again.

mod certificate;
mod configuration;
mod cut_off;
mod first_start;
mod memory;
mod migrations;
mod restarts;
mod rollback;
mod schemas;
