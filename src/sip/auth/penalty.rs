//! Penalties for wrong passwords. Nothing is delayed here: an attempt that comes too early is
//! not checked, and is answered like a wrong one.
//!
//! - A **pair** of source and user name: after a few failures it has to wait ever longer
//!   between two attempts, up to the length of a ban. Failures from other sources or for
//!   other names do not affect it, so phones behind one NAT do not suffer for one that fails.
//! - A **source** that fails for many different names is guessing names: it is banned.
//! - A **user** whose password is guessed from many sources: each further source has one
//!   attempt instead of many. A right password succeeds at the first attempt and a guess does
//!   not, so the attempts of others never lock the user out.
//!
//! Count only [`Verdict::Rejected`](super::Verdict::Rejected): its nonce proves that the
//! source receives what is sent to it, so a forged source address cannot get another host
//! banned.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::known::network;

/// Thresholds and durations of the penalties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PenaltyConfig {
    /// Failures of a pair without penalty, because people mistype.
    pub free: u32,
    /// Wait after the first penalised failure; it doubles with each further one.
    pub first_wait: Duration,
    /// Failures of a pair after which it waits for `ban`; names after which a source is
    /// banned; sources after which a user is under attack.
    pub ban_after: u32,
    /// Duration of a ban.
    pub ban: Duration,
    /// Interval without failures after which one failure is forgotten.
    pub forget: Duration,
    /// Maximum number of pairs, sources and users watched, each; beyond it, entries without a
    /// penalty in force are forgotten.
    pub max_entries: usize,
}

impl Default for PenaltyConfig {
    fn default() -> Self {
        PenaltyConfig {
            free: 5,
            first_wait: Duration::from_secs(1),
            ban_after: 12,
            ban: Duration::from_secs(600),
            forget: Duration::from_secs(60),
            max_entries: 65_536,
        }
    }
}

impl PenaltyConfig {
    /// Bans after `failures` within the duration of a ban; half of them are free.
    pub fn new(failures: u32, ban: Duration) -> Self {
        let ban_after = failures.max(1);
        let defaults = PenaltyConfig::default();
        PenaltyConfig { free: ban_after / 2, ban_after, ban, forget: ban / ban_after, ..defaults }
    }

    /// Settings for a pair whose user is under attack.
    fn strict(self) -> Self {
        PenaltyConfig { free: 0, ban_after: 1, ..self }
    }

    /// Settings for sources and users: they are only counted until the ban.
    fn counted(self) -> Self {
        PenaltyConfig { free: u32::MAX, ..self }
    }
}

/// Whether an attempt is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The attempt is allowed.
    Clear,
    /// Do not check attempts for this long.
    Wait(Duration),
    /// Banned for this long.
    Banned(Duration),
}

/// The result of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Whether it is the pair's first failure since earlier ones were forgotten.
    pub first: bool,
    /// The pair's standing after the failure.
    pub pair: Standing,
    /// The source's standing after the failure; `Clear` if it was already banned.
    pub source: Standing,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    failures: u32,
    last: Instant,
    /// Attempts before this time are not checked.
    blocked_until: Instant,
    banned: bool,
}

/// Entries keyed by pair, source or user.
#[derive(Debug)]
struct Table<K> {
    entries: HashMap<K, Entry>,
    next_sweep: Instant,
}

/// Minimum interval between two sweeps of a full table.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Failures counted by pair, by source and by user.
#[derive(Debug)]
pub struct Penalties {
    config: PenaltyConfig,
    /// Names are stored as hashes, so long names cannot fill the memory.
    hashed: RandomState,
    pairs: Table<(IpAddr, u64)>,
    /// Counts the names that failed from each source.
    sources: Table<IpAddr>,
    /// Counts the sources that failed for each user.
    users: Table<u64>,
}

impl Penalties {
    /// Penalties without any failure so far.
    pub fn new(config: PenaltyConfig, now: Instant) -> Self {
        Penalties {
            config,
            hashed: RandomState::new(),
            pairs: Table::new(now),
            sources: Table::new(now),
            users: Table::new(now),
        }
    }

    /// Replaces the configuration; bans in force stay.
    pub fn reconfigure(&mut self, config: PenaltyConfig) {
        self.config = config;
    }

    /// Whether an attempt from this source for this user is to be checked.
    pub fn pair(&self, now: Instant, source: IpAddr, user: &str) -> Standing {
        match self.pairs.entries.is_empty() {
            true => Standing::Clear,
            false => self.pairs.standing(now, &self.key(source, user)),
        }
    }

    /// The source's standing: clear or banned.
    pub fn source(&self, now: Instant, source: IpAddr) -> Standing {
        self.sources.standing(now, &network(source))
    }

    /// Records a failure.
    pub fn failed(&mut self, now: Instant, source: IpAddr, user: &str) -> Failure {
        let (key, config) = (self.key(source, user), self.config);
        let besieged = self.users.failures(now, &key.1, &config) >= config.ban_after;
        let first = self.pairs.failures(now, &key, &config) == 0;
        let pair = self.pairs.failed(now, key, &if besieged { config.strict() } else { config });
        let mut stands = Standing::Clear;
        if first {
            self.users.failed(now, key.1, &config.counted());
            if self.source(now, source) == Standing::Clear {
                stands = self.sources.failed(now, key.0, &config.counted());
            }
        }
        Failure { first, pair, source: stands }
    }

    /// Bans a source for something else than a failure.
    pub fn ban(&mut self, now: Instant, source: IpAddr) {
        self.sources.failed(now, network(source), &self.config.strict());
    }

    /// Records a success: clears the failures of this user from this source. Other pairs are
    /// not cleared, since it says nothing about attempts for another name or from elsewhere.
    pub fn succeeded(&mut self, source: IpAddr, user: &str) {
        if !self.pairs.entries.is_empty() {
            self.pairs.entries.remove(&self.key(source, user));
        }
    }

    /// Numbers of pairs, sources and users watched.
    pub fn held(&self) -> [usize; 3] {
        [self.pairs.entries.len(), self.sources.entries.len(), self.users.entries.len()]
    }

    /// Sources banned at the moment, with the remaining time.
    pub fn banned_sources(&self, now: Instant) -> impl Iterator<Item = (IpAddr, Duration)> + '_ {
        self.sources.entries.iter().filter_map(move |(source, entry)| match entry.standing(now) {
            Standing::Banned(rest) => Some((*source, rest)),
            _ => None,
        })
    }

    fn key(&self, source: IpAddr, user: &str) -> (IpAddr, u64) {
        (network(source), self.hashed.hash_one(user))
    }
}

impl Entry {
    fn standing(&self, now: Instant) -> Standing {
        let rest = self.blocked_until.saturating_duration_since(now);
        match (rest.is_zero(), self.banned) {
            (true, _) => Standing::Clear,
            (false, true) => Standing::Banned(rest),
            (false, false) => Standing::Wait(rest),
        }
    }

    /// Failures not forgotten yet.
    fn failures(&self, now: Instant, forget: Duration) -> u32 {
        let since = now.saturating_duration_since(self.last).as_millis();
        let forgotten = since / forget.as_millis().max(1);
        self.failures.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }

    fn is_over(&self, now: Instant, forget: Duration) -> bool {
        self.blocked_until <= now && self.failures(now, forget) == 0
    }
}

impl<K: Hash + Eq> Table<K> {
    fn new(now: Instant) -> Self {
        Table { entries: HashMap::new(), next_sweep: now }
    }

    fn standing(&self, now: Instant, key: &K) -> Standing {
        self.entries.get(key).map_or(Standing::Clear, |entry| entry.standing(now))
    }

    fn failures(&self, now: Instant, key: &K, config: &PenaltyConfig) -> u32 {
        self.entries.get(key).map_or(0, |entry| entry.failures(now, config.forget))
    }

    fn failed(&mut self, now: Instant, key: K, config: &PenaltyConfig) -> Standing {
        if self.entries.len() >= config.max_entries && !self.entries.contains_key(&key) {
            self.make_room(now, config);
            if self.entries.len() >= config.max_entries {
                return Standing::Clear;
            }
        }
        let fresh = Entry { failures: 0, last: now, blocked_until: now, banned: false };
        let entry = self.entries.entry(key).or_insert(fresh);
        entry.failures = entry.failures(now, config.forget).saturating_add(1);
        entry.last = now;
        if entry.failures >= config.ban_after {
            entry.banned = true;
            entry.blocked_until = now + config.ban;
        } else if entry.failures > config.free {
            entry.banned = false;
            let doubled = 2u32.saturating_pow(entry.failures - config.free - 1);
            entry.blocked_until = now + config.first_wait.saturating_mul(doubled).min(config.ban);
        }
        entry.standing(now)
    }

    /// Removes expired entries; if that is not enough, all entries without a penalty in
    /// force.
    fn make_room(&mut self, now: Instant, config: &PenaltyConfig) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP_INTERVAL;
        self.entries.retain(|_, entry| !entry.is_over(now, config.forget));
        if self.entries.len() >= config.max_entries {
            self.entries.retain(|_, entry| entry.blocked_until > now);
        }
    }
}

#[cfg(test)]
mod tests;
