//! The record of a run, as plain values: the final table prints it, and the report is made from it
//! (`report.json` is its serialisation).
//!
//! Times are in ms where the name says so, sizes in bytes, losses in percent.

use std::path::PathBuf;

use serde::Serialize;

use b2b_base::metrics::MetricsLine;

pub use super::loads::figures::{Calls, LoadFigures};
pub use crate::results::expectation::{Bound, Expectation};

/// The layout of the record; incremented when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRecord {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The verdict; to be shown first.
    pub verdict: Verdict,
    /// RFC 3339 UTC with milliseconds.
    pub started: String,
    /// RFC 3339 UTC with milliseconds.
    pub ended: String,
    /// From start to end, seconds.
    pub duration_s: f64,
    /// The plan that was run.
    pub plan: PlanRecord,
    /// The versions of the program and the system.
    pub versions: Versions,
    /// In call order: source, mixer (if any), b2bua (if any), sink.
    pub roles: Vec<RoleRecord>,
    /// Loads beside the chain, in the order of the plan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loads: Vec<LoadRecord>,
    /// Figures of the whole chain.
    pub chain: ChainFigures,
    /// The plan's `[expect]` and the limits of its loads, checked; empty if there are none, or the run was
    /// interrupted or failed before it could be judged.
    pub expectations: Vec<Expectation>,
    /// Active impairments, per receiving role.
    pub impairments: Vec<ImpairmentRecord>,
    /// The events of the run, in order: READY, endings, warnings, errors.
    pub events: Vec<Event>,
    /// Every metrics line of every role, in order of arrival.
    pub timeline: Vec<MetricsLine>,
    /// The folder given to `--record`, if the run recorded.
    pub recordings: Option<PathBuf>,
}

/// The verdict of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether the exit code is 0.
    pub ok: bool,
    /// The orchestrator's exit code.
    pub exit_code: u8,
    /// One sentence.
    pub headline: String,
    /// The reasons of a failure, one line each; empty if there are none.
    pub reasons: Vec<String>,
    /// Whether a signal ended the run early.
    pub interrupted: bool,
}

/// The plan as it was read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanRecord {
    /// Its file.
    pub path: PathBuf,
    /// Its text, as in the file.
    pub text: String,
}

/// Versions of the program and the system.
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
    /// Process id; `None` if it was never started.
    pub pid: Option<u32>,
    /// The SIP and RTP engine: `native` or `baresip`.
    pub engine: String,
    /// The command line, quoted for a shell.
    pub command: String,
    /// The SIP address of its READY line.
    pub sip: Option<String>,
    /// Time from its start to READY, ms.
    pub ready_ms: Option<u64>,
    /// How it ended.
    pub end: RoleEnd,
    /// Its last line of level error.
    pub last_error: Option<String>,
    /// Whether no packets moved for two metrics periods during a call.
    pub stalled: bool,
    /// Output lines dropped because they arrived faster than they could be printed.
    pub lines_dropped: u64,
    /// Its last metrics line; `last` is set if it printed its final one.
    pub metrics: Option<MetricsLine>,
    /// The path of its SIP trace, if it wrote one.
    pub sip_trace: Option<PathBuf>,
}

/// One load's part in a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadRecord {
    /// Its name in the plan.
    pub name: String,
    /// Process id; `None` if it was never started.
    pub pid: Option<u32>,
    /// The command line, quoted for a shell.
    pub command: String,
    /// The first SIP address of its READY line.
    pub sip: Option<String>,
    /// Time from its start to READY, ms.
    pub ready_ms: Option<u64>,
    /// How it ended.
    pub end: RoleEnd,
    /// Its last line of level error.
    pub last_error: Option<String>,
    /// Output lines dropped because they arrived faster than they could be printed.
    pub lines_dropped: u64,
    /// Its measurements; `None` if there are none.
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
    /// Whether it was sent SIGTERM.
    pub terminated: bool,
    /// Whether it was sent SIGKILL.
    pub killed: bool,
    /// As text: `exit 0`, `killed by SIGSEGV`, `never started`.
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
    /// The method of the latency measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_by: Option<LatencyBy>,
    /// E-model MOS (G.107) from the chain's loss and median latency.
    pub mos: Option<f64>,
    /// E-model MOS from loss alone, without delay, if no latency is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mos_listening: Option<f64>,
    /// Seconds of audio that the sink played out.
    pub duration_s: Option<f64>,
    /// The longest set-up time of the chain's calls, from dialling to the answer, ms.
    pub setup_ms: Option<f64>,
    /// CPU of the most loaded role over its whole life, percent of one core.
    pub cpu_pct_max: Option<f64>,
    /// Share of the non-silent sent audio received intact, by comparison of the audio, percent; set if the
    /// plan has a limit on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intact_pct: Option<f64>,
    /// Why there is no latency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_latency: Option<String>,
}

/// The method of a latency measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyBy {
    /// Time stamps in the packets.
    Stamps,
    /// The position of sent audio in the received recording.
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
    /// Packets that `to` received from `from`. The mixer counts its two calls together; here and below, this
    /// stream's share of that.
    pub packets_rx: u64,
    /// Packets that never arrived, by sequence number. Downstream of a b2bua, which relays, this includes
    /// those lost before it.
    pub lost: u64,
    /// `lost` as a share of the expected packets, percent.
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
    /// Concealed frames of 20 ms.
    pub concealed: u64,
}

/// Impairment of a role's received packets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImpairmentRecord {
    /// The receiving role.
    pub role: String,
    /// As given to `--impair`.
    pub value: String,
}

/// An event of the run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Time since the start of the run, seconds.
    pub at_s: f64,
    /// The role or load that it concerns; `None` for the orchestrator itself.
    pub role: Option<String>,
    /// The kind of event.
    pub kind: EventKind,
    /// One line of text.
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
    /// A signal was sent to a child, or received by the orchestrator.
    Signal,
    /// A warning.
    Warning,
    /// An error.
    Error,
}
