//! What a run leaves behind, as plain values: the final table prints it and the
//! report is made from it (`report.json` is its serialisation).
//!
//! Times in ms where the name says so, sizes in bytes, losses in percent.

use std::path::PathBuf;

use serde::Serialize;

use b2b_base::metrics::MetricsLine;

pub use super::loads::figures::{Calls, LoadFigures};
pub use crate::results::expectation::{Bound, Expectation};

/// The layout of the record; counted up when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRecord {
    /// [`SCHEMA`].
    pub schema: u32,
    /// How it went; the first thing to show.
    pub verdict: Verdict,
    /// RFC 3339 UTC with milliseconds.
    pub started: String,
    /// RFC 3339 UTC with milliseconds.
    pub ended: String,
    /// From start to end, seconds.
    pub duration_s: f64,
    /// The plan that was run.
    pub plan: PlanRecord,
    /// What ran it.
    pub versions: Versions,
    /// In call order: source, mixer (if any), b2bua (if any), sink.
    pub roles: Vec<RoleRecord>,
    /// Loads beside the chain, in the order of the plan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loads: Vec<LoadRecord>,
    /// Figures of the whole chain.
    pub chain: ChainFigures,
    /// The plan's `[expect]`, and the limits of its loads, checked; empty when it has none, or when the run
    /// was interrupted or failed before it could be judged.
    pub expectations: Vec<Expectation>,
    /// Impairment that was on, per receiving role.
    pub impairments: Vec<ImpairmentRecord>,
    /// What happened when, in order: READY, endings, warnings, errors.
    pub events: Vec<Event>,
    /// Every metrics line of every role, in order of arrival.
    pub timeline: Vec<MetricsLine>,
    /// The folder given to `--record`, if the run recorded.
    pub recordings: Option<PathBuf>,
}

/// How a run went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Exit code 0.
    pub ok: bool,
    /// The orchestrator's exit code.
    pub exit_code: u8,
    /// One sentence.
    pub headline: String,
    /// What was wrong, a line each; empty when nothing was.
    pub reasons: Vec<String>,
    /// A signal ended the run before its time.
    pub interrupted: bool,
}

/// The plan as it was read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanRecord {
    /// Its file.
    pub path: PathBuf,
    /// Its text, as it stood in the file.
    pub text: String,
}

/// Versions of what took part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Versions {
    /// Version of this program.
    pub b2b: String,
    /// `linux`, `macos`…
    pub os: String,
    /// Kernel release, if known.
    pub kernel: Option<String>,
    /// `x86_64`, `aarch64`…
    pub arch: String,
    /// `debug` or `release`.
    pub build: String,
}

/// One role's part in a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoleRecord {
    /// `source`, `mixer`, `b2bua` or `sink`.
    pub role: String,
    /// Process id; none when it was never started.
    pub pid: Option<u32>,
    /// What did SIP and RTP: `native` or `baresip`.
    pub engine: String,
    /// The command line, quoted for a shell.
    pub command: String,
    /// The SIP address of its READY line.
    pub sip: Option<String>,
    /// From its start to READY, ms.
    pub ready_ms: Option<u64>,
    /// How it ended.
    pub end: RoleEnd,
    /// Its last line of level error.
    pub last_error: Option<String>,
    /// Packets stood still for two metrics periods while a call was up.
    pub stalled: bool,
    /// Output lines dropped because they came faster than they could be shown.
    pub lines_dropped: u64,
    /// Its last metrics line; with `last` set when it printed its final one.
    pub metrics: Option<MetricsLine>,
    /// Where it wrote its SIP trace, if it wrote one.
    pub sip_trace: Option<PathBuf>,
}

/// One load's part in a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadRecord {
    /// Its name in the plan.
    pub name: String,
    /// Process id; none when it was never started.
    pub pid: Option<u32>,
    /// The command line, quoted for a shell.
    pub command: String,
    /// The SIP address of its READY line, the first one.
    pub sip: Option<String>,
    /// From its start to READY, ms.
    pub ready_ms: Option<u64>,
    /// How it ended.
    pub end: RoleEnd,
    /// Its last line of level error.
    pub last_error: Option<String>,
    /// Output lines dropped because they came faster than they could be shown.
    pub lines_dropped: u64,
    /// What it has measured; none when it did not come to that.
    pub figures: Option<LoadFigures>,
    /// The folder of its own report.
    pub report: Option<PathBuf>,
}

/// How a role ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RoleEnd {
    /// Exit code, if it exited.
    pub code: Option<u8>,
    /// Name of the signal that ended it, if one did: `SIGSEGV`.
    pub signal: Option<String>,
    /// We had to ask it with SIGTERM.
    pub terminated: bool,
    /// We had to end it with SIGKILL.
    pub killed: bool,
    /// For people: `exit 0`, `killed by SIGSEGV`, `never started`.
    pub text: String,
}

/// Figures of the whole chain, source to sink.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ChainFigures {
    /// One per RTP stream: source → mixer, mixer → sink.
    pub hops: Vec<Hop>,
    /// Loss over all hops together, percent: 100 × (1 − ∏(1 − lossᵢ)).
    pub loss_pct: Option<f64>,
    /// Longest gap between RTP timestamps at any receiver, ms.
    pub rtp_gap_ms_max: Option<f64>,
    /// Longest time between two arrivals at any receiver, ms.
    pub arrival_gap_ms_max: Option<f64>,
    /// Mouth-to-ear latency, measured at the sink, ms.
    pub latency_ms_p50: Option<f64>,
    /// See `latency_ms_p50`.
    pub latency_ms_p95: Option<f64>,
    /// What the latency was measured by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_by: Option<LatencyBy>,
    /// E-model (G.107) of the chain's loss and median latency.
    pub mos: Option<f64>,
    /// The same of the loss alone, as if nothing were late: where no latency is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mos_listening: Option<f64>,
    /// Seconds of audio that the sink played out.
    pub duration_s: Option<f64>,
    /// From dialling to the answer, of the chain's call for which it took longest, ms.
    pub setup_ms: Option<f64>,
    /// CPU of the role that took most, over its whole life, percent of one core.
    pub cpu_pct_max: Option<f64>,
    /// Share of what was said that arrived intact, by comparing the sound, percent: where the plan
    /// has a limit on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intact_pct: Option<f64>,
    /// Why there is no latency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_latency: Option<String>,
}

/// What a latency was measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyBy {
    /// Time stamps in the packets.
    Stamps,
    /// What was sent, found in what arrived.
    Sound,
}

/// One RTP stream of the chain.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hop {
    /// Sending role.
    pub from: String,
    /// Receiving role.
    pub to: String,
    /// Packets that `from` sent to `to`.
    pub packets_tx: u64,
    /// Packets that `to` received from `from`. The mixer counts both its calls
    /// together; here and below, this stream's share of that.
    pub packets_rx: u64,
    /// Packets that never arrived, by sequence number. Behind a b2bua, which relays, with
    /// those lost before it.
    pub lost: u64,
    /// `lost` of what was expected, percent.
    pub loss_pct: f64,
    /// Longest gap between RTP timestamps, ms.
    pub rtp_gap_ms_max: f64,
    /// Longest time between two arrivals, ms.
    pub arrival_gap_ms_max: f64,
    /// Interarrival jitter, ms.
    pub jitter_ms_p50: f64,
    /// See `jitter_ms_p50`.
    pub jitter_ms_p95: f64,
    /// Packets that came too late to be played.
    pub late: u64,
    /// 20 ms frames made up by concealment.
    pub concealed: u64,
}

/// Impairment of what one role received.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImpairmentRecord {
    /// The receiving role.
    pub role: String,
    /// As given to `--impair`.
    pub value: String,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Since the start of the run, seconds.
    pub at_s: f64,
    /// The role or the load it is about; none for the orchestrator itself.
    pub role: Option<String>,
    /// What kind of thing it was.
    pub kind: EventKind,
    /// One line for people.
    pub text: String,
}

/// Kinds of [`Event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A child was started.
    Started,
    /// A child is ready.
    Ready,
    /// A child ended.
    Ended,
    /// A signal was sent to a child, or came to us.
    Signal,
    /// A warning.
    Warning,
    /// An error.
    Error,
}
