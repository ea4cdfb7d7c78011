//! The server: assembles signalling, calls and media from a configuration.
//!
//! - `server`: assembly, signals, drain
//! - `applications`: the built-in applications, by name; `http_client`: queries URLs for menu trees; `web`:
//!   common base of our HTTP clients
//! - `queues`: agents' phones and music; `meeting_places`: rooms, parking lots, mailboxes
//! - `mailboxes`: the voicemail folder
//! - `cdr_file`: the file of call records
//! - `call_figures`: set-up time, talk time, audio quality and results over all calls
//! - `ended_calls`: searchable store of ended calls; `records`: distributes leg records to all consumers;
//!   `database`: our SQLite files
//! - `certificates`: the TLS certificates that a configuration names
//! - `in_force`: the configuration in force
//! - `admission`: passwords, trusted addresses, REGISTER
//! - `descriptors`: file descriptor limit and the call capacity it allows; `log`: log settings that a reload
//!   changes
//! - `channel_limits`: limits on calls, and on answers to unknown sources
//! - `controller`: media carried by other programs
//! - `media`: the media carrier; `capabilities`: what a configuration requires of the media controller;
//!   `media_server`: the role that carries media for others
//! - `caller_policy`: which caller identity is trusted, and what gateways are sent of it
//! - `media_rules`: the source addresses from which parties may send media
//! - `seen`: reaction to a changed public address
//! - `gateway`: our registrations at gateways, and the gateways' health
//! - `board`: state of the gateways; `counters`: admission control counters
//! - `console`: routine log lines
//! - `calls`: the routes as a handler of incoming calls
//! - `directory`: users by name, for digest and registrar
//! - `leading`: where a URI named by a party leads
//! - `notifier`: BLF and MWI by SUBSCRIBE and NOTIFY
//! - `settings`: the configuration in the types of the lower layers; `signalling`: endpoint and switch
//!   configuration
//! - `keep`: starts the server again, and what the next one gets
//! - `hops`: permitted next hops of in-dialog requests
//! - `registrar`: addresses of record and their bindings
//! - `recordings`: the recordings folder: recovery and retention
//! - `effective_source`: the source of a request, before proxies of ours
//! - `origin`: the origin of a request, by its address
//! - `routing`: which route takes a call, and why the others do not
//! - `own`: a configured server with a program's own applications
//! - `outbox`: outgoing queue of a WebSocket
//! - `control`: call control by programs; `http`: control and observation; `hep`: copies of SIP messages
//! - `emergency`: calls to emergency services, past the routes
//! - `explain`: routing decisions in words; `explain_gateway`: the messages that would be sent to a gateway
//! - `reload`: applying a configuration that is read again; `replay`: replays a call from its journal, in
//!   words
//! - `transports`: listeners, and how they are reached

pub mod admission;
pub mod applications;
pub mod board;
mod call_figures;
mod caller_policy;
pub mod calls;
pub mod capabilities;
pub mod cdr_file;
pub mod certificates;
pub mod channel_limits;
mod console;
pub mod control;
pub mod controller;
pub mod counters;
pub mod database;
pub mod descriptors;
pub mod directory;
pub mod effective_source;
mod emergency;
pub mod ended_calls;
pub mod explain;
pub mod explain_gateway;
pub mod gateway;
pub mod hep;
pub mod hops;
pub mod http;
pub mod http_client;
pub mod in_force;
pub mod keep;
pub mod leading;
mod log;
pub mod mailboxes;
pub mod media;
mod media_rules;
pub mod media_server;
pub mod meeting_places;
pub mod notifier;
pub mod origin;
mod outbox;
pub mod own;
pub mod queues;
pub mod recordings;
mod records;
mod refusals;
pub mod registrar;
mod reload;
pub mod replay;
pub mod routing;
mod seen;
pub mod server;
pub mod settings;
mod signalling;
mod sound_check;
pub mod survive;
pub mod transports;
pub mod voice;
mod web;

pub use b2b_server_config as config;

use config::{Reload, ServerConfig};

/// The doc-tests of the library's user guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/library.md")]
struct DocsOfTheLibrary;

/// What a configuration demands that this machine or its media carrier does not give ([`config::Check`]): the first
/// unusable certificate, or else every capability that is lacking.
pub fn check(config: &ServerConfig) -> Vec<(usize, String)> {
    match certificates::load(config) {
        Err(error) => vec![(error.line, error.to_string())],
        Ok(_) => capabilities::lacking(config).iter().map(|it| (it.line, it.to_string())).collect(),
    }
}

/// Runs the server until it is told to stop; returns the exit code.
///
/// # Errors
/// Why it cannot start, with the exit code in a [`Failure`](b2b_base::util::exit::Failure).
pub fn run(config: ServerConfig, reload: Reload) -> anyhow::Result<u8> {
    run_with(config, reload, own::Own::default())
}

/// The same with a program's own applications.
///
/// # Errors
/// As [`run`].
pub fn run_with(config: ServerConfig, reload: Reload, own: own::Own) -> anyhow::Result<u8> {
    server::run(config, &reload, own)
}
