//! One direction of a random network: delay, jitter with reordering, loss in bursts, stalls, duplicates.

use rand::RngExt;
use rand::rngs::StdRng;

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;

/// Properties of a network.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Delay of every datagram, ns.
    pub base: u64,
    /// Mean additional delay of some datagrams, ns; the maximum is four times as much.
    pub jitter: u64,
    /// Probability that a datagram starts a burst of losses, and the burst's mean length.
    pub bursts: f64,
    pub burst: f64,
    /// Probability that a stall starts with a datagram, and its maximum length, ns.
    pub stalls: f64,
    pub stall: u64,
    /// Probability that a datagram is duplicated.
    pub copies: f64,
}

impl Weather {
    pub const KINDS: [Weather; 5] = [
        Weather::of(MS / 5, MS / 20, (0.0, 1.0), (0.0, 0), 0.0),
        Weather::of(12 * MS, MS / 2, (0.001, 1.2), (0.0, 0), 0.0),
        Weather::of(35 * MS, 4 * MS, (0.004, 1.5), (0.0003, 120 * MS), 0.002),
        Weather::of(60 * MS, 15 * MS, (0.01, 2.0), (0.001, 300 * MS), 0.01),
        Weather::of(150 * MS, 8 * MS, (0.02, 4.0), (0.002, 500 * MS), 0.02),
    ];

    const fn of(base: u64, jitter: u64, loss: (f64, f64), stall: (f64, u64), copies: f64) -> Self {
        Weather { base, jitter, bursts: loss.0, burst: loss.1, stalls: stall.0, stall: stall.1, copies }
    }

    /// Maximum delay of a datagram, ns.
    pub fn longest(&self) -> u64 {
        self.base + 4 * self.jitter + self.stall
    }
}

/// A direction.
pub struct Path {
    pub weather: Weather,
    loses: bool,
    stalled_until: u64,
}

impl Path {
    pub fn new(weather: Weather) -> Self {
        Path { weather, loses: false, stalled_until: 0 }
    }

    /// Arrival times of what is sent now: once, never or twice.
    pub fn arrivals(&mut self, rng: &mut StdRng, now: u64) -> [Option<u64>; 2] {
        let Weather { bursts, burst, stalls, stall, copies, .. } = self.weather;
        let change = if self.loses { 1.0 / burst } else { bursts };
        self.loses ^= rng.random::<f64>() < change;
        if stall > 0 && rng.random::<f64>() < stalls {
            self.stalled_until = self.stalled_until.max(now + rng.random_range(0..stall));
        }
        if self.loses {
            return [None; 2];
        }
        let copied = rng.random::<f64>() < copies;
        [Some(self.takes(rng, now)), copied.then(|| self.takes(rng, now))]
    }

    fn takes(&self, rng: &mut StdRng, now: u64) -> u64 {
        let Weather { base, jitter, .. } = self.weather;
        let chance = -(1.0 - rng.random::<f64>()).ln();
        now.max(self.stalled_until) + base + ((chance * jitter as f64) as u64).min(4 * jitter)
    }
}
