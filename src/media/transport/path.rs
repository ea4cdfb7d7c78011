//! From where packets are believed, and where ours go: symmetric RTP with a
//! lock (RFC 4961).
//!
//! The signalled address is believed first. If packets come from another one
//! instead (a far end behind NAT), that one is learned. After a probation the
//! source is locked, and packets from elsewhere are an injection, but for one case:
//! the locked source has been silent for 250 ms, and three packets in sequence go on
//! with *its stream* (SSRC, sequence numbers) from one other address. A NAT has bound
//! it anew, or the far end has another address now. A new signalled address begins again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Packets from one address before it is locked.
const PROBATION: u32 = 5;
/// How long a locked source must have been silent before its stream may go on elsewhere.
const SILENCE: Duration = Duration::from_millis(250);
/// Packets in sequence by which a stream proves that it does.
const REBIND: u32 = 3;
/// Sequence numbers that a stream may have lost meanwhile: a minute of 20 ms packets.
const MAX_DROPOUT: u16 = 3_000;

/// A packet's place in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub at: Instant,
    pub ssrc: u32,
    pub sequence: u16,
}

impl Place {
    /// Whether this is later in the stream that `before` is of.
    fn goes_on(self, before: Place) -> bool {
        let ahead = self.sequence.wrapping_sub(before.sequence);
        self.ssrc == before.ssrc && (1..MAX_DROPOUT).contains(&ahead)
    }
}

/// An address from which a locked stream seems to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Challenger {
    address: SocketAddr,
    last: Place,
    seen: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    Open,
    Probing { candidate: SocketAddr, seen: u32 },
    Locked { source: SocketAddr, last: Place },
}

/// One far end's addresses.
#[derive(Debug, Clone)]
pub struct Path {
    signalled: SocketAddr,
    lock: Lock,
    challenger: Option<Challenger>,
    rebound: u64,
}

impl Path {
    /// A path to a signalled address.
    pub fn new(signalled: SocketAddr) -> Self {
        Path { signalled, lock: Lock::Open, challenger: None, rebound: 0 }
    }

    /// The far end signalled an address again; only another one changes anything.
    pub fn signal(&mut self, address: SocketAddr) {
        if address != self.signalled {
            *self = Path { rebound: self.rebound, ..Path::new(address) };
        }
    }

    /// Whether an RTP packet from `source` is believed. Of a stream that goes on elsewhere the
    /// third packet is the first that is.
    pub fn admit(&mut self, source: SocketAddr, place: Place) -> bool {
        match &mut self.lock {
            Lock::Locked { source: locked, last } if *locked == source => {
                // A stream that was lost, not one that is late: the newest packet counts.
                if place.ssrc != last.ssrc || place.goes_on(*last) {
                    *last = place;
                }
                last.at = last.at.max(place.at);
                self.challenger = None;
            }
            Lock::Locked { last, .. } => {
                let last = *last;
                return self.challenged(source, place, last);
            }
            Lock::Probing { candidate, seen } if *candidate == source => {
                *seen += 1;
                if *seen >= PROBATION {
                    self.lock = Lock::Locked { source, last: place };
                }
            }
            // The signalled address beats one that came before it.
            Lock::Probing { .. } if source != self.signalled => return false,
            _ => self.lock = Lock::Probing { candidate: source, seen: 1 },
        }
        true
    }

    /// A packet from elsewhere than the locked source, whose last packet was `last`.
    fn challenged(&mut self, source: SocketAddr, place: Place, last: Place) -> bool {
        let silent = place.at.saturating_duration_since(last.at) >= SILENCE;
        if !silent || !place.goes_on(last) {
            return false;
        }
        let seen = match &self.challenger {
            Some(before)
                if before.address == source && before.last.sequence.wrapping_add(1) == place.sequence =>
            {
                before.seen + 1
            }
            _ => 1,
        };
        self.challenger = Some(Challenger { address: source, last: place, seen });
        if seen < REBIND {
            return false;
        }
        self.lock = Lock::Locked { source, last: place };
        self.challenger = None;
        self.rebound += 1;
        true
    }

    /// Whether `source` can be refused already, without counting the packet.
    pub fn refuses(&self, source: SocketAddr) -> bool {
        matches!(self.lock, Lock::Locked { source: locked, .. } if locked != source)
    }

    /// Where RTP goes: to the locked source, else where it was signalled.
    pub fn destination(&self) -> SocketAddr {
        match self.lock {
            Lock::Locked { source, .. } => source,
            _ => self.signalled,
        }
    }

    /// How often a stream has gone on from another address.
    pub fn rebound(&self) -> u64 {
        self.rebound
    }

    /// Whether RTCP from `source` is believed: any port of an address that RTP
    /// may come from.
    pub fn admits_rtcp(&self, source: SocketAddr) -> bool {
        match self.lock {
            Lock::Locked { source: locked, .. } => source.ip() == locked.ip(),
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

    /// Says of which stream a packet is, at 20 ms each.
    struct Stream {
        epoch: Instant,
        ssrc: u32,
        ms: u64,
        sequence: u16,
    }

    impl Stream {
        fn new(ssrc: u32) -> Self {
            Stream { epoch: Instant::now(), ssrc, ms: 0, sequence: 65_500 }
        }

        fn next(&mut self) -> Place {
            self.ms += 20;
            self.sequence = self.sequence.wrapping_add(1);
            let at = self.epoch + Duration::from_millis(self.ms);
            Place { at, ssrc: self.ssrc, sequence: self.sequence }
        }

        /// Packets that never come.
        fn lose(&mut self, packets: u16) {
            self.ms += 20 * u64::from(packets);
            self.sequence = self.sequence.wrapping_add(packets);
        }

        fn locked(&mut self, port: u16) -> Path {
            let mut path = Path::new(address(port));
            for _ in 0..PROBATION {
                assert!(path.admit(address(port), self.next()));
            }
            path
        }
    }

    #[test]
    fn a_stream_that_goes_on_from_another_address_is_followed() {
        // Nothing lost, and 30 s of it.
        for lost in [13, 1_500] {
            let mut stream = Stream::new(1);
            let mut path = stream.locked(4_000);
            stream.lose(lost);
            let admitted = [(); 4].map(|()| path.admit(address(4_100), stream.next()));
            assert_eq!(admitted, [false, false, true, true], "{lost} lost");
            assert_eq!((path.destination(), path.rebound()), (address(4_100), 1));
            assert!(!path.admit(address(4_000), stream.next()), "the old address is over");
        }
    }

    #[test]
    fn only_the_stream_itself_is_followed_and_only_while_its_source_is_silent() {
        let mut stream = Stream::new(1);
        let mut path = stream.locked(4_000);
        for _ in 0..20 {
            let mut copy = stream.next();
            assert!(path.admit(address(4_000), copy));
            copy.sequence = copy.sequence.wrapping_add(1);
            assert!(!path.admit(address(6_666), copy), "its source is not silent");
        }
        stream.lose(50);
        let (ssrc, sequence) = (stream.ssrc, stream.sequence);
        stream.ssrc = 2;
        for _ in 0..20 {
            assert!(!path.admit(address(6_666), stream.next()), "another stream");
        }
        stream.ssrc = ssrc;
        stream.sequence = sequence.wrapping_sub(1_000);
        for _ in 0..20 {
            assert!(!path.admit(address(6_666), stream.next()), "it was heard already");
        }
        stream.sequence = sequence;
        for port in [6_666, 7_777].repeat(10) {
            assert!(!path.admit(address(port), stream.next()), "two addresses at once");
        }
        assert_eq!(path.destination(), address(4_000));
    }

    #[test]
    fn injection_after_the_lock_is_refused() {
        let (mut path, mut stream) = (Path::new(address(4_000)), Stream::new(1));
        for _ in 0..PROBATION {
            assert!(path.admit(address(4_000), stream.next()));
        }
        assert!(!path.admit(address(5_000), stream.next()));
        assert!(path.refuses(address(5_000)) && !path.refuses(address(4_000)));
        assert!(path.admit(address(4_000), stream.next()));
        assert_eq!(path.destination(), address(4_000));
    }

    #[test]
    fn a_source_that_was_not_signalled_is_learned() {
        let (mut path, mut stream) = (Path::new(address(4_000)), Stream::new(1));
        for _ in 0..PROBATION {
            assert_eq!(path.destination(), address(4_000), "until the lock");
            assert!(path.admit(address(4_100), stream.next()));
        }
        assert_eq!(path.destination(), address(4_100));
        assert!(!path.admit(address(4_000), stream.next()), "even the signalled one");
    }

    #[test]
    fn the_signalled_source_wins_during_probation() {
        let (mut path, mut stream) = (Path::new(address(4_000)), Stream::new(1));
        assert!(path.admit(address(6_666), stream.next()));
        assert!(!path.admit(address(7_777), stream.next()), "a third one");
        assert!(path.admit(address(4_000), stream.next()));
        assert!(!path.admit(address(6_666), stream.next()));
        for _ in 1..PROBATION {
            path.admit(address(4_000), stream.next());
        }
        assert_eq!(path.destination(), address(4_000));
    }

    #[test]
    fn a_new_signalled_address_begins_again() {
        let (mut path, mut stream) = (Path::new(address(4_000)), Stream::new(1));
        for _ in 0..PROBATION {
            path.admit(address(4_000), stream.next());
        }
        path.signal(address(4_000));
        assert!(!path.admit(address(4_200), stream.next()), "the same address changes nothing");
        path.signal(address(4_200));
        assert_eq!(path.destination(), address(4_200));
        assert!(path.admit(address(4_200), stream.next()));
    }

    #[test]
    fn rtcp_may_come_from_another_port_but_not_another_host() {
        let (mut path, mut stream) = (Path::new(address(4_000)), Stream::new(1));
        assert!(path.admits_rtcp(address(4_001)));
        path.admit(address(4_000), stream.next());
        assert!(path.admits_rtcp(address(9)));
        assert!(!path.admits_rtcp(SocketAddr::from(([127, 0, 0, 2], 4_001))));
    }
}
