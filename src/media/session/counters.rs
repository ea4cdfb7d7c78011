//! What a session has counted so far.

use std::time::Instant;

use super::{Session, TICK};
use crate::metrics::MediaStats;
use crate::metrics::quality;

/// See [`Session::diagnostics`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// Datagrams that were neither RTP nor RTCP.
    pub malformed: u64,
    /// RTP packets with a payload type that was not negotiated.
    pub unknown_payload: u64,
    /// Packets never sent, and ticks never played, because the thread was kept
    /// from running.
    pub skipped_packets: u64,
    pub skipped_ticks: u64,
    /// Pitch periods inserted or removed.
    pub corrections: u64,
    /// Times that the far end used our SSRC (RFC 3550 §8.2).
    pub collisions: u64,
    /// Digits beyond what anybody can press.
    pub refused_digits: u64,
    /// Datagrams that found the RTP socket's buffer full.
    pub overflowed: u64,
}

impl Session {
    /// Counters so far.
    pub fn stats(&self, now: Instant) -> MediaStats {
        let receiver = &self.receiver;
        let expected = receiver.validator.expected();
        let lost = receiver.validator.lost();
        let loss_pct = 100.0 * (lost + receiver.late) as f64 / expected.max(1) as f64;
        let known_delay = || {
            let network = self.reports.rtt_ms.unwrap_or(0.0) / 2.0;
            receiver.buffer.delay_ms(now).map(|playout| TICK.as_secs_f64() * 1_000.0 + network + playout)
        };
        let delay = self.delay_ms.or_else(known_delay);
        MediaStats {
            packets_tx: self.sender.packets,
            packets_rx: receiver.packets,
            bytes_tx: self.sender.octets,
            bytes_rx: receiver.octets,
            lost,
            late: receiver.late,
            duplicates: receiver.duplicates,
            reordered: receiver.reordered,
            injected: self.injected,
            concealed: self.concealed,
            underruns: self.sender.underruns,
            digits: self.digits,
            jitter_ms_p50: receiver.stats.jitter_ms(50.0),
            jitter_ms_p95: receiver.stats.jitter_ms(95.0),
            rtp_gap_ms_max: receiver.stats.rtp_gap_ms(),
            arrival_gap_ms_max: receiver.stats.arrival_gap_ms(),
            rtt_ms: self.reports.rtt_ms,
            mos: (expected > 0).then(|| quality::mos(loss_pct, delay.unwrap_or(0.0))),
            in_call: self.settled.is_some(),
        }
    }

    /// Counters that [`MediaStats`] has no room for.
    pub fn diagnostics(&self) -> Diagnostics {
        Diagnostics {
            malformed: self.malformed + self.reports.malformed,
            unknown_payload: self.unknown,
            skipped_packets: self.sender.skipped,
            skipped_ticks: self.skipped_ticks,
            corrections: self.receiver.buffer.corrections(),
            collisions: self.collisions.seen,
            refused_digits: self.digit_gate.refused,
            overflowed: self.overflowed,
        }
    }
}
