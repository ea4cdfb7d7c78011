//! Message budgets per source address, applied before a message is parsed.
//!
//! A bucket is one instant, the theoretical arrival time of the generic cell rate algorithm.
//! It needs no refill, and once the instant has passed it equals a new bucket, so it can be
//! dropped without loss.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::known::{KnownSources, network};

/// The rate of messages allowed per source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Messages per second on average; at least 1.
    pub per_second: u32,
    /// Messages in a burst after a pause; at least 1.
    pub burst: u32,
}

impl Rate {
    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }

    fn tolerance(self) -> Duration {
        self.interval() * self.burst.max(1).saturating_sub(1)
    }
}

/// One token bucket.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct Bucket {
    #[serde(with = "b2b_base::ages")]
    full_again_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn new(now: Instant) -> Self {
        Bucket { full_again_at: now }
    }

    /// Whether a message could be taken out; if not, the time until then.
    pub fn left(&self, now: Instant, rate: Rate) -> Result<(), Duration> {
        Bucket { ..*self }.take(now, rate)
    }

    /// Takes one message out. If the bucket is empty, returns the time until one is
    /// available.
    pub fn take(&mut self, now: Instant, rate: Rate) -> Result<(), Duration> {
        let at = self.full_again_at.max(now);
        let ahead = at.duration_since(now);
        match ahead.checked_sub(rate.tolerance()) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_again_at = at + rate.interval();
                Ok(())
            }
        }
    }

    /// Takes one message out of the bucket even if it is empty, up to a second's worth.
    pub fn charge(&mut self, now: Instant, rate: Rate) {
        let most = now + rate.tolerance() + Duration::from_secs(1);
        self.full_again_at = (self.full_again_at.max(now) + rate.interval()).min(most);
    }

    /// Puts one message back.
    pub fn give_back(&mut self, rate: Rate) {
        self.full_again_at = self.full_again_at.checked_sub(rate.interval()).unwrap_or(self.full_again_at);
    }

    /// Whether the bucket equals a new one.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_again_at <= now
    }
}

/// The buckets of all sources, one for each IPv4 address or IPv6 /64. The table is bounded,
/// with a quarter reserved for known sources; sources without an entry share one bucket,
/// strangers and known sources separately.
#[derive(Debug)]
pub struct SourceBudget {
    rate: Rate,
    max_sources: usize,
    buckets: HashMap<IpAddr, Bucket>,
    known: KnownSources,
    /// The shared buckets of strangers and of known sources.
    overflow: [Bucket; 2],
    next_sweep: Instant,
}

/// Minimum interval between two sweeps of a full table: a flood of forged sources must not
/// cause a sweep for each datagram.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

impl SourceBudget {
    /// An empty table.
    pub fn new(now: Instant, rate: Rate, max_sources: usize, known: KnownSources) -> Self {
        SourceBudget {
            rate,
            max_sources,
            buckets: HashMap::new(),
            known,
            overflow: [Bucket::new(now); 2],
            next_sweep: now,
        }
    }

    /// Whether one more message from `source` is within its budget.
    pub fn admit(&mut self, now: Instant, source: IpAddr) -> bool {
        let key = network(source);
        if let Some(bucket) = self.buckets.get_mut(&key) {
            return bucket.take(now, self.rate).is_ok();
        }
        let strangers = self.max_sources - self.max_sources / 4;
        if self.buckets.len() >= strangers && now >= self.next_sweep {
            self.next_sweep = now + SWEEP_INTERVAL;
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        if self.buckets.len() >= strangers {
            let known = self.known.knows(now, source);
            if !known || self.buckets.len() >= self.max_sources {
                return self.overflow[usize::from(known)].take(now, self.rate).is_ok();
            }
        }
        let mut bucket = Bucket::new(now);
        let admitted = bucket.take(now, self.rate).is_ok();
        self.buckets.insert(key, bucket);
        admitted
    }

    /// Refunds the last message of a source.
    pub fn give_back(&mut self, source: IpAddr) {
        if let Some(bucket) = self.buckets.get_mut(&network(source)) {
            bucket.give_back(self.rate);
        }
    }

    /// Replaces the rate.
    pub fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// Number of sources with their own bucket.
    pub fn sources(&self) -> usize {
        self.buckets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 5 };

    fn v4(n: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + n).into())
    }

    #[test]
    fn a_burst_passes_then_only_the_rate() {
        let t0 = Instant::now();
        let mut budget = SourceBudget::new(t0, RATE, 8, KnownSources::default());
        let passed = (0..100).filter(|_| budget.admit(t0, v4(1))).count();
        assert_eq!(passed, 5);
        let passed = (1..=100).filter(|n| budget.admit(t0 + Duration::from_millis(10) * *n, v4(1))).count();
        assert_eq!(passed, 10, "ten a second");
    }

    #[test]
    fn one_source_does_not_spend_anothers_budget() {
        let t0 = Instant::now();
        let mut budget = SourceBudget::new(t0, RATE, 8, KnownSources::default());
        for _ in 0..100 {
            budget.admit(t0, v4(1));
        }
        assert!(budget.admit(t0, v4(2)));
    }

    #[test]
    fn a_rested_source_has_its_whole_burst_again() {
        let t0 = Instant::now();
        let mut budget = SourceBudget::new(t0, RATE, 8, KnownSources::default());
        while budget.admit(t0, v4(1)) {}
        let later = t0 + Duration::from_secs(60);
        assert_eq!((0..100).filter(|_| budget.admit(later, v4(1))).count(), 5);
    }

    #[test]
    fn what_is_given_back_costs_nothing_and_fills_nobody_above_their_burst() {
        let t0 = Instant::now();
        let mut budget = SourceBudget::new(t0, RATE, 8, KnownSources::default());
        for _ in 0..100 {
            assert!(budget.admit(t0, v4(1)));
            budget.give_back(v4(1));
        }
        for _ in 0..100 {
            budget.give_back(v4(1));
        }
        assert_eq!((0..100).filter(|_| budget.admit(t0, v4(1))).count(), 5);
    }

    #[test]
    fn the_table_is_bounded_and_forged_sources_share_a_budget() {
        let t0 = Instant::now();
        let mut budget = SourceBudget::new(t0, RATE, 8, KnownSources::default());
        let passed = (0..10_000).filter(|n| budget.admit(t0, v4(*n))).count();
        assert_eq!(passed, 6 + 5, "six own buckets, and the shared burst");
        assert_eq!(budget.sources(), 6);
        let later = t0 + Duration::from_secs(5);
        assert!(budget.admit(later, v4(77_777)));
        assert_eq!(budget.sources(), 1, "rested sources were forgotten");
    }

    #[test]
    fn a_forged_flood_never_makes_those_who_are_known_share_a_bucket() {
        let (t0, known) = (Instant::now(), KnownSources::default());
        let (gateway, phone) = (v4(1 << 20), v4(1 << 21));
        known.set_blocks(vec![(gateway, gateway)]);
        known.at_home(t0, phone, t0 + Duration::from_secs(60));
        let mut budget = SourceBudget::new(t0, RATE, 8, known);
        assert_eq!((0..10_000).filter(|n| budget.admit(t0, v4(*n))).count(), 6 + 5);
        for source in [gateway, phone] {
            assert_eq!((0..100).filter(|_| budget.admit(t0, source)).count(), 5, "{source}");
        }
        assert_eq!(budget.sources(), 8);
    }

    #[test]
    fn an_ipv6_subscriber_has_one_budget_for_its_network() {
        let t0 = Instant::now();
        let mut budget = SourceBudget::new(t0, RATE, 8, KnownSources::default());
        let passed = (0..100u16)
            .filter(|n| {
                let ip = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, *n);
                budget.admit(t0, IpAddr::V6(ip))
            })
            .count();
        assert_eq!(passed, 5);
    }

    #[test]
    fn an_empty_bucket_says_how_long_to_wait() {
        let t0 = Instant::now();
        let mut bucket = Bucket::new(t0);
        while bucket.take(t0, RATE).is_ok() {}
        let wait = bucket.take(t0, RATE).expect_err("empty");
        assert!(bucket.take(t0 + wait, RATE).is_ok());
    }
}
