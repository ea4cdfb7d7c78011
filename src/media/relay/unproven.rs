//! Limits what is sent to an address that a party has named and from which nothing was received
//! yet: the host there may never have asked for it.
//!
//! Each pair of party and host has one allowance over all calls: two streams of G.711, 30 s each. A
//! packet from the host (RTP, RTCP, STUN) is the proof: it refills the allowance, and the endpoint
//! is no longer limited.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::transport::demux::{Protocol, classify};

/// Octets of RTP: 2 streams, 30 s, 50 packets of 172 octets a second.
pub const ALLOWED: u32 = 2 * 30 * 50 * 172;
/// An allowance is refilled this long after it began.
const FULL_AFTER: Duration = Duration::from_secs(3_600);
/// Maximum number of allowances; parties and hosts beyond that share one.
const MOST: usize = 65_536;

/// How much may still be sent.
#[derive(Debug)]
pub struct Allowance(AtomicU32);

impl Default for Allowance {
    fn default() -> Self {
        Allowance(AtomicU32::new(ALLOWED))
    }
}

impl Allowance {
    /// Takes `octets` from the allowance; returns whether they may be sent.
    fn takes(&self, octets: usize) -> bool {
        let octets = u32::try_from(octets).unwrap_or(u32::MAX);
        let less = |left: u32| left.checked_sub(octets);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn refill(&self) {
        self.0.store(ALLOWED, Ordering::Relaxed);
    }
}

/// A party, and a host that it names.
type Destination = (String, IpAddr);

/// The allowances of all calls.
#[derive(Debug, Default)]
pub struct Allowances {
    /// Each allowance, with the time it began.
    known: Mutex<HashMap<Destination, (Instant, Arc<Allowance>)>>,
    others: Arc<Allowance>,
}

impl Allowances {
    /// The allowance of a party and a host.
    pub fn of(&self, now: Instant, party: String, host: IpAddr) -> Arc<Allowance> {
        // A panic elsewhere leaves no inconsistent state behind this lock.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |begun: Instant| now.saturating_duration_since(begun) >= FULL_AFTER;
        let key = (party, host);
        if known.len() >= MOST && !known.contains_key(&key) {
            known.retain(|_, (begun, allowance)| !is_over(*begun) || Arc::strong_count(allowance) > 1);
            if known.len() >= MOST {
                return self.others.clone();
            }
        }
        let (begun, allowance) = known.entry(key).or_insert_with(|| (now, Arc::default()));
        if is_over(*begun) {
            *begun = now;
            allowance.refill();
        }
        allowance.clone()
    }
}

/// A host from which an endpoint has received nothing yet.
#[derive(Debug)]
pub struct Unproven {
    host: IpAddr,
    allowance: Arc<Allowance>,
    told: bool,
}

impl Unproven {
    /// Applies an allowance to this host.
    pub fn new(host: IpAddr, allowance: Arc<Allowance>) -> Self {
        Unproven { host, allowance, told: false }
    }

    /// Whether a datagram of this many octets may be sent to `to`.
    pub fn admits(&self, to: SocketAddr, octets: usize) -> bool {
        to.ip() != self.host || self.allowance.takes(octets)
    }

    /// Whether this is the first datagram that may not be sent.
    pub fn is_news(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }

    /// Whether this datagram proves that the host wants to receive.
    pub fn is_proved_by(&self, source: SocketAddr, datagram: &[u8]) -> bool {
        // RFC 8489 §5: the magic cookie of STUN.
        let stun = datagram.get(4..8) == Some(&[0x21, 0x12, 0xA4, 0x42]);
        let proved = source.ip() == self.host && (stun || classify(datagram) != Protocol::Other);
        if proved {
            self.allowance.refill();
        }
        proved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: [u8; 4] = [198, 51, 100, 7];

    fn at(port: u16) -> SocketAddr {
        (HOST, port).into()
    }

    /// Number of G.711 packets that may be sent.
    fn sends(unproven: &Unproven) -> usize {
        (0..100_000).take_while(|_| unproven.admits(at(4_000), 172)).count()
    }

    #[test]
    fn a_hundred_calls_at_one_host_send_what_two_do() {
        let (allowances, now) = (Allowances::default(), Instant::now());
        let call = |party: &str, host: [u8; 4], after| {
            let host = IpAddr::from(host);
            sends(&Unproven::new(host, allowances.of(now + after, party.to_owned(), host)))
        };
        assert_eq!(call("user/1001", HOST, Duration::ZERO), 3_000);
        for _ in 0..100 {
            assert_eq!(call("user/1001", HOST, Duration::from_secs(60)), 0);
        }
        assert_eq!(call("user/1002", HOST, Duration::ZERO), 3_000, "somebody else's is their own");
        assert_eq!(call("user/1001", HOST, FULL_AFTER), 3_000);
    }

    #[test]
    fn what_comes_from_there_is_the_proof_and_nothing_else() {
        let allowances = Allowances::default();
        let unproven = Unproven::new(HOST.into(), allowances.of(Instant::now(), "a".into(), HOST.into()));
        assert!(unproven.admits(([192, 0, 2, 1], 9).into(), 1_000_000), "elsewhere");
        assert_eq!(sends(&unproven), 3_000);
        let rtp = [&[0x80, 0, 0, 1][..], &[0; 168]].concat();
        let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[0; 12]].concat();
        assert!(!unproven.is_proved_by(([192, 0, 2, 1], 4_000).into(), &rtp));
        assert!(!unproven.is_proved_by(at(4_000), b"ping") && !unproven.admits(at(4_000), 172));
        for proof in [rtp, stun] {
            assert!(unproven.is_proved_by(at(9), &proof));
            assert_eq!(sends(&unproven), 3_000, "for the next call, too");
        }
    }
}
