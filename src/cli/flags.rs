//! The flags of the program. A field's name is the key of
//! [`crate::cli::keys::ALL`], which says whose flag it is.

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
Voice calls over SIP and RTP. A media lab: a source plays a file into a call, \
a mixer adds DTMF tones, a sink plays and records what arrives, and an \
orchestrator runs them from a plan, with phones and loads if it says so, and \
measures the result. And a server: a \
b2bua, which people put in front of phones, trunks and voice applications. \
And a phone, for a terminal or for a script. And a media server, which carries \
the RTP of b2buas elsewhere. And load: many calls at a rate against any SIP \
system, measured and heard.

The lab has no authentication and no TLS: whoever reaches its SIP port can call \
it, and whoever sees its packets can listen. It binds to 127.0.0.1 unless told \
otherwise.";

const USAGE: &str = "b2b <ROLE> [OPTIONS]\n       b2b compare <BEFORE> <AFTER>\n       b2b replay <JOURNAL>\n       b2b completions <SHELL>\n       b2b man <FOLDER>";

/// Every flag of every role.
#[derive(Debug, Clone, Parser)]
#[command(name = "b2b", version, override_usage = USAGE, about = ABOUT, after_help = examples::after_help(None), max_term_width = 100)]
pub struct Flags {
    /// What to be: orchestrator, source, mixer, sink, b2bua, phone, media or load
    #[arg(long, value_name = "ROLE")]
    pub role: Option<RoleName>,

    /// The keys of the flags that were given, not defaulted
    #[arg(skip)]
    pub given: Vec<&'static str>,

    // every role
    /// How log lines are written: text or json
    #[arg(long, help_heading = "Every role", value_name = "FORMAT", default_value = "text", value_parser = value::log_format)]
    pub log_format: Format,
    /// When log lines are coloured: auto (on a terminal), always or never. NO_COLOR
    /// turns auto off
    #[arg(long, help_heading = "Every role", value_name = "WHEN", default_value = "auto", value_parser = value::color)]
    pub color: Color,
    /// What to log: error, warn, info, debug or trace
    #[arg(long, help_heading = "Every role", value_name = "LEVEL", default_value = "info", value_parser = value::log_level)]
    pub log_level: Level,
    // several roles
    /// Where SIP listens (source: its local address), over UDP and TCP; port 0
    /// takes a free one. RTP binds to the same IP address. The b2bua listens here
    /// instead of where its configuration says
    #[arg(long, help_heading = "Source, mixer, sink, b2bua, phone and load", value_name = "IP:PORT", default_value = "127.0.0.1:0", value_parser = value::sip_bind)]
    pub sip_bind: SocketAddr,
    /// Write every SIP message sent and received to this file
    #[arg(long, help_heading = "Source, mixer, sink, b2bua, phone and load", value_name = "FILE", value_parser = value::path)]
    pub sip_trace: Option<PathBuf>,
    /// Whom to call, like sip:sink@127.0.0.1:5070; with ;transport=tcp over TCP.
    /// The b2bua sends every call there, before it asks its routes: for the lab
    #[arg(long, help_heading = "Source and mixer (required), b2bua and load", value_name = "SIP-URI", value_parser = value::target)]
    pub target: Option<String>,
    /// Where to register: the phone, instead of where its identity is; the load, users of its plan's `[callee]`,
    /// instead of where the plan says
    #[arg(long, help_heading = "Phone and load", value_name = "SIP-URI", value_parser = value::sip_uri)]
    pub registrar: Option<String>,
    /// Start nothing; print the command lines of the roles, or what the b2bua's
    /// configuration says
    #[arg(long, help_heading = "Orchestrator and b2bua")]
    pub dry_run: bool,

    /// Roles of the lab: write recordings for a report into this folder: audio, packets, SIP.
    /// The phone: record the call into this WAV file, what it sends left, what it hears right
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
