//! Slots for connections: limits in total and per source, and a share reserved for this machine and for known
//! sources. Connections without a token yet are displaced first.
//!
//! Behind a web proxy (`http.trusted_proxies`) the source is the proxy: its connection carries requests of
//! many clients, which are known only once the requests are read. Requests count by client, connections by
//! the peer that opened them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::sync::oneshot;

use b2b_sip::known::{KnownSources, network};

/// A slot that a connection holds until this is dropped.
pub(crate) struct Place {
    id: u64,
    source: IpAddr,
    /// Whether a request with a token has come over it.
    pub proof: Proof,
    table: Arc<Mutex<Table>>,
}

/// Whether a permitted request has come over a connection: with a token, or where none is required. Clones
/// share the same state. Each request of the connection has it among its extensions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proof(Arc<AtomicBool>);

/// A router that adds the connection's proof to its requests.
pub(crate) struct Proving {
    proof: Proof,
    router: TowerToHyperService<Router>,
}

impl Proof {
    /// Wraps this router, which may give the proof with each request.
    pub fn by_requests(self, router: Router) -> Proving {
        Proving { proof: self, router: TowerToHyperService::new(router) }
    }

    pub fn give(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn given(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Service<Request<Incoming>> for Proving {
    type Response = hyper::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.proof.clone());
        self.router.call(request)
    }
}

/// Counts of connections that found no free slot. A handle that can be cloned.
#[derive(Debug, Clone, Default)]
pub struct ConnectionCounters(Arc<[AtomicU64; 2]>);

impl ConnectionCounters {
    /// By result.
    pub fn get(&self) -> [(&'static str, u64); 2] {
        let [displaced, refused] = &*self.0;
        [("displaced", displaced.load(Ordering::Relaxed)), ("refused", refused.load(Ordering::Relaxed))]
    }
}

/// All slots.
pub(crate) struct Places {
    most: usize,
    known: KnownSources,
    counters: ConnectionCounters,
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    last: u64,
    /// Oldest first.
    held: BTreeMap<u64, Held>,
    per_source: HashMap<IpAddr, usize>,
}

struct Held {
    source: IpAddr,
    proof: Proof,
    over: Option<oneshot::Sender<()>>,
}

impl Places {
    pub fn new(most: usize, known: KnownSources, counters: ConnectionCounters) -> Self {
        Places { most, known, counters, table: Arc::default() }
    }

    /// A slot for a connection of this source, and a receiver that tells it to end when another connection
    /// needs the slot more; `None`: there is none.
    pub fn take(&self, now: Instant, source: IpAddr) -> Option<(Place, oneshot::Receiver<()>)> {
        let source = network(source);
        let at_home = source.is_loopback() || self.known.knows(now, source);
        let mut table = lock(&self.table);
        // One source gets a quarter of all slots, and unknown sources do not get the last quarter.
        let quarter = self.most / 4;
        let most = if at_home { self.most } else { self.most - quarter };
        let full = table.per_source.get(&source).is_some_and(|own| *own >= quarter.max(1));
        if full || table.held.len() >= most {
            let [displaced, refused] = &*self.counters.0;
            let found = table.displace(|held| !full || held.source == source);
            let count = if found.is_some() { displaced } else { refused };
            count.fetch_add(1, Ordering::Relaxed);
            found?;
        }
        table.last += 1;
        let (id, proof) = (table.last, Proof::default());
        let (over, displaced) = oneshot::channel();
        table.held.insert(id, Held { source, proof: proof.clone(), over: Some(over) });
        *table.per_source.entry(source).or_default() += 1;
        Some((Place { id, source, proof, table: self.table.clone() }, displaced))
    }
}

impl Table {
    /// Displaces the oldest of these connections without a proof.
    fn displace(&mut self, of: impl Fn(&Held) -> bool) -> Option<()> {
        let unproven = |(_, held): &(&u64, &Held)| of(held) && !held.proof.given();
        let id = *self.held.iter().find(unproven)?.0;
        let source = self.held.get(&id)?.source;
        if let Some(over) = self.remove(id, source).and_then(|mut held| held.over.take()) {
            let _ = over.send(());
        }
        Some(())
    }

    fn remove(&mut self, id: u64, source: IpAddr) -> Option<Held> {
        let held = self.held.remove(&id)?;
        if let Some(own) = self.per_source.get_mut(&source) {
            *own -= 1;
            if *own == 0 {
                self.per_source.remove(&source);
            }
        }
        Some(held)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.table).remove(self.id, self.source);
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_oldest_unproven_connection_of_a_source_makes_room_for_its_next() {
        let counters = ConnectionCounters::default();
        let (places, now) = (Places::new(16, KnownSources::default(), counters.clone()), Instant::now());
        let take = |source: &str| places.take(now, at(source));
        let mut held: Vec<_> = (0..4).filter_map(|_| take("192.0.2.1")).collect();
        held[0].0.proof.give();
        let fifth = take("192.0.2.1").expect("instead of the second");
        let over: Vec<bool> = held.iter_mut().map(|(_, over)| over.try_recv().is_ok()).collect();
        assert_eq!(over, [false, true, false, false]);
        for (place, _) in held.iter().chain([&fifth]) {
            place.proof.give();
        }
        assert!(take("192.0.2.1").is_none(), "all of them have proved themselves");
        assert_eq!(counters.get(), [("displaced", 1), ("refused", 1)]);
        assert!(take("192.0.2.2").is_some());
        drop(fifth);
        assert!(take("192.0.2.1").is_some());
    }

    #[test]
    fn strangers_leave_room_for_this_machine_and_for_who_is_known() {
        let (known, now) = (KnownSources::default(), Instant::now());
        known.set_blocks(vec![(at("198.51.100.7"), at("198.51.100.7"))]);
        let places = Places::new(16, known, ConnectionCounters::default());
        let asking = |source: &str| {
            let taken = places.take(now, at(source));
            taken.inspect(|(place, _)| place.proof.give())
        };
        let strangers: Vec<_> = (0..40).filter_map(|host| asking(&format!("192.0.2.{host}"))).collect();
        assert_eq!(strangers.len(), 12);
        assert!(asking("192.0.2.99").is_none());
        let ours: Vec<_> = ["127.0.0.1", "198.51.100.7"].into_iter().filter_map(asking).collect();
        assert_eq!(ours.len(), 2);
        drop((strangers, ours));
        assert!(lock(&places.table).held.is_empty() && lock(&places.table).per_source.is_empty());
    }
}
