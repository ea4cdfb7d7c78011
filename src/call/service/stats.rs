//! Counters of several media sessions in one.

use crate::metrics::MediaStats;

/// Adds a session to a total: counters by sum, worst cases by maximum (MOS by
/// minimum). Percentiles of several calls cannot be had from their percentiles;
/// the worse call's stand for both.
pub(super) fn add(total: &mut MediaStats, session: &MediaStats) {
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
    } = *session;
    total.packets_tx += packets_tx;
    total.packets_rx += packets_rx;
    total.bytes_tx += bytes_tx;
    total.bytes_rx += bytes_rx;
    total.lost += lost;
    total.late += late;
    total.duplicates += duplicates;
    total.reordered += reordered;
    total.injected += injected;
    total.concealed += concealed;
    total.underruns += underruns;
    total.digits += digits;
    total.jitter_ms_p50 = total.jitter_ms_p50.max(jitter_ms_p50);
    total.jitter_ms_p95 = total.jitter_ms_p95.max(jitter_ms_p95);
    total.rtp_gap_ms_max = total.rtp_gap_ms_max.max(rtp_gap_ms_max);
    total.arrival_gap_ms_max = total.arrival_gap_ms_max.max(arrival_gap_ms_max);
    total.rtt_ms = worse(total.rtt_ms, rtt_ms, f64::max);
    total.mos = worse(total.mos, mos, f64::min);
    total.in_call |= in_call;
}

fn worse(a: Option<f64>, b: Option<f64>, pick: fn(f64, f64) -> f64) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(pick(a, b)),
        (one, other) => one.or(other),
    }
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
        add(&mut total, &first);
        add(&mut total, &second);
        assert_eq!(total.packets_rx, 15);
        assert_eq!(total.jitter_ms_p95, 3.0);
        assert_eq!(total.mos, Some(3.5));
        assert_eq!(total.rtt_ms, Some(2.0));
    }
}
