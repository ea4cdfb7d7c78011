//! What is counted of an endpoint's sound.

use crate::codec::Codec;
use b2b_base::metrics::quality::{Curve, Rating, burst_ratio};

/// Counters that `MediaStats` has no room for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// Datagrams that were neither RTP nor RTCP, and RTCP that nobody could read, or of a stranger.
    pub malformed: u64,
    /// RTP packets with a payload type that was not negotiated.
    pub unknown_payload: u64,
    /// Packets never sent, and ticks never played, because the thread was kept
    /// from running.
    pub skipped_packets: u64,
    /// Of 20 ms each; see `skipped_packets`.
    pub skipped_ticks: u64,
    /// Pitch periods inserted or removed.
    pub corrections: u64,
    /// Times that the far end used our SSRC (RFC 3550 §8.2).
    pub collisions: u64,
    /// Digits beyond what anybody can press.
    pub refused_digits: u64,
    /// Digits to be sent that were none, too many, or came while nothing was sent.
    pub unsent_digits: u64,
    /// Payloads that their codec could not read.
    pub undecodable: u64,
    /// Packets that were decoded when playout needed them: all but G.711 at 8 kHz.
    pub decoded: u64,
    /// Lost packets that the packet behind them made good (Opus).
    pub recovered: u64,
    /// Packets that were not sent: SRTP could not protect them, or the system refused.
    pub unprotected: u64,
    /// Datagrams that found the RTP socket's buffer full.
    pub overflowed: u64,
}

/// What is heard of the far end, and what it hears: beside `MediaStats`, since of several
/// endpoints it means nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reception {
    /// Of the last packet of sound.
    pub codec: Option<Codec>,
    /// Packets expected so far.
    pub expected: u64,
    /// Packets that playout missed: lost and not made good, or late.
    pub missing: u64,
    /// Times that concealment began.
    pub bursts: u64,
    /// Interarrival jitter now (RFC 3550 A.8), ms.
    pub jitter_ms: f64,
    /// One way, mouth to ear, ms: measured where the far end says when it captured, else a
    /// frame, half of the round trip and the playout delay.
    pub delay_ms: Option<f64>,
    /// Loss of what we send, in the far end's last report, percent.
    pub remote_loss_pct: Option<f64>,
    /// Reports of the far end's so far.
    pub remote_reports: u64,
}

impl Reception {
    /// How it is heard, by the E-model; `None` before anything was expected.
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

    /// What has come since `before`; what is no counter stands as it is now.
    pub fn since(&self, before: &Reception) -> Reception {
        Reception {
            expected: self.expected.saturating_sub(before.expected),
            missing: self.missing.saturating_sub(before.missing),
            bursts: self.bursts.saturating_sub(before.bursts),
            ..*self
        }
    }
}
