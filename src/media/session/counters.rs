//! What a session has counted so far.

use std::time::Instant;

use super::{Session, TICK};
use crate::codec::Codec;
use b2b_base::metrics::MediaStats;
use b2b_base::metrics::quality::{Curve, Rating, burst_ratio};

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
    /// Packets that were not sent because SRTP could not protect them.
    pub unprotected: u64,
    /// Datagrams that found the RTP socket's buffer full.
    pub overflowed: u64,
}

/// What is heard of the far end, and what it hears: beside [`MediaStats`], since of several
/// sessions it means nothing.
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

impl Session {
    /// What is heard, so far.
    pub fn reception(&self, now: Instant) -> Reception {
        let receiver = &self.receiver;
        let recovered = self.playout.buffer.decoded_and_recovered().1;
        let known_delay = || {
            let network = self.far.reports.stats.rtt_ms.unwrap_or(0.0) / 2.0;
            self.playout.buffer.delay_ms(now).map(|playout| TICK.as_secs_f64() * 1_000.0 + network + playout)
        };
        Reception {
            codec: self.playout.codec,
            expected: receiver.validator.expected(),
            // What was made good is not heard as a loss.
            missing: (receiver.validator.lost() + self.playout.late).saturating_sub(recovered),
            bursts: self.playout.bursts,
            jitter_ms: receiver.stats.jitter_now_ms(),
            delay_ms: self.playout.delay_ms.or_else(known_delay),
            remote_loss_pct: self.far.reports.stats.far_fraction_lost.map(|lost| f64::from(lost) / 2.56),
            remote_reports: u64::from(self.far.reports.stats.blocks),
        }
    }

    /// Counters so far.
    pub fn stats(&self, now: Instant) -> MediaStats {
        let receiver = &self.receiver;
        MediaStats {
            packets_tx: self.sender.packets,
            packets_rx: receiver.packets,
            bytes_tx: self.sender.octets,
            bytes_rx: receiver.octets,
            lost: receiver.validator.lost(),
            late: self.playout.late,
            duplicates: receiver.duplicates + self.replayed,
            reordered: receiver.reordered,
            injected: self.injected,
            unauthenticated: self.unauthenticated,
            concealed: self.playout.concealed,
            underruns: self.sender.underruns,
            digits: self.far.digits.count.into(),
            jitter_ms_p50: receiver.stats.jitter_ms(50.0),
            jitter_ms_p95: receiver.stats.jitter_ms(95.0),
            rtp_gap_ms_max: receiver.stats.rtp_gap_ms(),
            arrival_gap_ms_max: receiver.stats.arrival_gap_ms(),
            rtt_ms: self.far.reports.stats.rtt_ms,
            mos: self.reception(now).mos(),
            in_call: self.far.remote.is_some(),
        }
    }

    /// Counters that [`MediaStats`] has no room for.
    pub fn diagnostics(&self) -> Diagnostics {
        let (decoded, recovered) = self.playout.buffer.decoded_and_recovered();
        Diagnostics {
            malformed: self.malformed + u64::from(self.far.reports.stats.refused),
            unknown_payload: self.unknown,
            skipped_packets: self.sender.skipped,
            skipped_ticks: self.playout.skipped_ticks,
            corrections: self.playout.buffer.corrections(),
            collisions: self.collisions.seen,
            refused_digits: self.far.digits.refused(),
            unsent_digits: self.sender.digits.refused,
            undecodable: self.playout.undecodable,
            decoded,
            recovered,
            unprotected: self.unprotected,
            overflowed: self.overflowed,
        }
    }
}
