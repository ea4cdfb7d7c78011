//! The flags of the program. A field's name is a key of [`crate::cli::keys::ALL`], which assigns the flag to
//! roles.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use tracing::Level;

use b2b_base::logging::{Color, Format};
use b2b_config::role_name::RoleName;
use b2b_config::value;

use super::examples;
#[cfg(feature = "lab")]
use super::flags_lab::LabFlags;
#[cfg(feature = "phone")]
use super::flags_phone::PhoneFlags;
#[cfg(feature = "server")]
use super::flags_server::ServerFlags;

const ABOUT: &str = "\
Voice calls over SIP and RTP, with one program for several roles. b2bua: a server for phones, trunks and \
voice applications. phone: a SIP phone, on a terminal or run by a script. media: a media server, which \
carries the RTP of b2buas on other machines. load: a load generator for any SIP system, which checks the \
audio of each call. orchestrator, source, mixer and sink: a media lab; a source plays a file into a call, a \
mixer adds DTMF tones, a sink plays and records the received audio, and an orchestrator runs them from a \
plan and measures the result.

The lab has no authentication and no TLS: every host that reaches its SIP port can call it, and every host \
on the path can listen. It binds to 127.0.0.1 by default.";

const USAGE: &str = "b2b <ROLE> [OPTIONS]\n       b2b compare <BEFORE> <AFTER>\n       b2b replay <JOURNAL>\n       b2b completions <SHELL>\n       b2b man <FOLDER>";

/// Every flag of every role.
#[derive(Debug, Clone, Parser)]
#[command(name = "b2b", version, override_usage = USAGE, about = ABOUT, after_help = examples::after_help(None), max_term_width = 100)]
pub struct Flags {
    /// The role: orchestrator, source, mixer, sink, b2bua, phone, media or load
    #[arg(long, value_name = "ROLE")]
    pub role: Option<RoleName>,

    /// The keys of the flags that were given, not defaulted
    #[arg(skip)]
    pub given: Vec<&'static str>,

    // every role
    /// Format of log lines: text or json
    #[arg(long, help_heading = "Every role", value_name = "FORMAT", default_value = "text", value_parser = value::log_format)]
    pub log_format: Format,
    /// Colour of log lines: auto (on a terminal), always or never. NO_COLOR turns auto off
    #[arg(long, help_heading = "Every role", value_name = "WHEN", default_value = "auto", value_parser = value::color)]
    pub color: Color,
    /// Lowest level that is logged: error, warn, info, debug or trace
    #[arg(long, help_heading = "Every role", value_name = "LEVEL", default_value = "info", value_parser = value::log_level)]
    pub log_level: Level,
    // several roles
    /// SIP address (source: its local address), for UDP and TCP; port 0 selects a free port. RTP binds to the
    /// same IP address. Overrides the listeners in the b2bua's configuration
    #[arg(long, help_heading = "Source, mixer, sink, b2bua, phone and load", value_name = "IP:PORT", default_value = "127.0.0.1:0", value_parser = value::sip_bind)]
    pub sip_bind: SocketAddr,
    /// Write every sent and received SIP message to this file
    #[arg(long, help_heading = "Source, mixer, sink, b2bua, phone and load", value_name = "FILE", value_parser = value::path)]
    pub sip_trace: Option<PathBuf>,
    /// The URI to call, like sip:sink@127.0.0.1:5070; with ;transport=tcp over TCP. The b2bua sends every
    /// call there, before its routes are evaluated: for the lab
    #[arg(long, help_heading = "Source and mixer (required), b2bua and load", value_name = "SIP-URI", value_parser = value::target)]
    pub target: Option<String>,
    /// Registrar: of the phone, instead of the host of its identity; of the users in `[callee]` of a load's
    /// plan, instead of the plan's registrar
    #[arg(long, help_heading = "Phone and load", value_name = "SIP-URI", value_parser = value::sip_uri)]
    pub registrar: Option<String>,
    /// Start nothing; print the command lines of the roles, or a summary of the b2bua's configuration or of
    /// the load
    #[arg(long, help_heading = "Orchestrator, b2bua and load")]
    pub dry_run: bool,

    /// Roles of the lab: write recordings for a report into this folder: audio, packets, SIP. Phone: record
    /// the call into this WAV file, sent audio left, received audio right
    #[arg(long, help_heading = "Source, mixer, sink and phone", value_name = "PATH", value_parser = value::path)]
    pub record: Option<PathBuf>,

    #[cfg(feature = "lab")]
    #[command(flatten)]
    pub lab: LabFlags,

    #[cfg(feature = "server")]
    #[command(flatten)]
    pub server: ServerFlags,

    #[cfg(feature = "phone")]
    #[command(flatten)]
    pub phone: PhoneFlags,
}
