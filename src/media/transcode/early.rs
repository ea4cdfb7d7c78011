//! Packets that arrived before one with a lower sequence number: they wait for it a little.

use crate::forward::Header;

/// Maximum packets that wait.
pub(super) const MOST: usize = 4;
/// How many sequence numbers ahead a packet may be to wait.
pub(super) const AHEAD: i16 = 8;
/// Maximum octets of a payload that waits: what a datagram holds on Ethernet.
pub(super) const OCTETS: usize = 1_472;

/// A waiting packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub header: Header,
    /// When it arrived, ns.
    pub at: u64,
    pub payload: [u8; OCTETS],
}

/// The waiting packets, in no order.
#[derive(Debug, Default)]
pub(super) struct Early {
    places: [Option<Waiting>; MOST],
}

impl Early {
    /// Keeps a packet whose payload has at most [`OCTETS`] octets, if there is room.
    pub fn keep(&mut self, header: &Header, payload: &[u8], at: u64) {
        let free = self.places.iter_mut().find(|place| place.is_none());
        if let (Some(place), Some(payload)) = (free, payload.get(..payload.len().min(OCTETS))) {
            let waiting = place.insert(Waiting { header: *header, at, payload: [0; OCTETS] });
            waiting.payload[..payload.len()].copy_from_slice(payload);
        }
    }

    /// The number of waiting packets, and when the first of them arrived.
    pub fn count(&self) -> (usize, Option<u64>) {
        (self.places.iter().flatten().count(), self.places.iter().flatten().map(|waiting| waiting.at).min())
    }

    /// Takes the packet with this sequence number or, if `any`, the first one behind it. What is before
    /// it is forgotten.
    pub fn take(&mut self, sequence: u16, any: bool) -> Option<Waiting> {
        let ahead = |waiting: &Waiting| waiting.header.sequence.wrapping_sub(sequence) as i16;
        for place in &mut self.places {
            place.take_if(|waiting| ahead(waiting) < 0);
        }
        let taken = (0..MOST).filter(|place| self.places[*place].is_some());
        let next = taken.min_by_key(|place| self.places[*place].as_ref().map_or(i16::MAX, ahead))?;
        self.places[next].take_if(|waiting| any || ahead(waiting) == 0)
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.places = [const { None }; MOST];
    }
}
