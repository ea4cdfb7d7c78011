//! Estimates the delay that a stream needs: its lowest recent transit time, how far packets exceed
//! it, and the playout delay that follows from both.

use super::MS;

/// The lowest transit is taken over the last one to two windows.
const WINDOW: i64 = 2_000 * MS;
/// Buckets of the spread histogram: 5 ms each, the last ones 20 ms each, for whole bursts of a stalling network; the
/// very last one takes the rest.
const BUCKETS: usize = 64;
const FINE: (usize, i64) = (46, 5 * MS);
const COARSE: i64 = 20 * MS;
/// Weight of one packet once the histogram is filled: it decays over 400 packets, 8 s.
const FORGET: f32 = 1.0 / 400.0;
/// Share of arrivals that must be in time: a single network stall falls in the rest, two within
/// some seconds do not.
const IN_TIME: f32 = 0.98;
/// Packets that arrive together after a stall count as one arrival, the latest one.
const TOGETHER: i64 = 5 * MS;
/// Packets before the spread is used.
const SETTLED: u32 = 50;
/// A frame needs its last packet up to one packet time after its first: room for that.
const FRAME_TIME: i64 = 20 * MS;
/// Maximum target delay, unless the minimum is longer: bursts of half a second. Who hears all of it half a second late
/// can still talk; who hears a part of it cannot.
const LONGEST: i64 = 560 * MS;
/// How fast the target delay falls: 0.1 ms per packet, 5 ms a second; five times as fast while it is beyond what people
/// talk with easily.
const FALL: i64 = MS / 10;
const EASY: i64 = 300 * MS;

#[derive(Debug, Clone)]
pub(super) struct DelayEstimator {
    least: i64,
    target: i64,
    window_start: i64,
    lowest: Option<i64>,
    lowest_before: Option<i64>,
    spread: [f32; BUCKETS],
    arrivals: u32,
    /// Packets so far: those of a burst are one arrival.
    packets: u32,
    /// The last arrival: its time, and its excess over the lowest transit.
    last: Option<(i64, i64)>,
}

impl DelayEstimator {
    /// An estimator with the minimum delay `least`, ns.
    pub fn new(least: i64) -> Self {
        DelayEstimator {
            least,
            target: least,
            window_start: 0,
            lowest: None,
            lowest_before: None,
            spread: [0.0; BUCKETS],
            arrivals: 0,
            packets: 0,
            last: None,
        }
    }

    /// Counts a packet and its transit (arrival minus position on the line, ns), in order of
    /// arrival.
    pub fn packet(&mut self, arrival: i64, transit: i64) {
        if arrival - self.window_start >= WINDOW {
            self.window_start = arrival;
            self.lowest_before = self.lowest.take();
        }
        self.packets = self.packets.saturating_add(1);
        self.lowest = Some(self.lowest.map_or(transit, |lowest| lowest.min(transit)));
        let behind = transit - self.lowest_transit().unwrap_or(transit);

        let together = self.last.is_some_and(|(before, more)| arrival - before < TOGETHER && behind <= more);
        self.last = Some((arrival, behind));
        if together {
            return;
        }
        self.arrivals = self.arrivals.saturating_add(1);
        let weight = FORGET.max(1.0 / self.arrivals as f32);
        for bucket in &mut self.spread {
            *bucket *= 1.0 - weight;
        }
        self.spread[bucket_of(behind)] += weight;
        if self.packets >= SETTLED {
            self.adapt();
        }
    }

    fn adapt(&mut self) {
        let mut share = 0.0;
        let in_time = self.spread.iter().position(|bucket| {
            share += bucket;
            share >= IN_TIME
        });
        let edge = end_of(in_time.unwrap_or(BUCKETS - 1));
        let wanted = (edge + FRAME_TIME).min(LONGEST).max(self.least);
        let fall = if self.target > EASY { 5 * FALL } else { FALL };
        self.target = wanted.max(self.target - fall);
    }

    /// The transit of an undisturbed packet, ns.
    pub fn lowest_transit(&self) -> Option<i64> {
        match (self.lowest, self.lowest_before) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The target playout delay, ns.
    pub fn target(&self) -> i64 {
        self.target
    }
}

/// The bucket of a packet that is this much behind the lowest transit, ns.
fn bucket_of(behind: i64) -> usize {
    let (fine, width) = FINE;
    let beyond = behind - fine as i64 * width;
    let bucket = if beyond < 0 { behind / width } else { fine as i64 + beyond / COARSE };
    (bucket as usize).min(BUCKETS - 1)
}

/// The largest delay in a bucket, ns.
fn end_of(bucket: usize) -> i64 {
    let (fine, width) = FINE;
    let next = bucket + 1;
    next.min(fine) as i64 * width + next.saturating_sub(fine) as i64 * COARSE
}
