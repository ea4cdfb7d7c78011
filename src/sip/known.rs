//! Known sources: addresses that the configuration names or that a registration came from.
//! Scarce resources (connections, table entries, stateless responses) are reserved for them
//! when unknown sources use up the rest.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Maximum number of addresses held with an expiry. When the table is full, expired entries
/// are removed; an address that still finds no room counts as a stranger.
const MAX_ADDRESSES: usize = 1 << 20;

/// Minimum interval between two sweeps of a full table.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How well a source is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Acquaintance {
    /// The configuration names it.
    Named,
    /// A registered user is at this address; the address may be shared with others.
    Home,
    /// Neither named nor registered from.
    Stranger,
}

/// The known sources; clones share the same table. Authentication writes it. Sockets read it
/// for each new peer, transactions for each request.
#[derive(Debug, Clone, Default)]
pub struct KnownSources(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// First and last address of each block.
    blocks: Vec<(IpAddr, IpAddr)>,
    until: HashMap<IpAddr, Instant>,
    next_sweep: Option<Instant>,
}

impl KnownSources {
    /// Replaces the blocks of the configuration; each is its first and last address.
    pub fn set_blocks(&self, blocks: Vec<(IpAddr, IpAddr)>) {
        self.write(|known| known.blocks = blocks);
    }

    /// Marks this address (IPv6: its /64) as home of a registered user until `until`.
    pub fn at_home(&self, now: Instant, source: IpAddr, until: Instant) {
        let source = network(source);
        self.write(|known| {
            if known.until.len() >= MAX_ADDRESSES && known.next_sweep.is_none_or(|at| at <= now) {
                known.next_sweep = Some(now + SWEEP_INTERVAL);
                known.until.retain(|_, until| *until > now);
            }
            if known.until.len() < MAX_ADDRESSES || known.until.contains_key(&source) {
                let held = known.until.entry(source).or_insert(until);
                *held = (*held).max(until);
            }
        });
    }

    /// Whether the source is named or a registered user is at home there.
    pub fn knows(&self, now: Instant, source: IpAddr) -> bool {
        self.acquaintance(now, source) != Acquaintance::Stranger
    }

    /// Whether any source is known.
    pub fn knows_any(&self) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        !known.blocks.is_empty() || !known.until.is_empty()
    }

    /// How well this address is known.
    pub fn acquaintance(&self, now: Instant, source: IpAddr) -> Acquaintance {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let address = source.to_canonical();
        let at_home = || known.until.get(&network(source)).is_some_and(|until| *until > now);
        match known.blocks.iter().any(|(first, last)| (*first..=*last).contains(&address)) {
            true => Acquaintance::Named,
            false if at_home() => Acquaintance::Home,
            false => Acquaintance::Stranger,
        }
    }

    fn write(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The unit that counts as one source: an IPv4 address, or an IPv6 /64, which a subscriber
/// usually holds as a whole.
pub fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_addresses_with_a_registration_are_known_and_a_registration_ends() {
        let (now, known) = (Instant::now(), KnownSources::default());
        let at = |text: &str| text.parse::<IpAddr>().expect("an address");
        let later = now + Duration::from_secs(60);
        known.set_blocks(vec![(at("192.0.2.0"), at("192.0.2.15")), (at("2001:db8::"), at("2001:db8::ff"))]);
        known.clone().at_home(now, at("198.51.100.7"), later);
        known.at_home(now, at("2001:db8:1::7"), later);
        for inside in ["192.0.2.15", "::ffff:192.0.2.1", "2001:db8::7", "198.51.100.7", "2001:db8:1::9"] {
            assert!(known.knows(now, at(inside)), "{inside}");
        }
        for outside in ["192.0.2.16", "2001:db8::1:0", "198.51.100.8", "2001:db8:1:1::7"] {
            assert!(!known.knows(now, at(outside)), "{outside}");
        }
        // A shorter registration does not end a longer one.
        known.at_home(now, at("198.51.100.7"), now);
        assert!(known.knows(now, at("198.51.100.7")) && !known.knows(later, at("198.51.100.7")));
    }
}
