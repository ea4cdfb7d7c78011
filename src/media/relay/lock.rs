//! From where a far end's packets are believed: symmetric RTP with a lock (RFC 4961).
//!
//! 1. The first packet's source is learned, whatever was signalled, and answered.
//! 2. Until it has sent five packets the signalled address takes its place when that
//!    sends; no third one does.
//! 3. Then it is locked, and packets from elsewhere are an injection, but for two cases,
//!    both only when the locked source has been silent for 250 ms:
//!    - three packets in sequence that go on with the *same stream* (SSRC and sequence
//!      numbers) from one other address: a NAT has bound it anew;
//!    - the signalled address itself begins to send.
//! 4. A new signalled address begins again. The source that was locked before it may
//!    still be sending: it is learned again at once, but locked only after a second of
//!    packets in which no other source has sent.

use std::net::{Ipv4Addr, SocketAddr};

use crate::media::forward::{ForwardState, Header};

/// Packets before a source is locked.
const PROBATION: u64 = 5;
/// The same for the source that was locked before the far end signalled anew.
const FORMER_PROBATION: u64 = 50;
/// How long a locked source must have been silent before it can be replaced, ns.
const SILENCE: u64 = 250_000_000;
/// Packets in sequence by which a stream proves that it goes on from another address.
const REBIND: u32 = 3;

/// No packet comes from here.
pub(super) const NOWHERE: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// A stream that seems to go on from another address.
#[derive(Debug, Clone, Copy)]
struct Challenger {
    address: SocketAddr,
    next: u16,
    seen: u32,
}

/// What is known of one far end's addresses.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SourceLock {
    signalled: Option<SocketAddr>,
    believed: Option<SocketAddr>,
    /// Packets received when it was first believed.
    since: u64,
    former: Option<SocketAddr>,
    challenger: Option<Challenger>,
    changes: u32,
}

/// What a source that a rule did not know comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belief {
    /// It is believed from now on, instead of that one.
    Believed { before: Option<SocketAddr> },
    /// It is not.
    Refused,
}

impl SourceLock {
    /// The far end says where it receives. An unspecified address (RFC 2543's hold)
    /// says nothing. Whether anything has changed.
    pub fn signal(&mut self, address: SocketAddr) -> bool {
        if self.signalled == Some(address) || address.ip().is_unspecified() {
            return false;
        }
        self.signalled = Some(address);
        self.former = self.believed.take().filter(|former| *former != address);
        self.challenger = None;
        true
    }

    /// Looks at a packet from a source that is not the believed one.
    pub fn consider(
        &mut self,
        source: SocketAddr,
        header: &Header,
        ssrc: u32,
        at: u64,
        state: &ForwardState,
    ) -> Belief {
        let Some(believed) = self.believed else { return self.believe(source, state) };
        let is_signalled = self.signalled == Some(source);
        let is_former = self.former == Some(believed);
        let probation = if is_former { FORMER_PROBATION } else { PROBATION };
        if state.packets - self.since < probation {
            return if is_signalled || is_former { self.believe(source, state) } else { Belief::Refused };
        }
        if at.saturating_sub(state.last_at) < SILENCE {
            return Belief::Refused;
        }
        if is_signalled {
            return self.believe(source, state);
        }
        let goes_on = header.ssrc == ssrc
            && state.extend(header.sequence).is_some_and(|sequence| sequence > state.highest);
        if !goes_on {
            return Belief::Refused;
        }
        let seen = match self.challenger {
            Some(Challenger { address, next, seen }) if address == source && next == header.sequence => {
                seen + 1
            }
            _ => 1,
        };
        if seen >= REBIND {
            return self.believe(source, state);
        }
        self.challenger = Some(Challenger { address: source, next: header.sequence.wrapping_add(1), seen });
        Belief::Refused
    }

    fn believe(&mut self, source: SocketAddr, state: &ForwardState) -> Belief {
        let before = self.believed.replace(source);
        self.since = state.packets;
        self.challenger = None;
        self.changes += u32::from(before.is_some());
        Belief::Believed { before }
    }

    /// Where the far end said that it receives.
    pub fn signalled(&self) -> Option<SocketAddr> {
        self.signalled
    }

    /// From where its packets are believed.
    pub fn believed(&self) -> Option<SocketAddr> {
        self.believed
    }

    /// How often another source was believed, without a word of signalling.
    pub fn changes(&self) -> u32 {
        self.changes
    }

    /// Where to send: back to where packets come from, else where it was signalled.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.believed.or(self.signalled)
    }

    /// Whether RTCP from `source` is believed: any port of a host that RTP may come from.
    pub fn admits_rtcp(&self, source: SocketAddr) -> bool {
        [self.believed, self.signalled].into_iter().flatten().any(|known| known.ip() == source.ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn header(sequence: u16, ssrc: u32) -> Header {
        Header { marker: false, payload_type: 0, sequence, timestamp: 0, ssrc, payload: 12, payload_len: 160 }
    }

    /// A lock with the state of the stream beside it.
    struct Lab {
        lock: SourceLock,
        state: ForwardState,
        at: u64,
    }

    impl Lab {
        fn new(signalled: u16) -> Self {
            let mut lock = SourceLock::default();
            assert!(lock.signal(address(signalled)));
            Lab { lock, state: ForwardState::default(), at: 1_000 * MS }
        }

        /// A packet 20 ms after the one before it; whether it was believed.
        fn packet(&mut self, port: u16, sequence: u16, ssrc: u32) -> bool {
            self.at += 20 * MS;
            let (source, header) = (address(port), header(sequence, ssrc));
            if self.lock.believed() != Some(source)
                && self.lock.consider(source, &header, 7, self.at, &self.state) == Belief::Refused
            {
                return false;
            }
            if self.state.highest == 0 {
                self.state.begin(&header, self.at, 8_000);
            }
            self.state.highest = self.state.extend(sequence).unwrap_or(self.state.highest);
            self.state.packets += 1;
            self.state.last_at = self.at;
            true
        }

        fn packets(&mut self, port: u16, sequences: std::ops::Range<u16>) {
            for sequence in sequences {
                assert!(self.packet(port, sequence, 7), "{port} {sequence}");
            }
        }
    }

    #[test]
    fn the_first_source_is_learned_and_answered() {
        let mut lab = Lab::new(4_000);
        assert_eq!(lab.lock.destination(), Some(address(4_000)));
        lab.packets(4_100, 1..7);
        assert_eq!(lab.lock.destination(), Some(address(4_100)));
        assert!(!lab.packet(4_000, 7, 7), "not even the signalled one, once it is locked");
    }

    #[test]
    fn the_signalled_source_wins_during_probation_and_no_third_one_does() {
        let mut lab = Lab::new(4_000);
        lab.packets(6_666, 1..3);
        assert!(!lab.packet(7_777, 3, 7));
        lab.packets(4_000, 3..10);
        assert!(!lab.packet(6_666, 10, 7));
        assert_eq!(lab.lock.destination(), Some(address(4_000)));
    }

    #[test]
    fn an_injection_is_refused_and_so_is_one_that_knows_the_stream_while_it_runs() {
        let mut lab = Lab::new(4_000);
        lab.packets(4_000, 1..20);
        for sequence in 20..40 {
            assert!(!lab.packet(5_000, sequence, 7));
            lab.packets(4_000, sequence..sequence + 1);
        }
    }

    #[test]
    fn a_stream_that_goes_on_from_a_new_nat_binding_is_followed() {
        let mut lab = Lab::new(4_000);
        lab.packets(4_000, 1..20);
        lab.at += 300 * MS;
        assert!(!lab.packet(5_000, 35, 7));
        assert!(!lab.packet(5_000, 36, 7));
        assert!(lab.packet(5_000, 37, 7), "three in sequence");
        assert_eq!(lab.lock.destination(), Some(address(5_000)));
    }

    #[test]
    fn silence_alone_lets_nobody_else_in() {
        let mut lab = Lab::new(4_000);
        lab.packets(4_100, 1..20);
        lab.at += 10_000 * MS;
        for sequence in 0..50 {
            assert!(!lab.packet(5_000, 500 + sequence, 8), "another stream");
        }
        for sequence in 0..50 {
            assert!(!lab.packet(5_000, 20 + 2 * sequence, 7), "not in sequence");
        }
        assert!(lab.packet(4_000, 9, 9), "but the signalled address");
    }

    #[test]
    fn a_new_signalled_address_begins_again_and_stragglers_do_not_hold_it_up() {
        let mut lab = Lab::new(4_000);
        lab.packets(4_000, 1..20);
        assert!(!lab.lock.signal(address(4_000)), "the same address changes nothing");
        assert!(!lab.lock.signal("0.0.0.0:4000".parse().unwrap()), "nor does an old hold");
        assert!(lab.lock.signal(address(4_200)));
        assert_eq!(lab.lock.destination(), Some(address(4_200)));
        lab.packets(4_000, 20..40);
        lab.packets(4_300, 1..10);
        assert!(!lab.packet(4_000, 40, 7));
        assert_eq!(lab.lock.destination(), Some(address(4_300)));
    }

    #[test]
    fn a_former_source_that_goes_on_alone_is_locked_again() {
        let mut lab = Lab::new(4_000);
        lab.packets(4_000, 1..20);
        lab.lock.signal(address(4_200));
        lab.packets(4_000, 20..75);
        assert!(!lab.packet(4_300, 75, 7));
    }

    #[test]
    fn rtcp_may_come_from_another_port_but_not_another_host() {
        let mut lab = Lab::new(4_000);
        lab.packets(4_100, 1..3);
        assert!(lab.lock.admits_rtcp(address(4_001)));
        assert!(!lab.lock.admits_rtcp(SocketAddr::from(([127, 0, 0, 2], 4_001))));
    }
}
