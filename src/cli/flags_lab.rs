//! The flags of the lab's roles only.

use std::path::PathBuf;

use clap::Args;

use b2b_lab::config::value::{self, Scenario};
use b2b_lab::load::hearing::Ears;
use b2b_lab::load::holding::Holding;
use b2b_lab::role::player::PlayerCommand;
use b2b_lab::role::sink::Output;
use b2b_media::dtmf::Sequence;
use b2b_media::resample::Method;
use b2b_ua::{Codec, Engine, Impairment};

/// Flags of source, mixer, sink and orchestrator.
#[derive(Debug, Clone, Args)]
pub struct LabFlags {
    /// Engine for SIP and RTP: native, or baresip in a build with that feature. With the orchestrator it
    /// applies to every role and overrides the plan
    #[arg(long, help_heading = "Every role of the lab", value_name = "NAME", default_value = "native", value_parser = value::engine)]
    pub engine: Engine,

    // source, mixer, sink
    /// End a call that gets no RTP for this long
    #[arg(long, help_heading = "Source, mixer and sink", value_name = "SECONDS", default_value = "20", value_parser = value::seconds)]
    pub rtp_timeout_s: f64,
    // source
    /// The file to play: WAV, MP3, FLAC, Ogg, AU, .ulaw, .alaw, .sln, .g722 or .gsm (required)
    #[arg(long, help_heading = "Source", value_name = "FILE", value_parser = value::path)]
    pub audio_file: Option<PathBuf>,
    /// Audio that is decoded before dialling; 1000 to 4000
    #[arg(long, help_heading = "Source", value_name = "MS", default_value = "1000", value_parser = value::prebuffer_ms)]
    pub prebuffer_ms: u32,
    /// Packet time: 10 to 60 in steps of 10
    #[arg(long, help_heading = "Source", value_name = "MS", default_value = "20", value_parser = value::ptime_ms)]
    pub ptime_ms: u32,
    /// The codec to offer first: pcmu or pcma
    #[arg(long, help_heading = "Source and load", value_name = "CODEC", default_value = "pcmu", value_parser = value::codec)]
    pub codec: Codec,
    /// Resampling to 8 kHz: sinc (band-limited) or linear (cheap, aliases)
    #[arg(long, help_heading = "Source", value_name = "METHOD", default_value = "sinc", value_parser = value::resampler)]
    pub resampler: Method,
    /// Repeat the file
    #[arg(long = "loop", id = "loop", help_heading = "Source")]
    pub repeat: bool,
    /// Source: hang up after this much audio. Load: start no call after this time
    #[arg(long, help_heading = "Source and load", value_name = "SECONDS", value_parser = value::seconds)]
    pub duration_s: Option<f64>,

    // sink
    /// Player command, which reads S16_LE, 8 kHz, mono from standard input. Split like a shell command, but
    /// run without a shell
    #[arg(long, help_heading = "Sink", value_name = "COMMAND", default_value = "aplay -f S16_LE -r 8000 -c 1", value_parser = value::command)]
    pub aplay_cmd: PlayerCommand,
    /// aplay: play, or end with exit code 66, as with --aplay-cmd alone; auto: play if there is a player
    /// and a sound card; null: do not play
    #[arg(long, help_heading = "Sink", value_name = "WHERE", default_value = "auto", value_parser = value::output)]
    pub output: Output,
    /// Write the received audio to this WAV file
    #[arg(long, help_heading = "Sink", value_name = "FILE", value_parser = value::path)]
    pub wav: Option<PathBuf>,
    /// Sink: end after this many calls, [default: 1]. Load: make this many calls at most
    #[arg(long, help_heading = "Sink and load", value_name = "NUMBER", value_parser = value::calls)]
    pub calls: Option<u32>,

    // mixer
    /// Digits to play: 0-9 * # A-D. Punctuation of numbers (+ - . ( ) and spaces) is skipped
    #[arg(long, help_heading = "Mixer", value_name = "DIGITS", value_parser = value::dtmf_seq)]
    pub dtmf_seq: Option<Sequence>,
    /// Period between the starts of two sequences
    #[arg(long, help_heading = "Mixer", value_name = "MS", default_value = "2000", value_parser = value::dtmf_period_ms)]
    pub dtmf_period_ms: u32,
    /// Gain of the caller's audio, a factor
    #[arg(long, help_heading = "Mixer", value_name = "FACTOR", default_value = "0.5", value_parser = value::gain)]
    pub mix_gain_in: f64,
    /// Gain of the tones, a factor
    #[arg(long, help_heading = "Mixer", value_name = "FACTOR", default_value = "0.5", value_parser = value::gain)]
    pub mix_gain_dtmf: f64,

    // sink, mixer
    /// Minimum playout delay of the jitter buffer; below 60 only with --force
    #[arg(long, help_heading = "Sink and mixer", value_name = "MS", default_value = "60", value_parser = value::jitter_ms)]
    pub jitter_ms: u32,
    /// Allow a --jitter-ms below 60
    #[arg(long, help_heading = "Sink and mixer")]
    pub force: bool,
    /// Impair received RTP, with a seed: loss=1,jitter=20,reorder=0.5,dup=0.1,seed=7 (percent; jitter in ms)
    #[arg(long, help_heading = "Sink and mixer", value_name = "LIST", value_parser = value::impair)]
    pub impair: Option<Impairment>,

    // orchestrator
    /// The plan to run, TOML
    #[arg(long, help_heading = "Orchestrator (required) and load", value_name = "FILE", value_parser = value::path)]
    pub plan: Option<PathBuf>,
    /// How long to wait for roles to exit by themselves
    #[arg(long, help_heading = "Orchestrator", value_name = "MS", default_value = "5000", value_parser = value::wait_ms)]
    pub grace_ms: u64,
    /// Send SIGKILL to roles that still run this long after SIGTERM
    #[arg(long, help_heading = "Orchestrator", value_name = "MS", default_value = "15000", value_parser = value::wait_ms)]
    pub kill_ms: u64,
    /// How long to wait for a role to be READY
    #[arg(long, help_heading = "Orchestrator", value_name = "MS", default_value = "10000", value_parser = value::wait_ms)]
    pub ready_ms: u64,
    /// Write report.json and report.html (orchestrator) or load.json (load), and junit.xml, into this folder
    #[arg(long, help_heading = "Orchestrator and load", value_name = "FOLDER", value_parser = value::path)]
    pub report: Option<PathBuf>,

    // load
    /// New calls per second
    #[arg(long, help_heading = "Load", value_name = "CALLS", default_value = "1", value_parser = value::rate)]
    pub rate: f64,
    /// Increase the rate linearly to --rate over this time
    #[arg(long, help_heading = "Load", value_name = "SECONDS", value_parser = value::seconds)]
    pub ramp_s: Option<f64>,
    /// Duration of calls: 10, "uniform 5 15", "exponential 20"
    #[arg(long, help_heading = "Load", value_name = "SECONDS", default_value = "10", value_parser = value::holding)]
    pub hold_s: Holding,
    /// Limit of concurrent calls; further callers wait, and are measured from their scheduled time
    #[arg(long, help_heading = "Load", value_name = "CALLS", value_parser = value::calls)]
    pub at_once: Option<u32>,
    /// Steps of each caller. Without it: "dial TARGET; say mark; stay; hang up". docs/load.md lists the steps
    #[arg(long, help_heading = "Load", value_name = "STEPS", value_parser = value::caller)]
    pub caller: Option<Scenario>,
    /// Steps of each callee, like "ring; wait 1 s; answer; say mark; hung up". Without --target the load only answers
    #[arg(long, help_heading = "Load", value_name = "STEPS", value_parser = value::callee)]
    pub callee: Option<Scenario>,
    /// A SIPp scenario (XML) instead of --caller or --callee: it calls if its first message is a <send>
    #[arg(long, help_heading = "Load", value_name = "FILE", value_parser = value::path)]
    pub scenario: Option<PathBuf>,
    /// Value of [NAME] in the scenario, as SIPp's -key; may be repeated
    #[arg(long = "scenario-key", help_heading = "Load", value_name = "NAME=VALUE", value_parser = value::scenario_key)]
    pub scenario_key: Vec<(String, String)>,
    /// Echo the RTP that the scenario's [media_port] receives
    #[arg(long, help_heading = "Load")]
    pub rtp_echo: bool,
    /// Expected audio of legs that `say mark`: mark (the far end's mark, if it is a load too; the default),
    /// echo (their own, if the far end echoes), none; sample=10% after it or alone: this share of calls is
    /// checked
    #[arg(long, help_heading = "Load", value_name = "WHAT", value_parser = value::ears)]
    pub ears: Option<Ears>,
    /// Send no audio: session descriptions have a port that is not read
    #[arg(long, help_heading = "Load")]
    pub signalling_only: bool,
    /// Process ID of the system under test on this machine: its CPU time and memory are measured
    #[arg(long, help_heading = "Load", value_name = "PID", value_parser = value::pid)]
    pub watch_pid: Option<u32>,
    /// Seed of random choices: the same seed makes the same choices
    #[arg(long, help_heading = "Load", value_name = "NUMBER", default_value = "1", value_parser = value::seed)]
    pub seed: u64,
    /// Confirm that you may load a target that is neither on this machine's loopback nor in a network namespace
    #[arg(long, help_heading = "Load")]
    pub target_is_mine: bool,
}
