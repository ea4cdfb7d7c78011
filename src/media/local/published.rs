//! Counters of an endpoint's source and sink for other threads: written by the media thread without
//! a lock, readable at any time.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Levels, Reception};
use crate::codec::Codec;
use b2b_base::metrics::MediaStats;

/// A snapshot of [`MediaStats`]. A reader may see two counters from different times, at most half a
/// second apart.
#[derive(Debug, Default)]
pub struct Published {
    stats: [AtomicU64; 21],
    levels: AtomicU64,
    reception: [AtomicU64; 8],
}

/// Encodes `None` as NaN, which no measurement is.
fn optional(value: Option<f64>) -> u64 {
    value.unwrap_or(f64::NAN).to_bits()
}

impl Published {
    /// Replaces the snapshot.
    pub fn store(&self, stats: &MediaStats) {
        let values = [
            stats.packets_tx,
            stats.packets_rx,
            stats.bytes_tx,
            stats.bytes_rx,
            stats.lost,
            stats.late,
            stats.duplicates,
            stats.reordered,
            stats.injected,
            stats.concealed,
            stats.underruns,
            stats.digits,
            stats.jitter_ms_p50.to_bits(),
            stats.jitter_ms_p95.to_bits(),
            stats.rtp_gap_ms_max.to_bits(),
            stats.arrival_gap_ms_max.to_bits(),
            optional(stats.rtt_ms),
            optional(stats.mos),
            u64::from(stats.in_call),
            stats.unauthenticated,
        ];
        for (cell, value) in self.stats.iter().zip(values) {
            cell.store(value, Ordering::Relaxed);
        }
        self.stats[20].store(1, Ordering::Release);
    }

    /// Replaces the reception quality.
    pub fn store_reception(&self, reception: &Reception) {
        let codec = reception.codec.and_then(|codec| Codec::ALL.iter().position(|known| *known == codec));
        let values = [
            codec.map_or(0, |index| index as u64 + 1),
            reception.expected,
            reception.missing,
            reception.bursts,
            reception.jitter_ms.to_bits(),
            optional(reception.delay_ms),
            optional(reception.remote_loss_pct),
            reception.remote_reports,
        ];
        for (cell, value) in self.reception.iter().zip(values) {
            cell.store(value, Ordering::Relaxed);
        }
    }

    /// Reads the reception quality; see [`Published::load`].
    pub fn reception(&self) -> Reception {
        if self.stats[20].load(Ordering::Acquire) == 0 {
            return Reception::default();
        }
        let value = |cell: usize| self.reception[cell].load(Ordering::Relaxed);
        let float = |cell: usize| f64::from_bits(value(cell));
        let optional = |cell: usize| Some(float(cell)).filter(|value| !value.is_nan());
        let codec = usize::try_from(value(0)).ok().and_then(|index| index.checked_sub(1));
        Reception {
            codec: codec.and_then(|index| Codec::ALL.get(index).copied()),
            expected: value(1),
            missing: value(2),
            bursts: value(3),
            jitter_ms: float(4),
            delay_ms: optional(5),
            remote_loss_pct: optional(6),
            remote_reports: value(7),
        }
    }

    /// Replaces all levels at once.
    pub fn store_levels(&self, levels: Levels) {
        self.levels.store(levels.to_bits(), Ordering::Relaxed);
    }

    /// Reads the levels.
    pub fn levels(&self) -> Levels {
        Levels::from_bits(self.levels.load(Ordering::Relaxed))
    }

    /// Reads the snapshot; all zero before the first one.
    pub fn load(&self) -> MediaStats {
        if self.stats[20].load(Ordering::Acquire) == 0 {
            return MediaStats::default();
        }
        let value = |cell: usize| self.stats[cell].load(Ordering::Relaxed);
        let float = |cell: usize| f64::from_bits(value(cell));
        let optional = |cell: usize| Some(float(cell)).filter(|value| !value.is_nan());
        MediaStats {
            packets_tx: value(0),
            packets_rx: value(1),
            bytes_tx: value(2),
            bytes_rx: value(3),
            lost: value(4),
            late: value(5),
            duplicates: value(6),
            reordered: value(7),
            injected: value(8),
            concealed: value(9),
            underruns: value(10),
            digits: value(11),
            jitter_ms_p50: float(12),
            jitter_ms_p95: float(13),
            rtp_gap_ms_max: float(14),
            arrival_gap_ms_max: float(15),
            rtt_ms: optional(16),
            mos: optional(17),
            in_call: value(18) != 0,
            unauthenticated: value(19),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_stored() {
        let published = Published::default();
        assert_eq!(published.load(), MediaStats::default());
        let stats = MediaStats {
            packets_tx: 1,
            packets_rx: 2,
            bytes_tx: 3,
            bytes_rx: 4,
            lost: 5,
            late: 6,
            duplicates: 7,
            reordered: 8,
            injected: 9,
            unauthenticated: 13,
            concealed: 10,
            underruns: 11,
            digits: 12,
            jitter_ms_p50: 1.5,
            jitter_ms_p95: 2.5,
            rtp_gap_ms_max: 20.0,
            arrival_gap_ms_max: 21.0,
            rtt_ms: None,
            mos: Some(4.3),
            in_call: true,
        };
        published.store(&stats);
        assert_eq!(published.load(), stats);
        let reception = Reception {
            codec: Some(Codec::Opus),
            expected: 1,
            missing: 2,
            bursts: 3,
            jitter_ms: 4.5,
            delay_ms: None,
            remote_loss_pct: Some(5.5),
            remote_reports: 6,
        };
        published.store_reception(&reception);
        assert_eq!(published.reception(), reception);
    }
}
