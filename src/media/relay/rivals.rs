//! Streams from the believed source beside the believed stream. Exactly one is heard: another one takes
//! over with its second packet in sequence if the present one has ended, or after silence.

use crate::forward::Header;

/// After this much silence, ns, the first packet of another stream takes over.
const SILENCE: u64 = 60_000_000;
/// The same for a stream that was sent beside the present one.
const RIVAL_SILENCE: u64 = 200_000_000;
/// How often the present stream went on between two packets of one that is sent beside it.
const BESIDE: u8 = 2;
/// Streams that are remembered.
const REMEMBERED: usize = 4;
/// Maximum distance of sequence numbers within one stream.
const NEAR: u16 = 100;

/// A stream that is not believed.
#[derive(Debug, Clone, Copy)]
struct Rival {
    ssrc: u32,
    /// Its next sequence number.
    next: u16,
    /// When its last packet arrived, ns, and how many were believed by then, modulo 2^32.
    at: u64,
    believed: u32,
    /// How often believed packets came between its own.
    beside: u8,
}

/// The streams beside the believed one; see the module documentation.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rivals {
    places: [Option<Rival>; REMEMBERED],
}

impl Rivals {
    /// Steps by a packet of another stream that arrived at `at`; the last one of the present stream
    /// arrived at `last_at` as the `believed`-th. Returns whether its stream takes over.
    pub fn take_over(&mut self, header: &Header, at: u64, last_at: u64, believed: u32) -> bool {
        let place = self.place(header);
        let known = self.places[place].filter(|known| known.is(header) && known.is_fresh(at));
        let goes_on = known.is_some_and(|known| known.believed != believed);
        let beside = known.map_or(0, |known| known.beside.saturating_add(u8::from(goes_on)));
        let follows = !goes_on && known.is_some_and(|known| known.next == header.sequence);
        let silence = if beside < BESIDE { SILENCE } else { RIVAL_SILENCE };
        if at.saturating_sub(last_at) >= silence || follows && beside < BESIDE {
            self.places[place] = None;
            return true;
        }
        let next = header.sequence.wrapping_add(1);
        self.places[place] = Some(Rival { ssrc: header.ssrc, next, at, believed, beside });
        false
    }

    /// Makes this packet, if it comes next, take over.
    pub fn expect(&mut self, header: &Header, at: u64, believed: u32) {
        let Header { ssrc, sequence: next, .. } = *header;
        self.places[self.place(header)] = Some(Rival { ssrc, next, at, believed, beside: 0 });
    }

    /// Whether the packet's stream is sent beside the present one.
    pub fn has(&self, header: &Header, at: u64) -> bool {
        let known = self.places[self.place(header)].filter(|known| known.is(header) && known.is_fresh(at));
        known.is_some_and(|known| known.beside >= BESIDE)
    }

    /// The place of a packet's stream: its own, or the one that was not used for the longest time.
    fn place(&self, header: &Header) -> usize {
        let own = self.places.iter().position(|place| place.is_some_and(|known| known.is(header)));
        let oldest = (0..REMEMBERED).min_by_key(|place| self.places[*place].map_or(0, |known| known.at));
        own.or(oldest).unwrap_or(0)
    }
}

impl Rival {
    fn is(&self, header: &Header) -> bool {
        let distance = header.sequence.wrapping_sub(self.next) as i16;
        self.ssrc == header.ssrc && distance.unsigned_abs() <= NEAR
    }

    fn is_fresh(&self, at: u64) -> bool {
        at.saturating_sub(self.at) < RIVAL_SILENCE
    }
}
