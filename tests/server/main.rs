//! The server, by the real binary and by its desk: registrar, routing, records, limits, control interface.

#![cfg(feature = "server")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../dns_support/mod.rs"]
mod dns_support;
#[cfg(feature = "lab")]
#[path = "../media_support/mod.rs"]
mod media_support;
#[path = "../server_support/mod.rs"]
mod server_support;
#[path = "../tls_support/mod.rs"]
mod tls_support;

mod advisories;
#[cfg(feature = "lab")]
mod capture;
#[cfg(feature = "lab")]
mod commanded;
mod config;
#[cfg(feature = "lab")]
mod console;
#[cfg(feature = "lab")]
mod control;
#[cfg(feature = "lab")]
mod control_faults;
mod desk;
#[cfg(feature = "lab")]
mod digits;
mod edges;
#[cfg(feature = "lab")]
mod faults;
#[cfg(feature = "lab")]
mod figures;
#[cfg(feature = "lab")]
mod file_modes;
#[cfg(feature = "lab")]
mod hep;
#[cfg(feature = "lab")]
mod hold;
#[cfg(feature = "lab")]
mod http;
#[cfg(feature = "lab")]
mod http_lists;
#[cfg(feature = "lab")]
mod http_places;
#[cfg(feature = "lab")]
mod keys;
mod links;
#[cfg(feature = "lab")]
mod media_faults;
#[cfg(feature = "lab")]
mod media_lock;
#[cfg(feature = "lab")]
mod media_servers;
#[cfg(feature = "lab")]
mod media_suite;
#[cfg(feature = "lab")]
mod ng_daemon;
mod notifier;
#[cfg(feature = "lab")]
mod openapi;
#[cfg(feature = "lab")]
mod operations;
#[cfg(feature = "lab")]
mod page;
mod policy_matrix;
mod policy_matrix_replaces;
#[cfg(feature = "lab")]
mod records;
#[cfg(feature = "lab")]
mod register_again;
mod registrar_sigkill;
mod registrar_turn;
#[cfg(feature = "lab")]
mod remote;
#[cfg(feature = "lab")]
mod remote_example;
#[cfg(feature = "lab")]
mod remote_faults;
mod sigkill;
mod transports;
