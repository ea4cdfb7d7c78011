//! Which sources an endpoint with a local source and sink must believe, by a direct implementation
//! of the documented rules (transport/lock.rs, relay/rivals.rs, local/held.rs).

use std::net::SocketAddr;

use crate::network::MS;
use crate::party::Sent;

/// A source of no better rank replaces one that was silent for this long.
const SOURCE_SILENCE: u64 = 250 * MS;
/// A stream replaces one that was silent for this long with its first packet.
const STREAM_SILENCE: u64 = 60 * MS;
/// The same for one that is sent beside the present one.
const RIVAL_SILENCE: u64 = 200 * MS;

/// The required outcome for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its source is not believed.
    Injected,
    /// Its source is believed, its stream is not yet.
    Held,
    /// It is accepted.
    Taken,
    /// It is accepted, and so is the held one.
    BothTaken,
}

/// The relevant fields of a received packet, and its arrival time.
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

/// A stream that is not accepted.
#[derive(Debug, Clone, Copy)]
struct Rival {
    ssrc: u32,
    next: u64,
    at: u64,
    /// Packets accepted before its last one.
    taken: u64,
    /// How often packets were accepted between its own.
    beside: u32,
}

/// The rules' state; see the module documentation.
#[derive(Debug)]
pub struct Belief {
    signalled: SocketAddr,
    source: Option<SocketAddr>,
    /// The accepted stream, and when its last packet arrived.
    stream: Option<(u32, u64)>,
    held: Option<Came>,
    taken: u64,
    rivals: Vec<Rival>,
}

impl Belief {
    /// Nothing was received from the far end that is signalled at this address.
    pub fn new(signalled: SocketAddr) -> Self {
        Belief { signalled, source: None, stream: None, held: None, taken: 0, rivals: Vec::new() }
    }

    /// Where the far end said it receives.
    pub fn signalled(&self) -> SocketAddr {
        self.signalled
    }

    /// The required outcome for a packet received at this time, and the held packet, if that is accepted too.
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
            // The stream continues: a competing one must start over.
            (self.stream, self.held) = (Some((ssrc, at)), None);
            self.taken += 1;
            return (Fate::Taken, None);
        }
        let is = |rival: &Rival| rival.ssrc == ssrc && number.abs_diff(rival.next) <= 100;
        let known = self.rivals.iter().position(is).map(|place| self.rivals.remove(place));
        let known = known.filter(|known| at - known.at < RIVAL_SILENCE);
        let known = known.unwrap_or(Rival { ssrc, next: number, at, taken: self.taken, beside: 0 });
        let before = |held: &mut Came| (held.ssrc, held.number + 1, held.source) == (ssrc, number, source);
        let may = self.stream.is_some() && known.beside < 2;
        let held = self.held.take_if(|held| may && before(held));
        let beside = known.beside + u32::from(known.taken != self.taken);
        let silence = if beside < 2 { STREAM_SILENCE } else { RIVAL_SILENCE };
        if held.is_some() || self.stream.is_none() || at.saturating_sub(heard) >= silence {
            self.taken += 1 + u64::from(held.is_some());
            self.stream = Some((ssrc, at));
            return (if held.is_some() { Fate::BothTaken } else { Fate::Taken }, held);
        }
        if self.rivals.len() == 4 {
            let oldest = (0..4).min_by_key(|place| self.rivals[*place].at);
            self.rivals.remove(oldest.unwrap_or(0));
        }
        self.rivals.push(Rival { next: number + 1, at, taken: self.taken, beside, ..known });
        let octets = sent.octets();
        self.held = Some(Came { ssrc, number, timestamp, at, octets, source });
        (Fate::Held, None)
    }
}
