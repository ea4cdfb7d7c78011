//! What failed authentication costs: after a few failures a source, or whoever
//! claims to be a user, has to wait ever longer between two attempts, and is
//! banned in the end. Nothing is held back or delayed here: an attempt that comes
//! too early is not looked at.
//!
//! Count only [`Verdict::Rejected`](super::Verdict::Rejected): its nonce shows that
//! the source does receive what we send to it, so nobody gets another one banned
//! by forging his address.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// How patient we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PenaltyConfig {
    /// Failures that cost nothing: people mistype.
    pub free: u32,
    /// Wait after the first failure that does; it doubles with each.
    pub first_wait: Duration,
    /// Failures that lead to a ban.
    pub ban_after: u32,
    /// How long a ban lasts.
    pub ban: Duration,
    /// A failure is forgotten in this time: one for each that passes without one.
    pub forget: Duration,
    /// Sources and users watched at most, each; beyond it the mildest cases are
    /// forgotten.
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
    /// So many failures within the time of a ban lead to it; half of them are free.
    pub fn new(failures: u32, ban: Duration) -> Self {
        let ban_after = failures.max(1);
        let defaults = PenaltyConfig::default();
        PenaltyConfig { free: ban_after / 2, ban_after, ban, forget: ban / ban_after, ..defaults }
    }
}

/// How somebody stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Go on.
    Clear,
    /// Refuse this attempt unseen (503 with Retry-After), for so long.
    Wait(Duration),
    /// Banned for so long: do not even answer.
    Banned(Duration),
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    failures: u32,
    last: Instant,
    /// Attempts before this are not looked at.
    blocked_until: Instant,
    banned: bool,
}

/// Entries by source or by user.
#[derive(Debug)]
struct Table<K> {
    entries: HashMap<K, Entry>,
    next_sweep: Instant,
}

/// A full table is swept at most this often.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Failures by source and by user.
#[derive(Debug)]
pub struct Penalties {
    config: PenaltyConfig,
    sources: Table<IpAddr>,
    /// Longest names are cut: nobody fills the memory with them.
    users: Table<Box<str>>,
}

const MAX_USER: usize = 64;

impl Penalties {
    /// Nobody has failed yet.
    pub fn new(config: PenaltyConfig, now: Instant) -> Self {
        Penalties { config, sources: Table::new(now), users: Table::new(now) }
    }

    /// Another patience from now on; bans that are in force stay.
    pub fn reconfigure(&mut self, config: PenaltyConfig) {
        self.config = config;
    }

    /// How a source stands. Ask before anything is verified.
    pub fn source(&self, now: Instant, source: IpAddr) -> Standing {
        self.sources.standing(now, &key(source))
    }

    /// How a user stands. `known`: the source is one that this user is registered
    /// from; what others do in his name does not lock him out.
    pub fn user(&self, now: Instant, user: &str, known: bool) -> Standing {
        match known {
            true => Standing::Clear,
            false => self.users.standing(now, cut(user)),
        }
    }

    /// A failure, and how source and user stand now, whichever is worse.
    pub fn failed(&mut self, now: Instant, source: IpAddr, user: &str) -> Standing {
        let by_source = self.sources.failed(now, key(source), &self.config);
        let by_user = self.users.failed(now, cut(user).into(), &self.config);
        by_source.max(by_user)
    }

    /// A success: the source is forgiven. The user is not, since his own success
    /// says nothing about whoever else tries his name.
    pub fn succeeded(&mut self, source: IpAddr) {
        self.sources.entries.remove(&key(source));
    }

    /// Lifts a ban by hand.
    pub fn forgive_user(&mut self, user: &str) {
        self.users.entries.remove(cut(user));
    }

    /// Sources and users watched.
    pub fn held(&self) -> (usize, usize) {
        (self.sources.entries.len(), self.users.entries.len())
    }

    /// Sources banned at the moment, with the rest of their time.
    pub fn banned_sources(&self, now: Instant) -> impl Iterator<Item = (IpAddr, Duration)> + '_ {
        self.sources.entries.iter().filter_map(move |(source, entry)| match entry.standing(now) {
            Standing::Banned(rest) => Some((*source, rest)),
            _ => None,
        })
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

    /// Failures that are not forgotten yet.
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

    fn standing<Q: Hash + Eq + ?Sized>(&self, now: Instant, key: &Q) -> Standing
    where
        K: std::borrow::Borrow<Q>,
    {
        self.entries.get(key).map_or(Standing::Clear, |entry| entry.standing(now))
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

    /// Forgets what is over; if that is not enough, those who wait for nothing.
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

/// One subscriber of an IPv6 network usually has a whole /64.
fn key(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

fn cut(user: &str) -> &str {
    &user[..user.floor_char_boundary(MAX_USER)]
}

#[cfg(test)]
#[path = "penalty_tests.rs"]
mod tests;
