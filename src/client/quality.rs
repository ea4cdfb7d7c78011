//! The audio quality of a call, in numbers.

use b2b_call::agent::{Codec, LegReport, Level};

/// The audio quality of a call. Packets and frames are counted since the call began. Other values cover the
/// whole call in [`super::Call::quality`] and in the last event, and the last 5 s in the events before.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Quality {
    /// The codec of received audio; `None` if none was received.
    pub codec: Option<Codec>,
    /// Packets sent.
    pub sent: u64,
    /// Packets received.
    pub received: u64,
    /// Packets lost toward us.
    pub lost: u64,
    /// Packets that came too late to be played.
    pub late: u64,
    /// Concealed frames of 20 ms.
    pub concealed: u64,
    /// Packets missing at playout (lost and not recovered, or late), in percent of those expected.
    pub loss_pct: f64,
    /// Loss of sent audio according to the far end's last report, percent.
    pub remote_loss_pct: Option<f64>,
    /// Current interarrival jitter (RFC 3550 A.8), ms.
    pub jitter_ms: f64,
    /// Round-trip time (RFC 3550 §6.4.1), ms; `None` until the far end has reported.
    pub rtt_ms: Option<f64>,
    /// One-way mouth-to-ear delay, ms, as far as it is known here: playout plus half the round trip.
    pub delay_ms: Option<f64>,
    /// Mean opinion score of received audio, 1 to 4.5, by the E-model of its codec (ITU-T G.107, G.107.1):
    /// see [`b2b_base::metrics::quality`]. `None` if no audio was expected.
    pub mos: Option<f64>,
    /// Level of received audio, dB below full scale; `None` if it is silent or the call is over.
    pub heard_dbfs: Option<f64>,
    /// Level of sent audio, likewise.
    pub sent_dbfs: Option<f64>,
}

impl Quality {
    /// From a report, measured since `before`.
    pub(super) fn of(now: &LegReport, before: &LegReport) -> Quality {
        let span = now.reception.since(&before.reception);
        Quality {
            codec: now.reception.codec,
            sent: now.stats.packets_tx,
            received: now.stats.packets_rx,
            lost: now.stats.lost,
            late: now.stats.late,
            concealed: now.stats.concealed,
            loss_pct: 100.0 * span.missing as f64 / span.expected.max(1) as f64,
            remote_loss_pct: now.reception.remote_loss_pct,
            jitter_ms: now.reception.jitter_ms,
            rtt_ms: now.stats.rtt_ms,
            delay_ms: now.reception.delay_ms,
            mos: span.mos(),
            heard_dbfs: Level::dbov(now.levels.heard),
            sent_dbfs: Level::dbov(now.levels.sent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2b_call::agent::Reception;

    fn report(expected: u64, missing: u64, bursts: u64) -> LegReport {
        let reception =
            Reception { codec: Some(Codec::Pcmu), expected, missing, bursts, ..Reception::default() };
        LegReport { reception, ..LegReport::default() }
    }

    #[test]
    fn loss_and_score_are_those_of_the_time_between() {
        let (before, now) = (report(1_000, 100, 100), report(1_250, 100, 100));
        let [whole, last] = [LegReport::default(), before].map(|before| Quality::of(&now, &before));
        assert_eq!((whole.loss_pct, last.loss_pct), (8.0, 0.0));
        assert!(whole.mos.is_some_and(|mos| mos < 3.8), "{whole:?}");
        assert!(last.mos.is_some_and(|mos| mos > 4.4), "{last:?}");
        assert_eq!(Quality::of(&now, &now).mos, None, "nothing was to be heard");
    }
}
