//! The flags of the program. A field's name is the key of
//! [`crate::config::keys::KEYS`], which says whose flag it is.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use tracing::Level;

use crate::config::role_name::RoleName;
use crate::config::value;
use crate::logging::{Color, Format};
use crate::media::dtmf::Sequence;
use crate::media::resample::Method;
use crate::role::player::PlayerCommand;
use crate::role::sink::Output;
use crate::ua::{Codec, Engine, Impairment};

const ABOUT: &str = "\
A media lab for voice calls over SIP and RTP: a source plays a file into a call, \
a mixer adds DTMF tones, a sink plays and records what arrives, and an \
orchestrator runs them from a plan and measures the result.

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

Exit codes:
  0 ok   1 an expectation of the plan was not met   64 arguments or plan   65 SIP
  66 audio   67 not ready or not ended in time   70 panic";

/// Every flag of every role.
#[derive(Debug, Clone, Parser)]
#[command(name = "b2b", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 100)]
pub struct Flags {
    /// What to be: orchestrator, source, mixer or sink
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
    /// The engine for SIP and RTP: native, or baresip in a build with that feature. The
    /// orchestrator's is that of every role, whatever the plan says
    #[arg(long, help_heading = "Every role", value_name = "NAME", default_value = "native", value_parser = value::engine)]
    pub engine: Engine,

    // source, mixer, sink
    /// Where SIP listens (source: its local address), over UDP and TCP; port 0
    /// takes a free one. RTP binds to the same IP address
    #[arg(long, help_heading = "Source, mixer and sink", value_name = "IP:PORT", default_value = "127.0.0.1:0", value_parser = value::sip_bind)]
    pub sip_bind: SocketAddr,
    /// Write every SIP message sent and received to this file
    #[arg(long, help_heading = "Source, mixer and sink", value_name = "FILE", value_parser = value::path)]
    pub sip_trace: Option<PathBuf>,
    /// Write recordings for a report into this folder: audio, packets, SIP
    #[arg(long, help_heading = "Source, mixer and sink", value_name = "FOLDER", value_parser = value::path)]
    pub record: Option<PathBuf>,
    /// End a call that gets no RTP for this long
    #[arg(long, help_heading = "Source, mixer and sink", value_name = "SECONDS", default_value = "20", value_parser = value::seconds)]
    pub rtp_timeout_s: f64,
    // source, mixer
    /// Whom to call, like sip:sink@127.0.0.1:5070; with ;transport=tcp over TCP
    #[arg(long, help_heading = "Source and mixer (required)", value_name = "SIP-URI", value_parser = value::target)]
    pub target: Option<String>,

    // source
    /// What to play: MP3, WAV, FLAC or OGG Vorbis (required)
    #[arg(long, help_heading = "Source", value_name = "FILE", value_parser = value::path)]
    pub audio_file: Option<PathBuf>,
    /// Decode this much before dialling; 1000 to 4000
    #[arg(long, help_heading = "Source", value_name = "MS", default_value = "1000", value_parser = value::prebuffer_ms)]
    pub prebuffer_ms: u32,
    /// Audio in a packet: 10 to 60 in steps of 10
    #[arg(long, help_heading = "Source", value_name = "MS", default_value = "20", value_parser = value::ptime_ms)]
    pub ptime_ms: u32,
    /// The codec to offer first: pcmu or pcma
    #[arg(long, help_heading = "Source", value_name = "CODEC", default_value = "pcmu", value_parser = value::codec)]
    pub codec: Codec,
    /// How to get to 8 kHz: sinc (band-limited) or linear (cheap, aliases)
    #[arg(long, help_heading = "Source", value_name = "METHOD", default_value = "sinc", value_parser = value::resampler)]
    pub resampler: Method,
    /// Begin again at the end of the file
    #[arg(long = "loop", id = "loop", help_heading = "Source")]
    pub repeat: bool,
    /// Hang up after this much audio
    #[arg(long, help_heading = "Source", value_name = "SECONDS", value_parser = value::seconds)]
    pub duration_s: Option<f64>,

    // sink
    /// The player: reads S16_LE, 8 kHz, mono from its standard input. Split like a
    /// shell would, but no shell runs it
    #[arg(long, help_heading = "Sink", value_name = "COMMAND", default_value = "aplay -f S16_LE -r 8000 -c 1", value_parser = value::command)]
    pub aplay_cmd: PlayerCommand,
    /// aplay: play, or end with exit code 66; auto: play if there is a player and a
    /// sound card; null: do not play
    #[arg(long, help_heading = "Sink", value_name = "WHERE", default_value = "aplay", value_parser = value::output)]
    pub output: Output,
    /// Write what is heard to this WAV file
    #[arg(long, help_heading = "Sink", value_name = "FILE", value_parser = value::path)]
    pub wav: Option<PathBuf>,
    /// End after this many calls
    #[arg(long, help_heading = "Sink", value_name = "NUMBER", default_value = "1", value_parser = value::calls)]
    pub calls: u32,

    // mixer
    /// Digits to play: 0-9 * # A-D. Number punctuation (+ - . ( ) and spaces) is
    /// skipped
    #[arg(long, help_heading = "Mixer", value_name = "DIGITS", value_parser = value::dtmf_seq)]
    pub dtmf_seq: Option<Sequence>,
    /// From the start of one sequence to the start of the next
    #[arg(long, help_heading = "Mixer", value_name = "MS", default_value = "2000", value_parser = value::dtmf_period_ms)]
    pub dtmf_period_ms: u32,
    /// Factor for the caller's audio
    #[arg(long, help_heading = "Mixer", value_name = "FACTOR", default_value = "0.5", value_parser = value::gain)]
    pub mix_gain_in: f64,
    /// Factor for the tones
    #[arg(long, help_heading = "Mixer", value_name = "FACTOR", default_value = "0.5", value_parser = value::gain)]
    pub mix_gain_dtmf: f64,

    // sink, mixer
    /// Minimum playout delay of the jitter buffer; below 60 only with --force
    #[arg(long, help_heading = "Sink and mixer", value_name = "MS", default_value = "60", value_parser = value::jitter_ms)]
    pub jitter_ms: u32,
    /// Allow a --jitter-ms below 60
    #[arg(long, help_heading = "Sink and mixer")]
    pub force: bool,
    /// Make received RTP worse on purpose, seeded: loss=1,jitter=20,reorder=0.5,dup=0.1,seed=7
    /// (percent; jitter in ms)
    #[arg(long, help_heading = "Sink and mixer", value_name = "LIST", value_parser = value::impair)]
    pub impair: Option<Impairment>,

    // orchestrator
    /// The plan to run, TOML (required)
    #[arg(long, help_heading = "Orchestrator", value_name = "FILE", value_parser = value::path)]
    pub plan: Option<PathBuf>,
    /// How long roles may take to end by themselves
    #[arg(long, help_heading = "Orchestrator", value_name = "MS", default_value = "5000", value_parser = value::wait_ms)]
    pub grace_ms: u64,
    /// Roles that still run this long after SIGTERM get SIGKILL
    #[arg(long, help_heading = "Orchestrator", value_name = "MS", default_value = "15000", value_parser = value::wait_ms)]
    pub kill_ms: u64,
    /// How long a role may take until it is READY
    #[arg(long, help_heading = "Orchestrator", value_name = "MS", default_value = "10000", value_parser = value::wait_ms)]
    pub ready_ms: u64,
    /// Print the command lines of the roles, and start nothing
    #[arg(long, help_heading = "Orchestrator")]
    pub dry_run: bool,
    /// Write report.json and report.html into this folder
    #[arg(long, help_heading = "Orchestrator", value_name = "FOLDER", value_parser = value::path)]
    pub report: Option<PathBuf>,
}
