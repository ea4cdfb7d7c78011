//! Counters of a UA and the JSON line that every role prints.
//!
//! - `stream`: what a receiver measures of an RTP stream: jitter (RFC 3550 A.8), gaps
//! - `histogram`: percentiles without allocation
//! - `quality`: the E-model

pub mod histogram;
pub mod quality;
pub mod stream;

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
    /// Packets dropped because SRTP was agreed on, and they were not from the holder of
    /// the far end's key.
    pub unauthenticated: u64,
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

impl MediaStats {
    /// Adds the counters of another session: counts by sum, worst cases by maximum
    /// (MOS by minimum). Percentiles of several calls cannot be had from their
    /// percentiles; the worse call's stand for both.
    pub fn add(&mut self, other: &MediaStats) {
        // Named one by one: a new field must be decided on here.
        let MediaStats {
            packets_tx,
            packets_rx,
            bytes_tx,
            bytes_rx,
            lost,
            late,
            duplicates,
            reordered,
            injected,
            unauthenticated,
            concealed,
            underruns,
            digits,
            jitter_ms_p50,
            jitter_ms_p95,
            rtp_gap_ms_max,
            arrival_gap_ms_max,
            rtt_ms,
            mos,
            in_call,
        } = *other;
        self.packets_tx += packets_tx;
        self.packets_rx += packets_rx;
        self.bytes_tx += bytes_tx;
        self.bytes_rx += bytes_rx;
        self.lost += lost;
        self.late += late;
        self.duplicates += duplicates;
        self.reordered += reordered;
        self.injected += injected;
        self.unauthenticated += unauthenticated;
        self.concealed += concealed;
        self.underruns += underruns;
        self.digits += digits;
        self.jitter_ms_p50 = self.jitter_ms_p50.max(jitter_ms_p50);
        self.jitter_ms_p95 = self.jitter_ms_p95.max(jitter_ms_p95);
        self.rtp_gap_ms_max = self.rtp_gap_ms_max.max(rtp_gap_ms_max);
        self.arrival_gap_ms_max = self.arrival_gap_ms_max.max(arrival_gap_ms_max);
        self.rtt_ms = worse(self.rtt_ms, rtt_ms, f64::max);
        self.mos = worse(self.mos, mos, f64::min);
        self.in_call |= in_call;
    }
}

fn worse(a: Option<f64>, b: Option<f64>, pick: fn(f64, f64) -> f64) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(pick(a, b)),
        (one, other) => one.or(other),
    }
}

/// Counters of a UA, by who placed the calls.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct UaStats {
    /// Calls that came to us.
    pub incoming: MediaStats,
    /// Calls that we placed.
    pub outgoing: MediaStats,
}

impl UaStats {
    /// All calls together.
    pub fn total(&self) -> MediaStats {
        let mut total = self.incoming;
        total.add(&self.outgoing);
        total
    }

    /// What passes through from the caller to the callee: received on calls that
    /// came, sent on calls that we placed. What goes back the other way is left out.
    pub fn through(&self) -> MediaStats {
        let MediaStats { packets_tx, bytes_tx, underruns, .. } = self.outgoing;
        let in_call = self.incoming.in_call || self.outgoing.in_call;
        MediaStats { packets_tx, bytes_tx, underruns, in_call, ..self.incoming }
    }
}

/// The metrics line of a role: one JSON object on standard output every 5 s,
/// and one with `final = true` at the end. Times in ms, sizes in bytes,
/// counters monotonic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricsLine {
    /// RFC 3339 UTC with milliseconds.
    pub ts: String,
    /// `source`, `mixer` or `sink`. The mixer counts what passes through it: received
    /// from its caller, sent to its target.
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
    /// Source and mixer: from dialling to the answer of the call that they placed, ms.
    #[serde(default)]
    pub setup_ms: Option<f64>,
    /// Mixer only: RMS of what came in and of what went out, dBov.
    pub rms_in_dbov: Option<f64>,
    pub rms_out_dbov: Option<f64>,
    /// The impairment that was on, as given to `--impair`.
    pub impair: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_the_worst_case_stands() {
        let mut total = MediaStats::default();
        let first =
            MediaStats { packets_rx: 10, jitter_ms_p95: 3.0, mos: Some(4.0), ..MediaStats::default() };
        let second = MediaStats {
            packets_rx: 5,
            jitter_ms_p95: 1.0,
            mos: Some(3.5),
            rtt_ms: Some(2.0),
            ..MediaStats::default()
        };
        total.add(&first);
        total.add(&second);
        assert_eq!(total.packets_rx, 15);
        assert_eq!(total.jitter_ms_p95, 3.0);
        assert_eq!(total.mos, Some(3.5));
        assert_eq!(total.rtt_ms, Some(2.0));
    }

    #[test]
    fn what_passes_through_is_received_from_the_caller_and_sent_to_the_callee() {
        let incoming = MediaStats { packets_rx: 100, lost: 3, packets_tx: 7, ..MediaStats::default() };
        let outgoing = MediaStats { packets_rx: 8, lost: 50, packets_tx: 101, ..MediaStats::default() };
        let through = UaStats { incoming, outgoing }.through();
        assert_eq!((through.packets_rx, through.lost, through.packets_tx), (100, 3, 101));
    }
}
