//! Counters of an endpoint's audio.

use crate::codec::Codec;
use b2b_base::metrics::quality::{Curve, Rating, burst_ratio};

/// Counters that are not in `MediaStats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// Datagrams that were neither RTP nor RTCP, and RTCP that could not be parsed or came from an
    /// unknown source.
    pub malformed: u64,
    /// RTP packets with a payload type that was not negotiated.
    pub unknown_payload: u64,
    /// Packets not sent, and ticks not played, because the thread got no CPU time.
    pub skipped_packets: u64,
    /// In ticks of 20 ms; see `skipped_packets`.
    pub skipped_ticks: u64,
    /// Pitch periods inserted or removed.
    pub corrections: u64,
    /// Packets in which the far end used our SSRC (RFC 3550 §8.2).
    pub collisions: u64,
    /// Digits faster than can be pressed.
    pub refused_digits: u64,
    /// Digits to send that were invalid, too many, or requested while nothing was sent.
    pub unsent_digits: u64,
    /// Payloads that their codec could not decode.
    pub undecodable: u64,
    /// Packets decoded only when playout needed them: all but G.711 at 8 kHz.
    pub decoded: u64,
    /// Lost packets recovered from the next packet (Opus).
    pub recovered: u64,
    /// Packets not sent because SRTP could not protect them or the system refused.
    pub unprotected: u64,
    /// Datagrams dropped because the RTP socket's buffer was full.
    pub overflowed: u64,
}

/// Reception quality of one endpoint in both directions. It is not part of `MediaStats`, since it
/// has no meaning as a sum over endpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reception {
    /// Codec of the last audio packet.
    pub codec: Option<Codec>,
    /// Packets expected so far.
    pub expected: u64,
    /// Packets missing at playout: lost and not recovered, or late.
    pub missing: u64,
    /// Number of times that concealment began.
    pub bursts: u64,
    /// Current interarrival jitter (RFC 3550 A.8), ms.
    pub jitter_ms: f64,
    /// One-way mouth-to-ear delay, ms: measured if the far end sends capture times, otherwise a
    /// frame plus half the round-trip time plus the playout delay.
    pub delay_ms: Option<f64>,
    /// Loss of our packets in the far end's last report, percent.
    pub remote_loss_pct: Option<f64>,
    /// Reports received from the far end so far.
    pub remote_reports: u64,
}

impl Reception {
    /// The estimated MOS by the E-model; `None` before any packet was expected.
    pub fn mos(&self) -> Option<f64> {
        if self.expected == 0 {
            return None;
        }
        let loss_pct = 100.0 * self.missing as f64 / self.expected as f64;
        let rating = Rating {
            curve: self.codec.map_or(Curve::G711, Codec::curve),
            loss_pct,
            burst_ratio: burst_ratio(self.missing, self.bursts, loss_pct),
            delay_ms: self.delay_ms.unwrap_or(0.0),
        };
        Some(rating.mos())
    }

    /// The counters since `before`; values that are not counters are the current ones.
    pub fn since(&self, before: &Reception) -> Reception {
        Reception {
            expected: self.expected.saturating_sub(before.expected),
            missing: self.missing.saturating_sub(before.missing),
            bursts: self.bursts.saturating_sub(before.bursts),
            ..*self
        }
    }
}
