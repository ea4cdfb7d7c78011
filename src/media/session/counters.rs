//! What a session has counted so far.

use std::time::Instant;

use super::{Diagnostics, Reception, Session, TICK};
use b2b_base::metrics::MediaStats;

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
