//! The flags of the program. A field's name is the key of
//! [`crate::cli::keys::ALL`], which says whose flag it is.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use tracing::Level;

use b2b_base::logging::{Color, Format};
use b2b_config::role_name::RoleName;
use b2b_config::value;

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

const EXAMPLES: &str = "\
Examples:
  Run a whole plan and write a report:
    b2b --role orchestrator --plan plans/smk.plan.toml --report target/report

  See what a plan would start:
    b2b --role orchestrator --plan plans/smk.plan.toml --dry-run

  The same by hand, in three terminals:
    b2b --role sink   --sip-bind 127.0.0.1:5070 --output auto --wav heard.wav
    b2b --role mixer  --sip-bind 127.0.0.1:5080 --target sip:sink@127.0.0.1:5070 --dtmf-seq 123
    b2b --role source --target sip:mixer@127.0.0.1:5080 --audio-file assets/sample.mp3

  The same plan on the other engine, in a build with the feature baresip:
    b2b --role orchestrator --plan plans/smk.plan.toml --engine baresip

  A bad network, the same each time:
    b2b --role sink --sip-bind 127.0.0.1:5070 --output null --impair loss=5,jitter=20,seed=7

  The server; what its configuration says; and where a call would go:
    b2b --role b2bua --config plans/b2bua.toml
    b2b --role b2bua --config plans/b2bua.toml --dry-run
    b2b --role b2bua --config plans/b2bua.toml --explain +442083661177 --from 1001
    b2b --role b2bua --config plans/b2bua.toml --explain-gateway carrier --to +442083661177

  A media server on another machine; its b2bua has
  media.controller = http://10.0.0.2:8090 (or grpc://…) and the same token in [media]:
    b2b --role media --listen 10.0.0.2:8090 --token-file token --rtp-bind 192.0.2.10

  A phone on the terminal; and one that a script runs:
    b2b --role phone --identity sip:1001@127.0.0.1:5060 --password-file secret
    b2b --role phone --identity sip:test@127.0.0.1 --call sip:1001@127.0.0.1:5060 \\
        --play hello.wav --record heard.wav --dtmf 123# --hangup-after 10 --json

  Fifty calls a second for a minute against a server of yours, and somebody who answers them:
    b2b --role load --sip-bind 127.0.0.1:5070 --callee 'answer; say mark; hung up'
    b2b --role load --target sip:1000@127.0.0.1:5060 --rate 50 --duration-s 60 --report target/load

  A call through a server, measured while a hundred others go through it:
    b2b --role orchestrator --plan plans/busy.plan.toml --report target/busy

  What a change of the server does to that, and how sure it is (more: b2b compare --help):
    b2b compare before/load.json after/load.json
  A call of a b2bua, run again from what had come into it (more: b2b replay --help):
    b2b replay call.journal

Exit codes:
  0 ok   1 an expectation of the plan was not met, or a load is worse than before   64 arguments, plan or configuration
  65 SIP   66 audio   67 not ready or not ended in time   70 panic";

const USAGE: &str =
    "b2b --role <ROLE> [OPTIONS]\n       b2b compare <BEFORE> <AFTER>\n       b2b replay <JOURNAL>";

/// Every flag of every role.
#[derive(Debug, Clone, Parser)]
#[command(name = "b2b", version, override_usage = USAGE, about = ABOUT, after_help = EXAMPLES, max_term_width = 100)]
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
    /// When the orchestrator colours: auto, always or never. NO_COLOR turns auto off
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
