//! Measurements of a received stream: interarrival jitter (RFC 3550 §6.4.1, A.8) and gaps.
//! Times are in RTP ticks of the stream's clock, or in ms.

use std::time::{Duration, Instant};

use super::histogram::Histogram;
use crate::frame::RATE_HZ;

/// Jitter and gaps of one received stream, across SSRC changes.
#[derive(Debug, Clone)]
pub struct StreamStats {
    epoch: Instant,
    /// RTP clock rate in Hz.
    ticks_hz: u32,
    /// Arrival minus timestamp of the previous packet, in ticks.
    transit: Option<f64>,
    jitter: f64,
    percentiles: Histogram,
    last_arrival: Option<Instant>,
    arrival_gap: Duration,
    gaps: GapMeter,
}

impl StreamStats {
    /// Statistics for a stream with a clock of 8,000 Hz, before the first packet. `epoch` is
    /// any time before the first arrival.
    pub fn new(epoch: Instant) -> Self {
        StreamStats {
            epoch,
            ticks_hz: RATE_HZ,
            transit: None,
            jitter: 0.0,
            percentiles: Histogram::default(),
            last_arrival: None,
            arrival_gap: Duration::ZERO,
            gaps: GapMeter::default(),
        }
    }

    /// Changes the RTP clock rate, for another codec.
    pub fn clock(&mut self, ticks_hz: u32) {
        if ticks_hz == self.ticks_hz || ticks_hz == 0 {
            return;
        }
        self.forget_times();
        let scale = f64::from(ticks_hz) / f64::from(self.ticks_hz);
        self.jitter *= scale;
        self.gaps.settled.longest = (f64::from(self.gaps.settled.longest) * scale).round() as u32;
        self.ticks_hz = ticks_hz;
    }

    fn ticks_per_ms(&self) -> f64 {
        f64::from(self.ticks_hz) / 1_000.0
    }

    /// Counts a packet on the media clock, in order of arrival.
    pub fn media(&mut self, sequence: u64, timestamp: u32, arrival: Instant) {
        let ticks = arrival.saturating_duration_since(self.epoch).as_secs_f64() * f64::from(self.ticks_hz);
        // Timestamps wrap: the difference of two transits is reduced to within half a cycle.
        let transit = ticks - f64::from(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let cycle = 4_294_967_296.0;
            let difference = transit - before;
            let difference = difference - (difference / cycle).round() * cycle;
            self.jitter += (difference.abs() - self.jitter) / 16.0;
            self.percentiles.record(self.jitter / self.ticks_per_ms());
        }
        self.gaps.record(sequence, timestamp);
        self.arrived(arrival);
    }

    /// Counts a packet whose timestamp does not follow the media clock: a telephone-event
    /// packet, which keeps the timestamp of its start. `until` is the timestamp at the end of
    /// its duration.
    pub fn event(&mut self, sequence: u64, until: u32, arrival: Instant) {
        self.gaps.record(sequence, until);
        self.arrived(arrival);
    }

    fn arrived(&mut self, arrival: Instant) {
        if let Some(before) = self.last_arrival.replace(arrival) {
            self.arrival_gap = self.arrival_gap.max(arrival.saturating_duration_since(before));
        }
    }

    /// Handles a change of source: timestamps have a new origin, and jitter starts at zero
    /// (RFC 3550 A.8).
    pub fn new_source(&mut self) {
        self.forget_times();
        self.jitter = 0.0;
    }

    /// Forgets the last packet, because the difference to the next one is meaningless.
    fn forget_times(&mut self) {
        self.transit = None;
        self.gaps.new_source();
    }

    /// Nothing is expected (hold): no gap is measured across the pause.
    pub fn pause(&mut self) {
        self.last_arrival = None;
        self.forget_times();
    }

    /// The current jitter estimate, ms.
    pub fn jitter_now_ms(&self) -> f64 {
        self.jitter / self.ticks_per_ms()
    }

    /// Percentile of the jitter estimate over the call, ms.
    pub fn jitter_ms(&self, percent: f64) -> f64 {
        self.percentiles.percentile(percent)
    }

    /// Longest time between two arrivals, ms.
    pub fn arrival_gap_ms(&self) -> f64 {
        self.arrival_gap.as_secs_f64() * 1_000.0
    }

    /// Longest step between the timestamps of packets consecutive in sequence, ms: the ptime
    /// if nothing was lost.
    pub fn rtp_gap_ms(&self) -> f64 {
        f64::from(self.gaps.longest()) / self.ticks_per_ms()
    }
}

/// Number of packets kept in sequence order before their gaps count.
const WINDOW: u64 = 32;

/// Measures timestamp steps in sequence order, although packets arrive out of order.
#[derive(Debug, Clone, Default)]
struct GapMeter {
    window: [Option<(u64, u32)>; WINDOW as usize],
    highest: u64,
    settled: Steps,
}

#[derive(Debug, Clone, Copy, Default)]
struct Steps {
    last: Option<u32>,
    longest: u32,
}

impl Steps {
    fn next(&mut self, timestamp: u32) {
        if let Some(last) = self.last.replace(timestamp) {
            let step = timestamp.wrapping_sub(last) as i32;
            self.longest = self.longest.max(step.max(0) as u32);
        }
    }
}

impl GapMeter {
    fn record(&mut self, sequence: u64, timestamp: u32) {
        if sequence + WINDOW <= self.highest {
            return;
        }
        if sequence > self.highest {
            let first = self.highest.saturating_sub(WINDOW - 1);
            let leaving = self.highest.min(sequence.saturating_sub(WINDOW));
            for old in first..=leaving {
                if let Some((number, timestamp)) = self.window[(old % WINDOW) as usize].take() {
                    debug_assert_eq!(number, old);
                    self.settled.next(timestamp);
                }
            }
            self.highest = sequence;
        }
        self.window[(sequence % WINDOW) as usize] = Some((sequence, timestamp));
    }

    /// Includes the steps within the window, in sequence order.
    fn with_window(&self) -> Steps {
        let mut steps = self.settled;
        for number in self.highest.saturating_sub(WINDOW - 1)..=self.highest {
            if let Some((_, timestamp)) = self.window[(number % WINDOW) as usize] {
                steps.next(timestamp);
            }
        }
        steps
    }

    fn longest(&self) -> u32 {
        self.with_window().longest
    }

    fn new_source(&mut self) {
        let longest = self.longest();
        *self = GapMeter { settled: Steps { last: None, longest }, ..GapMeter::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: Instant, ms: f64) -> Instant {
        epoch + Duration::from_secs_f64(ms / 1_000.0)
    }

    /// Arrivals at 0, 20, 45, 60, 80, 115 ms of packets sent every 20 ms. The
    /// transit changes by 0, 5, -5, 0, 15 ms: 0, 40, 40, 0, 120 ticks.
    /// J: 0; 40/16 = 2.5; 2.5 + 37.5/16 = 4.84375; 4.84375·15/16 = 4.541015625;
    /// 4.541015625 + (120 − 4.541015625)/16 = 11.75720214…
    #[test]
    fn jitter_of_a_hand_computed_trace() {
        let epoch = Instant::now();
        let expected = [0.0, 0.0, 2.5, 4.84375, 4.541_015_625, 11.757_202_148_437_5];
        for origin in [0u32, u32::MAX - 300] {
            let mut stats = StreamStats::new(epoch);
            let arrivals = [0.0, 20.0, 45.0, 60.0, 80.0, 115.0];
            for (n, (ms, jitter)) in arrivals.into_iter().zip(expected).enumerate() {
                stats.media(n as u64, origin.wrapping_add(n as u32 * 160), at(epoch, ms));
                assert!((stats.jitter - jitter).abs() < 1e-3, "{n}: {} {jitter}", stats.jitter);
            }
            assert_eq!(stats.jitter as u32, 11);
            assert!((stats.jitter_ms(100.0) - 11.757 / 8.0).abs() < 0.1);
            assert!((stats.arrival_gap_ms() - 35.0).abs() < 1e-6);
            assert_eq!(stats.rtp_gap_ms(), 20.0);
        }
    }

    #[test]
    fn timestamp_gaps_are_found_in_sequence_order() {
        let epoch = Instant::now();
        let mut stats = StreamStats::new(epoch);
        let mut media = |number: u64| stats.media(number, (number * 160) as u32, at(epoch, 0.0));
        for number in (0..100).flat_map(|pair| [1_000 + 2 * pair + 1, 1_000 + 2 * pair]) {
            media(number);
        }
        assert_eq!(stats.rtp_gap_ms(), 20.0, "swapped packets leave no gap");
        stats.media(1_201, 1_201 * 160, at(epoch, 0.0));
        assert_eq!(stats.rtp_gap_ms(), 40.0, "one is lost so far");
        stats.media(1_200, 1_200 * 160, at(epoch, 0.0));
        assert_eq!(stats.rtp_gap_ms(), 20.0, "it was only late");
        stats.media(1_300, 1_205 * 160, at(epoch, 0.0));
        assert_eq!(stats.rtp_gap_ms(), 80.0);
        for number in 1_301..1_400 {
            stats.media(number, (number - 95) as u32 * 160, at(epoch, 0.0));
        }
        assert_eq!(stats.rtp_gap_ms(), 80.0, "kept after it left the window");
    }

    #[test]
    fn milliseconds_stay_what_they_are_in_another_clock() {
        let epoch = Instant::now();
        let (mut stats, mut number) = (StreamStats::new(epoch), 0u64);
        let mut run = |stats: &mut StreamStats, step: u32, late: f64| {
            for n in 0..200u64 {
                let ms = (number + n) as f64 * 20.0 + if n % 2 == 0 { late } else { 0.0 };
                stats.media(number + n, (n as u32).wrapping_mul(step), at(epoch, ms));
            }
            number += 200;
        };
        run(&mut stats, 160, 4.0);
        assert!((stats.jitter - 32.0).abs() < 0.1, "{}", stats.jitter);
        stats.clock(48_000);
        assert!((stats.jitter as u32).abs_diff(192) <= 1);
        run(&mut stats, 960, 4.0);
        assert!((stats.jitter - 192.0).abs() < 0.5, "{}", stats.jitter);
        assert!((stats.jitter_ms(50.0) - 4.0).abs() < 0.3, "{}", stats.jitter_ms(50.0));
        assert_eq!(stats.rtp_gap_ms(), 20.0);
    }

    #[test]
    fn a_new_source_leaves_no_gap_and_no_jitter() {
        let epoch = Instant::now();
        let mut stats = StreamStats::new(epoch);
        stats.media(1, 0, at(epoch, 0.0));
        stats.media(2, 160, at(epoch, 30.0));
        assert!(stats.jitter > 1.0);
        stats.new_source();
        stats.media(70_000, 4_000_000, at(epoch, 50.0));
        stats.media(70_001, 4_000_160, at(epoch, 70.0));
        assert_eq!(stats.rtp_gap_ms(), 20.0);
        assert!(stats.jitter < 1e-3);
    }
}
