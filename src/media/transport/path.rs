//! From where packets are believed, and where ours go: symmetric RTP with a
//! lock (RFC 4961).
//!
//! The signalled address is believed first. If packets come from another one
//! instead (a far end behind NAT), that one is learned. After a probation the
//! source is locked, and packets from elsewhere are an injection. A new signalled
//! address begins again.

use std::net::SocketAddr;

/// Packets from one address before it is locked.
const PROBATION: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    Open,
    Probing { candidate: SocketAddr, seen: u32 },
    Locked(SocketAddr),
}

/// One far end's addresses.
#[derive(Debug, Clone)]
pub struct Path {
    signalled: SocketAddr,
    lock: Lock,
}

impl Path {
    /// A path to a signalled address.
    pub fn new(signalled: SocketAddr) -> Self {
        Path { signalled, lock: Lock::Open }
    }

    /// The far end signalled an address again; only another one changes anything.
    pub fn signal(&mut self, address: SocketAddr) {
        if address != self.signalled {
            *self = Path::new(address);
        }
    }

    /// Whether an RTP packet from `source` is believed.
    pub fn admit(&mut self, source: SocketAddr) -> bool {
        match self.lock {
            Lock::Locked(locked) => return source == locked,
            Lock::Probing { candidate, ref mut seen } if candidate == source => {
                *seen += 1;
                if *seen >= PROBATION {
                    self.lock = Lock::Locked(source);
                }
            }
            // The signalled address beats one that came before it.
            Lock::Probing { .. } if source != self.signalled => return false,
            _ => self.lock = Lock::Probing { candidate: source, seen: 1 },
        }
        true
    }

    /// Whether `source` can be refused already, without counting the packet.
    pub fn refuses(&self, source: SocketAddr) -> bool {
        matches!(self.lock, Lock::Locked(locked) if locked != source)
    }

    /// Where RTP goes: to the locked source, else where it was signalled.
    pub fn destination(&self) -> SocketAddr {
        match self.lock {
            Lock::Locked(locked) => locked,
            _ => self.signalled,
        }
    }

    /// Whether RTCP from `source` is believed: any port of an address that RTP
    /// may come from.
    pub fn admits_rtcp(&self, source: SocketAddr) -> bool {
        match self.lock {
            Lock::Locked(locked) => source.ip() == locked.ip(),
            Lock::Probing { candidate, .. } => {
                source.ip() == candidate.ip() || source.ip() == self.signalled.ip()
            }
            Lock::Open => source.ip() == self.signalled.ip(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn injection_after_the_lock_is_refused() {
        let mut path = Path::new(address(4_000));
        for _ in 0..PROBATION {
            assert!(path.admit(address(4_000)));
        }
        assert!(!path.admit(address(5_000)));
        assert!(path.refuses(address(5_000)) && !path.refuses(address(4_000)));
        assert!(path.admit(address(4_000)));
        assert_eq!(path.destination(), address(4_000));
    }

    #[test]
    fn a_source_that_was_not_signalled_is_learned() {
        let mut path = Path::new(address(4_000));
        for _ in 0..PROBATION {
            assert_eq!(path.destination(), address(4_000), "until the lock");
            assert!(path.admit(address(4_100)));
        }
        assert_eq!(path.destination(), address(4_100));
        assert!(!path.admit(address(4_000)), "even the signalled one");
    }

    #[test]
    fn the_signalled_source_wins_during_probation() {
        let mut path = Path::new(address(4_000));
        assert!(path.admit(address(6_666)));
        assert!(!path.admit(address(7_777)), "a third one");
        assert!(path.admit(address(4_000)));
        assert!(!path.admit(address(6_666)));
        for _ in 1..PROBATION {
            path.admit(address(4_000));
        }
        assert_eq!(path.destination(), address(4_000));
    }

    #[test]
    fn a_new_signalled_address_begins_again() {
        let mut path = Path::new(address(4_000));
        for _ in 0..PROBATION {
            path.admit(address(4_000));
        }
        path.signal(address(4_000));
        assert!(!path.admit(address(4_200)), "the same address changes nothing");
        path.signal(address(4_200));
        assert_eq!(path.destination(), address(4_200));
        assert!(path.admit(address(4_200)));
    }

    #[test]
    fn rtcp_may_come_from_another_port_but_not_another_host() {
        let mut path = Path::new(address(4_000));
        assert!(path.admits_rtcp(address(4_001)));
        path.admit(address(4_000));
        assert!(path.admits_rtcp(address(9)));
        assert!(!path.admits_rtcp(SocketAddr::from(([127, 0, 0, 2], 4_001))));
    }
}
