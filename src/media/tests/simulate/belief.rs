//! Whom an endpoint with a source and a sink has to believe, by the rules as they are written (transport/lock.rs,
//! relay/endpoint.rs, local/held.rs) in the plainest way.

use std::net::SocketAddr;

use crate::network::MS;
use crate::party::Sent;

/// A source of no better rank takes the place of one that was silent for so long.
const SOURCE_SILENCE: u64 = 250 * MS;
/// A stream takes the place of one that was silent for so long with its first packet.
const STREAM_SILENCE: u64 = 60 * MS;

/// What has to become of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its source is not believed.
    Injected,
    /// Its source is, its stream is not yet.
    Held,
    /// It is taken.
    Taken,
    /// It is, and so is the one that was held.
    BothTaken,
}

/// A packet, as far as that matters here, and when it came.
#[derive(Debug, Clone, Copy)]
pub struct Came {
    pub ssrc: u32,
    pub number: u64,
    pub timestamp: u64,
    pub at: u64,
    /// Octets of its payload.
    pub octets: u64,
    source: SocketAddr,
}

/// See the module's text.
#[derive(Debug)]
pub struct Belief {
    signalled: SocketAddr,
    source: Option<SocketAddr>,
    /// The stream that is taken, and when its last packet came.
    stream: Option<(u32, u64)>,
    held: Option<Came>,
}

impl Belief {
    /// Nothing has come from the far end that is signalled at this address.
    pub fn new(signalled: SocketAddr) -> Self {
        Belief { signalled, source: None, stream: None, held: None }
    }

    /// Where the far end has said that it receives.
    pub fn signalled(&self) -> SocketAddr {
        self.signalled
    }

    /// What has to become of a packet that has come at this moment, and the one that was held, if that is taken too.
    pub fn of(&mut self, sent: &Sent, at: u64) -> (Fate, Option<Came>) {
        let Sent { ssrc, number, timestamp, source, .. } = *sent;
        let heard = self.stream.map_or(0, |(_, heard)| heard);
        let is_worse = |one: SocketAddr, other: SocketAddr| one != self.signalled || other == self.signalled;
        let waits = |known: SocketAddr| {
            known != source && is_worse(source, known) && at.saturating_sub(heard) < SOURCE_SILENCE
        };
        if self.source.is_some_and(waits) {
            return (Fate::Injected, None);
        }
        self.source = Some(source);
        if self.stream.is_some_and(|(taken, _)| taken == ssrc) {
            // It goes on: another one beside it has to begin anew.
            (self.stream, self.held) = (Some((ssrc, at)), None);
            return (Fate::Taken, None);
        }
        let before = |held: &mut Came| (held.ssrc, held.number + 1, held.source) == (ssrc, number, source);
        let held = self.held.take_if(|held| self.stream.is_some() && before(held));
        if held.is_some() || self.stream.is_none() || at.saturating_sub(heard) >= STREAM_SILENCE {
            self.stream = Some((ssrc, at));
            return (if held.is_some() { Fate::BothTaken } else { Fate::Taken }, held);
        }
        let octets = sent.octets();
        self.held = Some(Came { ssrc, number, timestamp, at, octets, source });
        (Fate::Held, None)
    }
}
