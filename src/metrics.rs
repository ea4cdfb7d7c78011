//! Counters of a UA and the JSON line that every role prints.

use serde::{Deserialize, Serialize};

/// A snapshot of what an engine's media has done since its start, summed over
/// its calls. Engines fill it; roles print it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MediaStats {
    /// RTP packets sent.
    pub packets_tx: u64,
    /// RTP packets received and accepted (source lock passed, duplicates out).
    pub packets_rx: u64,
    /// RTP payload bytes sent.
    pub bytes_tx: u64,
    /// RTP payload bytes received.
    pub bytes_rx: u64,
    /// Packets expected by sequence number but never received (RFC 3550 A.3).
    pub lost: u64,
    /// Packets that came after their playout time.
    pub late: u64,
    /// Packets received twice.
    pub duplicates: u64,
    /// Packets that arrived after a higher sequence number.
    pub reordered: u64,
    /// Packets dropped because they came from another source than the locked one.
    pub injected: u64,
    /// 20 ms frames made up by concealment.
    pub concealed: u64,
    /// Frames the source could not fill in time.
    pub underruns: u64,
    /// RFC 4733 digits received.
    pub digits: u64,
    /// Interarrival jitter (RFC 3550 A.8), percentiles over the call, ms.
    pub jitter_ms_p50: f64,
    /// See `jitter_ms_p50`.
    pub jitter_ms_p95: f64,
    /// Longest gap between RTP timestamps of packets that follow each other, ms.
    pub rtp_gap_ms_max: f64,
    /// Longest time between two arrivals while the call was up, ms.
    pub arrival_gap_ms_max: f64,
    /// Round trip from RTCP (RFC 3550 §6.4.1), ms.
    pub rtt_ms: Option<f64>,
    /// Listening quality of what was received (E-model, G.107): loss and the
    /// delay known here.
    pub mos: Option<f64>,
    /// Whether a call is up.
    pub in_call: bool,
}

/// The metrics line of a role: one JSON object on standard output every 5 s,
/// and one with `final = true` at the end. Times in ms, sizes in bytes,
/// counters monotonic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricsLine {
    /// RFC 3339 UTC with milliseconds.
    pub ts: String,
    /// `source`, `mixer` or `sink`.
    pub role: String,
    /// Process id.
    pub pid: u32,
    /// The last line of this process.
    #[serde(rename = "final", default)]
    pub last: bool,
    /// Whether a call is up.
    pub in_call: bool,
    pub packets_tx: u64,
    pub packets_rx: u64,
    pub bytes_tx: u64,
    pub bytes_rx: u64,
    /// Packets lost on the way to this role.
    pub rtp_loss: u64,
    pub late: u64,
    pub duplicates: u64,
    pub reordered: u64,
    pub injected: u64,
    pub concealed: u64,
    pub underruns: u64,
    pub digits: u64,
    pub jitter_ms_p50: f64,
    pub jitter_ms_p95: f64,
    pub rtp_gap_ms_max: f64,
    pub arrival_gap_ms_max: f64,
    pub rtt_ms: Option<f64>,
    pub mos: Option<f64>,
    /// CPU of this process since the line before, percent of one core; in the
    /// final line over its whole life.
    pub cpu_pct: f64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Sink only: mouth-to-ear latency percentiles, ms.
    pub latency_ms_p50: Option<f64>,
    pub latency_ms_p95: Option<f64>,
    /// Seconds of audio played out (sink, mixer) or sent (source).
    pub duration_s: f64,
    /// Mixer only: RMS of what came in and of what went out, dBov.
    pub rms_in_dbov: Option<f64>,
    pub rms_out_dbov: Option<f64>,
    /// The impairment that was on, as given to `--impair`.
    pub impair: Option<String>,
}
