//! What server transactions keep, and for whom. Anybody may fill their table, so each kind of source has a
//! part of it, and a source has at most as much as is still free of that part: one source half, two a third
//! each, and who keeps little finds room until very many sources have used the part up.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, RandomState};
use std::net::IpAddr;
use std::time::Instant;

use slab::Slab;

use super::tokens::OwnKeys;
use crate::ids::UsageId;
use crate::known::{Acquaintance, KnownSources, network};

/// Transactions, and the octets of the messages that they keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Number of transactions.
    pub count: usize,
    /// Size of their messages.
    pub octets: usize,
}

impl Held {
    fn reweigh(&mut self, old: usize, new: usize) {
        self.octets = self.octets - old + new;
    }

    fn end(&mut self, weight: usize) {
        self.count -= 1;
        self.octets -= weight;
    }
}

/// For whom a transaction is kept.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    kind: Acquaintance,
    /// The places of its source, and of the call that its request came in.
    source: u32,
    call: Option<u32>,
}

/// How much is kept, by kind of source, by source and by call.
#[derive(Debug)]
pub struct Shares {
    known: KnownSources,
    all: Held,
    kinds: [Held; 3],
    sources: Table<u128>,
    calls: Table<UsageId, BuildHasherDefault<OwnKeys>>,
}

/// What each of many holds; who holds nothing has no entry. Peers choose addresses, but not our ids.
#[derive(Debug)]
struct Table<K, S = RandomState> {
    places: HashMap<K, u32, S>,
    held: Slab<(K, Held)>,
}

impl<K: Copy + Hash + Eq, S: BuildHasher + Default> Table<K, S> {
    fn new() -> Self {
        Table { places: HashMap::default(), held: Slab::new() }
    }

    fn of(&self, key: &K) -> Held {
        let place = self.places.get(key);
        place.and_then(|place| self.held.get(*place as usize)).map_or_else(Held::default, |(_, held)| *held)
    }

    fn begin(&mut self, key: K) -> u32 {
        let held = &mut self.held;
        let place = *self.places.entry(key).or_insert_with(|| held.insert((key, Held::default())) as u32);
        self.change(place, |held| held.count += 1);
        place
    }

    fn change(&mut self, place: u32, change: impl FnOnce(&mut Held)) {
        if let Some((_, held)) = self.held.get_mut(place as usize) {
            change(held);
        }
    }

    fn end(&mut self, place: u32, weight: usize) {
        self.change(place, |held| held.end(weight));
        if self.held.get(place as usize).is_some_and(|(_, held)| held.count == 0) {
            let (key, _) = self.held.remove(place as usize);
            self.places.remove(&key);
        }
    }

    fn shrink(&mut self) {
        self.places.shrink_to_fit();
        self.held.shrink_to_fit();
    }
}

impl Shares {
    /// Gives memory back after a flood.
    pub fn shrink(&mut self) {
        self.sources.shrink();
        self.calls.shrink();
    }
}

/// The key of a source: an IPv4 address or an IPv6 network of 64 bits, beside it the family and how well it is
/// known. One number is hashed quicker than its parts.
fn key(kind: Acquaintance, source: IpAddr) -> u128 {
    let (is_ipv6, address) = match network(source) {
        IpAddr::V4(v4) => (0, u64::from(v4.to_bits())),
        IpAddr::V6(v6) => (1, (v6.to_bits() >> 64) as u64),
    };
    (kind as u128) << 65 | is_ipv6 << 64 | u128::from(address)
}

/// Eighths of the limit for a kind of source. Together they are more than the whole: no kind waits for
/// another one.
fn part(kind: Acquaintance) -> usize {
    match kind {
        Acquaintance::Named => 6,
        Acquaintance::Home => 4,
        Acquaintance::Stranger => 2,
    }
}

impl Shares {
    /// Nothing is kept yet. Where no source is known, all sources share everything.
    pub fn new(known: KnownSources) -> Self {
        Shares {
            known,
            all: Held::default(),
            kinds: [Held::default(); 3],
            sources: Table::new(),
            calls: Table::new(),
        }
    }

    /// Whether nothing more is kept for this source; `reserve`: another eighth may be used.
    pub fn is_full(&self, now: Instant, source: IpAddr, limit: Held, reserve: bool) -> bool {
        let of = |limit: usize, eighths: usize| limit / 8 * (eighths + usize::from(reserve)) + limit % 8;
        // No share is used up while a sixteenth is not: a stranger's free part is larger.
        if self.all.count < limit.count / 16 && self.all.octets < limit.octets / 16 {
            return false;
        }
        if !self.known.knows_any() {
            return self.all.count >= of(limit.count, 8) || self.all.octets >= of(limit.octets, 8);
        }
        let kind = self.known.acquaintance(now, source);
        let (held, part) = (self.kinds[kind as usize], part(kind));
        let own = self.sources.of(&key(kind, source));
        own.count >= of(limit.count, part).saturating_sub(held.count)
            || own.octets >= of(limit.octets, part).saturating_sub(held.octets)
    }

    /// The octets kept for requests in this call.
    pub fn of_call(&self, call: UsageId) -> usize {
        self.calls.of(&call).octets
    }

    /// A transaction begins.
    pub fn begin(&mut self, now: Instant, source: IpAddr, call: Option<UsageId>) -> Owner {
        let kind = self.known.acquaintance(now, source);
        self.all.count += 1;
        self.kinds[kind as usize].count += 1;
        let source = self.sources.begin(key(kind, source));
        Owner { kind, source, call: call.map(|call| self.calls.begin(call)) }
    }

    /// What a transaction keeps changes from `old` octets to `new` ones.
    pub fn weighs(&mut self, owner: &Owner, old: usize, new: usize) {
        if old == new {
            return;
        }
        self.all.reweigh(old, new);
        self.kinds[owner.kind as usize].reweigh(old, new);
        self.sources.change(owner.source, |held| held.reweigh(old, new));
        if let Some(call) = owner.call {
            self.calls.change(call, |held| held.reweigh(old, new));
        }
    }

    /// A transaction that kept so many octets ends.
    pub fn end(&mut self, owner: &Owner, weight: usize) {
        self.all.end(weight);
        self.kinds[owner.kind as usize].end(weight);
        self.sources.end(owner.source, weight);
        if let Some(call) = owner.call {
            self.calls.end(call, weight);
        }
    }

    /// Number of entries.
    pub fn entries(&self) -> usize {
        self.sources.places.len() + self.calls.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LIMIT: Held = Held { count: 80, octets: 8_000 };

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// `.1` is named, `.2` to `.9` are homes.
    fn shares(now: Instant) -> Shares {
        let known = KnownSources::default();
        known.set_blocks(vec![(at(1), at(1))]);
        (2..10).for_each(|last| known.at_home(now, at(last), now + Duration::from_secs(60)));
        Shares::new(known)
    }

    /// How many transactions of `octets` each this source begins until it is full.
    fn fill(shares: &mut Shares, now: Instant, last: u8, octets: usize) -> Vec<Owner> {
        let mut begun = Vec::new();
        while !shares.is_full(now, at(last), LIMIT, false) {
            let owner = shares.begin(now, at(last), None);
            shares.weighs(&owner, 0, octets);
            begun.push(owner);
        }
        begun
    }

    #[test]
    fn one_source_takes_half_of_its_kinds_part_and_others_find_room() {
        let now = Instant::now();
        let mut shares = shares(now);
        assert_eq!(fill(&mut shares, now, 2, 1).len(), 20, "half of four eighths of 80");
        assert_eq!(fill(&mut shares, now, 3, 1).len(), 10, "half of what is left");
        for last in 4..10 {
            assert!(!shares.is_full(now, at(last), LIMIT, false), "{last}");
            shares.begin(now, at(last), None);
        }
        assert!(!shares.is_full(now, at(2), LIMIT, true) || !shares.is_full(now, at(3), LIMIT, true));
    }

    #[test]
    fn strangers_and_homes_take_nothing_from_named_sources() {
        let now = Instant::now();
        let mut shares = shares(now);
        (100..200).for_each(|last| drop(fill(&mut shares, now, last, 1)));
        (2..10).for_each(|last| drop(fill(&mut shares, now, last, 1)));
        assert_eq!(fill(&mut shares, now, 1, 1).len(), 30, "half of six eighths of 80");
    }

    #[test]
    fn octets_count_like_transactions_and_what_ends_leaves_nothing() {
        let now = Instant::now();
        let mut shares = shares(now);
        let begun = fill(&mut shares, now, 2, 500);
        assert_eq!(begun.len(), 4, "2,000 of 4,000 octets");
        begun.iter().for_each(|owner| shares.end(owner, 500));
        assert_eq!((shares.all, shares.entries()), (Held::default(), 0));
    }
}
