//! The server: it assembles signalling, calls and media from a configuration.
//!
//! - `server`: assembly, signals, drain
//! - `applications`: those that are always there, by name; `http_client`: asks URLs for menu trees;
//!   `web`: how HTTP clients of ours begin
//! - `queues`: their agents' phones; music; `meeting_places`: rooms, parking lots, mailboxes
//! - `mailboxes`: the folder of voicemail
//! - `cdr_file`: the file of call records
//! - `call_figures`: set-up, talk, audio and results over all calls
//! - `ended_calls`: calls that are over, to be found later; `records`: records of legs, to all who keep them;
//!   `database`: SQLite files of ours
//! - `certificates`: those that a configuration names, for TLS
//! - `in_force`: the configuration in force, ready to be asked
//! - `admission`: passwords, trusted addresses, REGISTER
//! - `descriptors`: how many there are, and calls by them; `log`: what of it a reload changes
//! - `channel_limits`: who may have one more call, and how much strangers are answered
//! - `controller`: media carried by others
//! - `media`: who carries the media; `capabilities`: what a configuration needs
//!   of the media controller; `media_server`: the role that carries media for others
//! - `caller_policy`: what is believed of callers, and what gateways are told of them
//! - `media_rules`: from where parties may send media
//! - `seen`: what follows when the outside sees us by another address
//! - `gateway`: our registrations at gateways, and their health
//! - `board`: how gateways fare; `counters`: what admission control counted
//! - `flags`, `value`: its flags
//! - `config`: what the server is told
//! - `console`: the log's lines of everyday
//! - `calls`: the routes as a handler of incoming calls
//! - `directory`: users by name, for digest and registrar
//! - `leading`: where a URI that a party names leads
//! - `notifier`: BLF and MWI: who watches whom, by SUBSCRIBE and NOTIFY
//! - `settings`: the configuration in the words of the rooms below; `signalling`: what endpoint and switch are told
//! - `hops`: where the requests of a dialog may go
//! - `registrar`: addresses of record and where they are reached
//! - `recordings`: the folder of recordings: what is left, and what goes
//! - `effective_source`: where a request comes from, before proxies of ours
//! - `origin`: who a request comes from, by its address
//! - `routing`: which route takes a call, and why the others do not
//! - `own`: a configured server with applications of a program's own
//! - `outbox`: what waits to be written to a WebSocket
//! - `control`: programs command calls; `http`: control and observation; `hep`: copies of messages
//! - `emergency`: calls to emergency services, past the routes
//! - `explain`: the same for people; `explain_gateway`: what would leave for a gateway
//! - `reload`: what becomes of a configuration that is read again; `replay`: a call run again from its journal, in words
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
pub mod config;
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
pub mod flags;
pub mod gateway;
pub mod hep;
pub mod hops;
pub mod http;
pub mod http_client;
pub mod in_force;
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
pub mod transports;
pub mod value;
pub mod voice;
mod web;

use crate::config::ServerConfig;
use b2b_base::util::exit::Failure;

/// The programs in the guide for users of the library.
#[cfg(doctest)]
#[doc = include_str!("../../docs/library.md")]
struct DocsOfTheLibrary;

/// Reads the configuration again, with the flags that win over it, for SIGHUP.
pub type Reload = Box<dyn Fn() -> Result<ServerConfig, Failure> + Send>;

/// Runs the server until it is told to stop; the number is the exit code.
///
/// # Errors
/// What keeps it from starting, with the exit code in a [`Failure`].
pub fn run(config: ServerConfig, reload: Reload) -> anyhow::Result<u8> {
    run_with(config, reload, own::Own::default())
}

/// The same with applications of the program's own.
///
/// # Errors
/// As [`run`].
pub fn run_with(config: ServerConfig, reload: Reload, own: own::Own) -> anyhow::Result<u8> {
    server::run(config, &reload, own)
}
